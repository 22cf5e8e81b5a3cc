//! The command of a job whose program is its own: no shell, no launcher, and nothing of the image but the program.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::helper::HELPER;
use super::write::ScriptError;
use crate::job::archive::RESERVED_DIRECTORY;
use crate::job::{Entrypoint, Runtime};

/// What a script is made as that is not executable yet.
const PART: &str = "program";

/// The command: the helper, which starts the runtime's program with the script's path as its last argument, or the
/// script itself.
pub(super) fn command_of(runtime: &Runtime, entrypoint: Entrypoint, script: &str) -> Vec<String> {
    let root = format!("/{entrypoint}");
    let (helper, script) = (format!("{root}/{HELPER}"), format!("{root}/{script}"));
    let mut command = vec![helper, root];
    command.extend_from_slice(&runtime.command);
    command.push(script);
    command
}

/// Makes a script executable, as zips of Windows cannot say. It may be shared with other jobs, so a file of the
/// job's own takes its place.
pub(super) fn make_executable(root: &Path, script: &str) -> Result<(), ScriptError> {
    let path = root.join(script);
    let part = root.join(RESERVED_DIRECTORY).join(PART);
    let make = || -> io::Result<()> {
        let found = fs::symlink_metadata(&path)?;
        if found.permissions().mode() & 0o111 == 0o111 {
            return Ok(());
        }
        fs::copy(&path, &part)?;
        fs::set_permissions(&part, Permissions::from_mode(0o755))?;
        fs::rename(&part, &path)
    };
    make().map_err(ScriptError::io("making executable", &path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::Runtimes;

    #[test]
    fn the_helper_starts_the_program_with_the_script_last_and_a_binary_as_it_is() {
        let table = Runtimes::default();
        let of = |name: &str| {
            command_of(table.get(name).unwrap(), Entrypoint::Bot, "bin/main").join(" ")
        };
        assert_eq!(of("binary"), "/bot/.longshore/init /bot /bot/bin/main");
        assert_eq!(of("shell"), "/bot/.longshore/init /bot /bin/bash /bot/bin/main");
    }

    #[test]
    fn a_script_becomes_executable_and_the_file_that_it_shares_stays_as_it_is() {
        let temp = tempfile::tempdir().unwrap();
        fs::create_dir(temp.path().join(RESERVED_DIRECTORY)).unwrap();
        let (shared, script) = (temp.path().join("shared"), temp.path().join("main"));
        fs::write(&shared, "text").unwrap();
        fs::set_permissions(&shared, Permissions::from_mode(0o644)).unwrap();
        fs::hard_link(&shared, &script).unwrap();
        make_executable(temp.path(), "main").unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&script), mode(&shared)), (0o755, 0o644));
        assert_eq!(fs::read_to_string(&script).unwrap(), "text");
        assert_eq!(fs::read_dir(temp.path().join(RESERVED_DIRECTORY)).unwrap().count(), 0);
        make_executable(temp.path(), "main").unwrap();
        assert!(make_executable(temp.path(), "missing").is_err());
    }
}
