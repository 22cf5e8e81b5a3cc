//! `BashEntrypointFactory`: the shell script that a container runs first.

use std::path::Path;

use super::helper::HELPER;
use super::runtimes::RuntimeScripts;
use super::write::{ScriptError, write_new};

/// Where the shell script stands, relative to the job's directory.
const USUAL: &str = "entrypoint.sh";
/// Where it stands when the archive brings a file of that name.
const OUT_OF_THE_WAY: &str = ".longshore/entrypoint.sh";

/// The script up to the command that it becomes. POSIX, for Alpine's shell runs it too. It finds the job's
/// directory from its own place, in which it may stand one folder deeper.
const BODY: &str = r#"# Written by Longshore. The job's data comes by environment and file, and is not part of this text.
#
# The helper stays between process 1 and the interpreter: it passes signals on, watches the lease of a bot and
# notes the exit.
case "$0" in
*/*) root=${0%/*} ;;
*) root=. ;;
esac
root=${root%/.longshore}
"#;

/// Writes `entrypoint.sh`.
#[derive(Debug, Clone, Copy, Default)]
pub struct BashEntrypointFactory;

impl BashEntrypointFactory {
    /// The shell script of a launcher, the same for all its jobs.
    #[must_use]
    pub fn text(self, scripts: &RuntimeScripts) -> String {
        let RuntimeScripts { shell, interpreter, launcher_name, .. } = scripts;
        let shell = shell.join(" ");
        let launcher = format!("\"$root/.longshore/{launcher_name}\"");
        format!("#!{shell}\n{BODY}exec \"$root/{HELPER}\" \"$root\" {interpreter} {launcher}\n")
    }

    /// Writes the shell script, beside `.longshore/` or in it; answers its place in `root`.
    ///
    /// # Errors
    ///
    /// [`ScriptError`] where it cannot be written.
    pub fn write(self, scripts: &RuntimeScripts, root: &Path) -> Result<&'static str, ScriptError> {
        let place = if is_taken(root) { OUT_OF_THE_WAY } else { USUAL };
        self.write_at(place, scripts, root)
    }

    /// Writes the shell script for a job that is not there yet; answers its place in `root`.
    ///
    /// # Errors
    ///
    /// [`ScriptError`] where it cannot be written.
    pub fn write_ahead(
        self,
        scripts: &RuntimeScripts,
        root: &Path,
    ) -> Result<&'static str, ScriptError> {
        self.write_at(OUT_OF_THE_WAY, scripts, root)
    }

    /// Writes the shell script to where a job's program would see it, when the job has come.
    ///
    /// # Errors
    ///
    /// [`ScriptError`] where it cannot be written.
    pub fn write_to_be_seen(
        self,
        scripts: &RuntimeScripts,
        root: &Path,
    ) -> Result<(), ScriptError> {
        if !is_taken(root) {
            self.write_at(USUAL, scripts, root)?;
        }
        Ok(())
    }

    fn write_at(
        self,
        place: &'static str,
        scripts: &RuntimeScripts,
        root: &Path,
    ) -> Result<&'static str, ScriptError> {
        write_new(&root.join(place), self.text(scripts).as_bytes(), 0o755)?;
        Ok(place)
    }
}

/// Whether the archive brings a file in the script's usual place.
fn is_taken(root: &Path) -> bool {
    root.join(USUAL).symlink_metadata().is_ok()
}
