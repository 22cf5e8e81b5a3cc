//! Why an operation on a job's directory failed.

use std::io;
use std::path::{Path, PathBuf};

/// Why an operation on a job's directory failed.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// The directory exists already: this attempt has begun before.
    #[error("the job's directory {} is there already", path.display())]
    Taken {
        /// The directory.
        path: PathBuf,
    },
    /// Only root may remove what the container left.
    #[error("{} can be removed by root only: {source}", path.display())]
    NeedsRoot {
        /// What to remove as root, with everything in it. After that, `remove` can finish.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// Anything else that an operation ran into.
    #[error("{action} {}: {source}", path.display())]
    Io {
        /// What was tried, such as `creating the directory`.
        action: &'static str,
        /// Where.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// The blocking work ended without an answer, as when the process shuts down.
    #[error("the work on the directory {} was interrupted", path.display())]
    Interrupted {
        /// The directory.
        path: PathBuf,
    },
}

impl DirectoryError {
    pub(super) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }
}
