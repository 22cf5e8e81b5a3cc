//! Why a job's code, or one of its inputs, is not in its directory.

use std::io;
use std::path::Path;
use std::sync::Arc;

use super::wanted::ObjectName;
use crate::job::archive::ArchiveError;
use crate::runner::cache::CacheError;
use crate::runner::directory::DirectoryError;
use crate::runner::hash::sha256_of;
use crate::storage::StoreError;

/// Why a job's code, or one of its inputs, is not in its directory.
#[derive(Debug, thiserror::Error)]
pub enum CodeError {
    /// The object could not be fetched.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The object is larger than allowed.
    #[error("{object} is larger than the {max_bytes} bytes allowed ({setting})")]
    TooLarge {
        /// The object.
        object: ObjectName,
        /// The most that is allowed.
        max_bytes: u64,
        /// The setting that says so.
        setting: &'static str,
    },
    /// The inputs of a job are larger than allowed.
    #[error(
        "the inputs of this run have more than the {max_bytes} bytes allowed, as seen at {object} \
         (BOT_INPUTS_MB)"
    )]
    InputsTooLarge {
        /// The one with which they became too much.
        object: ObjectName,
        /// The most that is allowed.
        max_bytes: u64,
    },
    /// Something else is where an input is to be.
    #[error("{object} cannot be at {path:?}: the code, or another input, has something there")]
    Clash {
        /// The input.
        object: ObjectName,
        /// The place.
        path: String,
    },
    /// The archive could not be unpacked.
    #[error("{object} cannot be unpacked: {source}")]
    Archive {
        /// The object.
        object: ObjectName,
        /// Why.
        source: ArchiveError,
    },
    /// It is not the object that the start message means.
    #[error("{object} has the SHA-256 {actual}, not {expected}")]
    Checksum {
        /// The object.
        object: ObjectName,
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
    /// Something could not be read or written, or the work was interrupted.
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
            Self::TooLarge { .. }
            | Self::InputsTooLarge { .. }
            | Self::Clash { .. }
            | Self::Checksum { .. }
            | Self::ScriptMissing { .. } => true,
            Self::Shared(error) => error.is_rejection(),
            Self::Directory(_) | Self::Io { .. } => false,
        }
    }

    /// This machine's disk failed us.
    pub(super) fn of_disk(action: &str, error: &CacheError) -> Self {
        Self::Io { action: action.to_owned(), source: io::Error::other(error.to_string()) }
    }
}

/// Why something could not be had from the cache.
#[derive(Debug, Clone)]
pub(super) enum Failure {
    /// Without the cache it would be the same.
    Code(Arc<CodeError>),
    /// Without the cache it may go well.
    Cache(Arc<CacheError>),
}

impl From<CodeError> for Failure {
    fn from(error: CodeError) -> Self {
        Self::Code(Arc::new(error))
    }
}

impl From<CacheError> for Failure {
    fn from(error: CacheError) -> Self {
        Self::Cache(Arc::new(error))
    }
}

/// Makes sure that a file is what the start message says.
pub(super) fn verify(
    file: &Path,
    object: &ObjectName,
    sha256: Option<&str>,
) -> Result<(), CodeError> {
    let Some(expected) = sha256 else { return Ok(()) };
    let actual = sha256_of(file).map_err(io_error("reading", file))?;
    if actual == expected {
        return Ok(());
    }
    Err(CodeError::Checksum { object: object.clone(), expected: expected.to_owned(), actual })
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
