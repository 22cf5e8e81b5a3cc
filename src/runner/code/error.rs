//! Why a job's code is not in its directory.

use std::io;
use std::path::Path;
use std::sync::Arc;

use crate::job::archive::ArchiveError;
use crate::runner::directory::DirectoryError;
use crate::storage::StoreError;

/// Why a job's code is not in its directory.
#[derive(Debug, thiserror::Error)]
pub enum CodeError {
    /// The zip could not be fetched.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The zip is larger than allowed.
    #[error("the code {key:?} is larger than the {max_bytes} bytes allowed (CODE_MAX_ARCHIVE_MB)")]
    TooLarge {
        /// Its key in the code bucket.
        key: String,
        /// The most that is allowed.
        max_bytes: u64,
    },
    /// The zip could not be unpacked.
    #[error("the code {key:?} cannot be unpacked: {source}")]
    Archive {
        /// Its key in the code bucket.
        key: String,
        /// Why.
        source: ArchiveError,
    },
    /// It is not the zip that the start message means.
    #[error("the code {key:?} has the SHA-256 {actual}, not {expected}")]
    Checksum {
        /// Its key in the code bucket.
        key: String,
        /// What the start message says.
        expected: String,
        /// What it is.
        actual: String,
    },
    /// The zip is fine, but does not hold the script.
    #[error("{script:?} is not a file in the code {key:?}; {}", those_there(found))]
    ScriptMissing {
        /// Its key in the code bucket.
        key: String,
        /// The script.
        script: String,
        /// A few files of the zip, the likeliest first, quoted.
        found: Vec<String>,
    },
    /// The work that several jobs waited for failed.
    #[error(transparent)]
    Shared(Arc<CodeError>),
    /// The job's directory could not be made.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// The zip could not be read again, or the work was interrupted.
    #[error("{action}: {source}")]
    Io {
        /// What was tried, with the path.
        action: String,
        /// Why it failed.
        source: io::Error,
    },
}

impl CodeError {
    /// Whether the job itself is at fault, so that trying again cannot help. A bucket that is
    /// missing and credentials that are refused are not its fault.
    #[must_use]
    pub fn is_rejection(&self) -> bool {
        match self {
            Self::Store(error) => {
                matches!(error, StoreError::NotFound { .. } | StoreError::InvalidKey { .. })
            }
            Self::Archive { source, .. } => source.is_rejection(),
            Self::TooLarge { .. } | Self::Checksum { .. } | Self::ScriptMissing { .. } => true,
            Self::Shared(error) => error.is_rejection(),
            Self::Directory(_) | Self::Io { .. } => false,
        }
    }
}

pub(super) fn io_error(verb: &str, path: &Path) -> impl FnOnce(io::Error) -> CodeError {
    let action = format!("{verb} {}", path.display());
    move |source| CodeError::Io { action, source }
}

fn those_there(found: &[String]) -> String {
    if found.is_empty() {
        "there are none".to_owned()
    } else {
        format!("there are {}", found.join(", "))
    }
}
