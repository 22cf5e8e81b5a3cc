//! Why a run did not get as far as its container's end, named by what the caller does about it.

use super::code::CodeError;
use super::directory::DirectoryError;
use super::orchestrator::EngineError;
use super::script::ScriptError;
use super::temp_dir::TempDirError;
use crate::job::{Runtime, Verdict, sentence};

/// Why a run did not get as far as its container's end.
#[derive(Debug, thiserror::Error)]
pub enum RunFailure {
    /// The job is active on this worker already. Nothing was touched.
    #[error("the job is active already")]
    AlreadyActive,
    /// A stop came before the container ran.
    #[error("{}", sentence::cancelled(reason.as_deref()))]
    Cancelled {
        /// Its reason.
        reason: Option<String>,
    },
    /// The publisher's fault: trying again cannot help.
    #[error("{0}")]
    Rejected(String),
    /// The infrastructure's fault: it may work later.
    #[error("{0}")]
    Unavailable(String),
}

impl RunFailure {
    /// A container must not start, or not run on, because another worker may be the one to start
    /// it.
    pub(super) fn not_shown() -> Self {
        let reason = "the worker could not show that the job's segment is still its own";
        Self::Unavailable(reason.to_owned())
    }

    /// The job was taken by a worker that has this runtime, and this one does not.
    pub(super) fn of_unknown_runtime(runtime: &Runtime) -> Self {
        Self::Unavailable(format!("this worker has no runtime {runtime} (BOT_RUNTIMES)"))
    }

    /// The verdict of a run that ends with this failure; `None` if no run began.
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
