//! Errors, named by what a caller does about them.

use crate::tls::{Names, TlsFilesError, TlsProblem};

/// The names of the settings of a connection to the store.
const NAMES: Names =
    Names { address: "MINIO_ENDPOINT", with_tls: "https://", ca: "MINIO_CA_FILE", identity: None };

/// Why an operation on the object store failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// There is no such object.
    #[error("there is no object {key:?} in the bucket {bucket:?}")]
    NotFound {
        /// The bucket's name.
        bucket: String,
        /// The object's key.
        key: String,
    },
    /// There is no such bucket.
    #[error("there is no bucket {bucket:?}")]
    NoBucket {
        /// The bucket's name.
        bucket: String,
    },
    /// The store does not accept our credentials, or they do not allow this.
    #[error("the store refused {action}: {reason}; check MINIO_ACCESS_KEY and MINIO_SECRET_KEY")]
    Denied {
        /// What was tried, such as `reading "a.zip" from "custom-bots"`.
        action: String,
        /// What the store said.
        reason: String,
    },
    /// The store understood the request and refuses it, now and later.
    #[error("the store rejected {action}: {reason}")]
    Rejected {
        /// What was tried.
        action: String,
        /// What the store said.
        reason: String,
    },
    /// The key cannot be the name of an object here.
    #[error("{key:?} cannot be an object's key: {reason}")]
    InvalidKey {
        /// The key.
        key: String,
        /// The rule that it breaks.
        reason: &'static str,
    },
    /// A setting of the store cannot be used.
    #[error("{variable} {reason}")]
    Settings {
        /// The environment variable.
        variable: &'static str,
        /// What is wrong with it, without the value if that is a secret.
        reason: String,
    },
    /// The server answers, but no TLS connection can be made.
    #[error("no TLS connection to the store at {endpoint}: {problem}")]
    Tls {
        /// Where the store is.
        endpoint: String,
        /// What is wrong.
        problem: TlsProblem,
    },
    /// The file of the authorities to trust cannot be used.
    #[error(transparent)]
    TlsFiles(#[from] TlsFilesError),
    /// The condition of a write did not hold.
    #[error("{key:?} in the bucket {bucket:?} has been written by somebody else")]
    ConditionFailed {
        /// The bucket's name.
        bucket: String,
        /// The object's key.
        key: String,
    },
    /// The object is larger than the caller takes.
    #[error("{key:?} in the bucket {bucket:?} is larger than the {max_bytes} bytes allowed")]
    TooLarge {
        /// The bucket's name.
        bucket: String,
        /// The object's key.
        key: String,
        /// The most that the caller takes.
        max_bytes: u64,
    },
    /// The store cannot be reached, or failed on its side, after every attempt.
    #[error("the store at {endpoint} failed at {action} after {}: {reason}", times(*attempts))]
    Unavailable {
        /// Where the store is.
        endpoint: String,
        /// What was tried.
        action: String,
        /// How often it was tried.
        attempts: usize,
        /// The last failure.
        reason: String,
    },
    /// A file on this machine could not be read or written.
    #[error("{action}: {source}")]
    LocalFile {
        /// What was tried, with the path.
        action: String,
        /// Why it failed.
        source: std::io::Error,
    },
}

fn times(attempts: usize) -> String {
    if attempts == 1 { "1 attempt".to_owned() } else { format!("{attempts} attempts") }
}

impl StoreError {
    /// Whether the same operation may succeed later.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable { .. } | Self::LocalFile { .. } | Self::Tls { .. })
    }

    /// What may help, as a separate sentence, if a problem with TLS is the cause.
    #[must_use]
    pub fn remedy(&self) -> Option<String> {
        match self {
            Self::Tls { problem, .. } => Some(problem.remedy(&NAMES)),
            _ => None,
        }
    }
}
