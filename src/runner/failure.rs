//! Why a run did not get as far as its container's end, named by what the caller does about it.

use super::code::CodeError;
use super::directory::DirectoryError;
use super::orchestrator::EngineError;
use super::script::ScriptError;
use super::temp_dir::TempDirError;
use crate::job::{Verdict, sentence};

/// Why a run did not get as far as its container's end.
#[derive(Debug, thiserror::Error)]
pub enum RunFailure {
    /// The job is active on this worker already. Nothing was touched.
    #[error("the job is active already")]
    AlreadyActive,
    /// Somebody asked for the end before the container ran.
    #[error("{}", sentence::cancelled(reason.as_deref()))]
    Cancelled {
        /// What they said.
        reason: Option<String>,
    },
    /// The publisher's fault: trying again cannot help.
    #[error("{0}")]
    Rejected(String),
    /// Our infrastructure's fault: it may go well later.
    #[error("{0}")]
    Unavailable(String),
}

impl RunFailure {
    /// A container must not start, or not run on: it may be somebody else's to start.
    pub(super) fn not_shown() -> Self {
        let reason = "the worker could not show that the job's segment is still its own";
        Self::Unavailable(reason.to_owned())
    }

    /// How a run ends that ends with this failure; `None` where no run began.
    #[must_use]
    pub fn verdict(&self) -> Option<Verdict> {
        match self {
            Self::AlreadyActive => None,
            Self::Cancelled { .. } => Some(Verdict::Cancelled),
            Self::Rejected(_) => Some(Verdict::Rejected),
            Self::Unavailable(_) => Some(Verdict::Unavailable),
        }
    }
}

impl From<CodeError> for RunFailure {
    fn from(error: CodeError) -> Self {
        if error.is_rejection() {
            Self::Rejected(error.to_string())
        } else {
            Self::Unavailable(error.to_string())
        }
    }
}

impl From<EngineError> for RunFailure {
    fn from(error: EngineError) -> Self {
        Self::Unavailable(error.to_string())
    }
}

impl From<ScriptError> for RunFailure {
    fn from(error: ScriptError) -> Self {
        Self::Unavailable(error.to_string())
    }
}

impl From<DirectoryError> for RunFailure {
    fn from(error: DirectoryError) -> Self {
        Self::Unavailable(error.to_string())
    }
}

impl From<TempDirError> for RunFailure {
    fn from(error: TempDirError) -> Self {
        Self::Unavailable(error.to_string())
    }
}
