//! The names of what worker and helper have in common in a job's own folder.

use std::path::{Path, PathBuf};

use crate::job::archive::RESERVED_DIRECTORY;

/// The pipe by which the helper hears that a job has come.
pub(super) const BELL: &str = "bell";

/// The pipe by which the worker hears the exit code.
pub(super) const DONE: &str = "done";

/// The file with the job's variables, each ended by a NUL byte.
pub(super) const ENVIRONMENT: &str = "environment";

/// The file that says that the job has come, in its directory.
pub(super) const GO: &str = ".longshore/go";

/// The variable that lets helper and launcher wait.
pub(super) const VARIABLE: &str = "LONGSHORE_WARM";

/// A place in the own folder of a job's directory.
pub(super) fn own(root: &Path, name: &str) -> PathBuf {
    root.join(RESERVED_DIRECTORY).join(name)
}

#[cfg(test)]
mod tests {
    use longshore_init::{environment, warm};

    use super::*;

    #[test]
    fn the_helper_has_the_same_names() {
        assert_eq!((BELL, DONE, ENVIRONMENT), (warm::BELL, warm::DONE, warm::ENVIRONMENT));
        assert_eq!(own(Path::new(""), warm::GO), Path::new(GO));
        assert_eq!(VARIABLE, environment::WARM);
    }
}
