//! Starting the program of a job.

use std::ffi::{CString, NulError, OsString};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStringExt as _;

use nix::errno::Errno;
use nix::spawn::{PosixSpawnAttr, PosixSpawnFileActions, PosixSpawnFlags, posix_spawnp};
use nix::sys::signal::{SigSet, Signal};
use nix::unistd::Pid;

use crate::exit;

/// Why a program was not started, and how this process ends for it.
#[derive(Debug, PartialEq, Eq)]
pub struct NotStarted {
    /// The exit code: the one of shells.
    pub code: u8,
    /// What a person should know.
    pub sentence: String,
}

impl NotStarted {
    fn new(program: &OsString, error: Errno) -> Self {
        let code = if error == Errno::ENOENT { exit::NOT_FOUND } else { exit::CANNOT_START };
        let sentence = format!("{} cannot be started: {}", program.display(), error.desc());
        Self { code, sentence }
    }
}

/// Starts a program, which is looked for in PATH, with its arguments and environment. It holds back the signals
/// of `mask`, and hears the others.
///
/// # Errors
///
/// [`NotStarted`].
pub fn start(
    program: &OsString,
    arguments: &[OsString],
    environment: Result<Vec<CString>, NulError>,
    mask: &SigSet,
) -> Result<Pid, NotStarted> {
    start_with(program, arguments, environment, mask, None)
}

/// The same, with an open file that the program finds under this number.
///
/// # Errors
///
/// [`NotStarted`].
pub fn start_with(
    program: &OsString,
    arguments: &[OsString],
    environment: Result<Vec<CString>, NulError>,
    mask: &SigSet,
    file: Option<(&OwnedFd, i32)>,
) -> Result<Pid, NotStarted> {
    let spawn = || {
        let environment = environment.map_err(|_| Errno::EINVAL)?;
        let words: Result<Vec<_>, _> = std::iter::once(program)
            .chain(arguments)
            .map(|word| CString::new(word.clone().into_vec()))
            .collect();
        let words = words.map_err(|_| Errno::EINVAL)?;
        let mut attributes = PosixSpawnAttr::init()?;
        attributes.set_flags(
            PosixSpawnFlags::POSIX_SPAWN_SETSIGMASK | PosixSpawnFlags::POSIX_SPAWN_SETSIGDEF,
        )?;
        attributes.set_sigmask(mask)?;
        // Rust ignores it in this process.
        attributes.set_sigdefault(&SigSet::from(Signal::SIGPIPE))?;
        let mut actions = PosixSpawnFileActions::init()?;
        if let Some((file, number)) = file {
            actions.add_dup2(file.as_raw_fd(), number)?;
        }
        posix_spawnp(&words[0], &actions, &attributes, &words, &environment)
    };
    spawn().map_err(|error| NotStarted::new(program, error))
}

#[cfg(test)]
mod tests {
    use nix::sys::wait::{WaitStatus, waitpid};

    use super::*;

    fn start_here(program: &str, arguments: &[&str]) -> Result<Pid, NotStarted> {
        let arguments: Vec<_> = arguments.iter().map(OsString::from).collect();
        start(&program.into(), &arguments, Ok(vec![c"A=b".to_owned()]), &SigSet::empty())
    }

    #[test]
    fn a_program_has_its_arguments_and_its_environment_and_nothing_more() {
        let script = r#"[ "$A" = b ] && [ "$1" = "x y" ] && [ -z "${CARGO+set}" ] && exit 7"#;
        let child = start_here("sh", &["-c", script, "sh", "x y"]).unwrap();
        assert_eq!(waitpid(child, None), Ok(WaitStatus::Exited(child, 7)));
    }

    #[test]
    fn what_cannot_be_started_ends_as_in_a_shell() {
        let missing = start_here("no-such-program", &[]).unwrap_err();
        assert_eq!(missing.code, 127);
        let sentence = "no-such-program cannot be started: No such file or directory";
        assert_eq!(missing.sentence, sentence);
        assert_eq!(start_here("/etc/passwd", &[]).unwrap_err().code, 126);
        assert_eq!(start_here("", &[]).unwrap_err().code, 127);
    }
}
