//! `ScriptManager`: what a container runs first, and what that reads.
//!
//! [`CodeEntrypointFactory`] writes the configuration and the launcher that calls the user's
//! `main`, [`BashEntrypointFactory`] the shell script that starts the launcher. Both texts are the
//! same for every job of a runtime: a job's data reaches them by file and environment, and is never
//! made part of a program. Not in here: the container's environment (`ContainerBuilder`).

mod bash;
mod code;
mod nodejs20;
mod python311;
#[cfg(test)]
mod tests;

use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

pub use bash::BashEntrypointFactory;
pub use code::CodeEntrypointFactory;

use super::directory::JobDirectory;
use crate::job::archive::RESULT_FILE;
use crate::job::judging::exit_note::EXIT_NOTE;
use crate::job::{Job, Runtime};

/// How one runtime starts a job.
#[derive(Debug, Clone, Copy)]
pub struct RuntimeScripts {
    /// The shell in the runtime's image that runs `entrypoint.sh`, and its flags.
    pub shell: &'static [&'static str],
    /// The shell command that runs a file of this language.
    pub interpreter: &'static str,
    /// The launcher's file name.
    pub launcher_name: &'static str,
    /// The launcher.
    pub launcher: &'static str,
    /// What the launcher loads when it needs it, by file name.
    pub parts: &'static [(&'static str, &'static str)],
}

impl RuntimeScripts {
    /// The one table of runtimes.
    #[must_use]
    pub const fn of(runtime: Runtime) -> &'static Self {
        match runtime {
            Runtime::Python311 => &python311::SCRIPTS,
            Runtime::NodeJs20 => &nodejs20::SCRIPTS,
        }
    }
}

/// What a container has to be told to run a job's scripts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntryScript {
    /// The shell in the container that runs it, and its flags: the first part of its command.
    pub shell: &'static [&'static str],
    /// The shell script in the container: the last part of its command.
    pub container_path: String,
    /// The files in the job's directory that the container writes, empty until then.
    pub writes: Vec<&'static str>,
}

/// Why a job's scripts could not be written; never the job's fault.
#[derive(Debug, thiserror::Error)]
#[error("{action}: {source}")]
pub struct ScriptError {
    action: String,
    source: io::Error,
}

impl ScriptError {
    fn io(verb: &str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let action = format!("{verb} {}", path.display());
        move |source| Self { action, source }
    }
}

/// Writes what a container runs first.
#[derive(Debug, Clone, Copy, Default)]
pub struct ScriptManager {
    code: CodeEntrypointFactory,
    bash: BashEntrypointFactory,
}

impl ScriptManager {
    /// Writes the job's configuration, launcher and shell script into its directory, once its code
    /// is there. An `entrypoint.sh` of the user's own is kept, and ours stands elsewhere.
    ///
    /// # Errors
    ///
    /// [`ScriptError`] where a file cannot be written, or is there already.
    pub async fn create(
        &self,
        job: &Job,
        directory: &JobDirectory,
    ) -> Result<EntryScript, ScriptError> {
        let config = self.code.config(job);
        let (this, runtime, root) = (*self, job.runtime, directory.root().to_owned());
        let mut writes = vec![EXIT_NOTE];
        writes.extend((!job.is_long_running).then_some(RESULT_FILE));
        let empty = writes.clone();
        let turn = directory.turn().await;
        let written = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            this.write(runtime, &config, &empty, &root)
        });
        let shell_script = written.await.unwrap_or_else(|error| {
            let action = "writing the job's scripts was interrupted".to_owned();
            Err(ScriptError { action, source: io::Error::other(error) })
        })?;
        Ok(EntryScript {
            shell: RuntimeScripts::of(job.runtime).shell,
            container_path: format!("/{}/{shell_script}", job.entrypoint),
            writes,
        })
    }

    fn write(
        self,
        runtime: Runtime,
        config: &[u8],
        empty: &[&str],
        root: &Path,
    ) -> Result<&'static str, ScriptError> {
        self.code.write(runtime, config, root)?;
        for name in empty {
            // Whoever the container's user is; no other user of the host gets as far as this.
            write_new(&root.join(name), b"", 0o666)?;
        }
        self.bash.write(runtime, root)
    }
}

/// Writes a file that must not be there yet.
fn write_new(path: &Path, content: &[u8], mode: u32) -> Result<(), ScriptError> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)
        .and_then(|mut file| file.write_all(content))
        // Once more, for the umask takes bits away.
        .and_then(|()| fs::set_permissions(path, Permissions::from_mode(mode)))
        .map_err(ScriptError::io("writing", path))
}
