//! Why the journal could not be read or written, and how large its records may be.

use crate::job::JobId;
use crate::settings::MAX_MESSAGE_KB;
use crate::storage::StoreError;

/// The largest record that is written and read, in bytes: the largest start message, in which JSON may need two
/// bytes for one, and a result event.
pub(super) const MAX_RECORD_BYTES: u64 = 2 * MAX_MESSAGE_KB * 1024 + MAX_EVENT_BYTES;

/// More than a result event can have, in bytes: its output, of which JSON may need six bytes for one, and the
/// result itself.
const MAX_EVENT_BYTES: u64 = 8 * 1024 * 1024;

/// Why the journal could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A record is there, but it is not what the journal writes.
    #[error("the journal's record {key:?} cannot be read: {source}")]
    Corrupt {
        /// The record's key in the state bucket.
        key: String,
        /// What is wrong with it, and where.
        source: serde_path_to_error::Error<serde_json::Error>,
    },
    /// Other writers kept changing a job's record.
    #[error("the record of the job {id} was written by others again and again")]
    Contended {
        /// The job.
        id: JobId,
    },
    /// A record is larger than what is read again.
    #[error(
        "the journal's record {key:?} would have {bytes} bytes, more than the {MAX_RECORD_BYTES} that it may have"
    )]
    TooLarge {
        /// The record's key in the state bucket.
        key: String,
        /// How large it would be.
        bytes: usize,
    },
    /// No answer came within the time that whoever asked could wait.
    #[error("the journal did not answer within {} s", after.as_secs())]
    Slow {
        /// How long it was waited.
        after: std::time::Duration,
    },
    /// A record cannot be written as JSON.
    #[error("the journal's record {key:?} cannot be written: {source}")]
    Unwritable {
        /// The record's key in the state bucket.
        key: String,
        /// What is wrong with it.
        source: serde_json::Error,
    },
}

impl JournalError {
    /// Whether a record is there that cannot be read: this is about that record alone.
    #[must_use]
    pub fn is_corrupt(&self) -> bool {
        matches!(self, Self::Corrupt { .. })
    }

    /// Whether the same operation may succeed later.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Slow { .. } => true,
            Self::Store(error) => error.is_transient(),
            _ => false,
        }
    }
}
