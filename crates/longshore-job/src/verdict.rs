//! How a run ended: one of nine verdicts, and one of three coarse statuses.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How a run ended. Every run ends in exactly one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The code ran to its end and returned.
    Succeeded,
    /// The code failed by its own fault: an exception, a non-zero exit code, a bad result.
    Failed,
    /// The run took longer than its time-out.
    TimedOut,
    /// The container ran out of memory.
    OutOfMemory,
    /// Asked to stop, after it ran.
    Stopped,
    /// Asked to stop, before it ran.
    Cancelled,
    /// A bad message, a bad archive, an unknown runtime, missing code. Never retried.
    Rejected,
    /// Our infrastructure gave up after its retries.
    Unavailable,
    /// A terminating run whose attempts all died with their hosts.
    Lost,
}

/// A coarse status, for readers that do not need the verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ResultStatus {
    /// A long-running container is up.
    Running,
    /// The run ended well, or was asked to end.
    Success,
    /// Anything else.
    Error,
}

/// What may follow on an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FollowUp {
    /// Nothing. The run has ended, whatever its message asks for.
    Nothing,
    /// The code ended by itself. It runs again if its message asks for that.
    Restart,
    /// The attempt died with its host. Another attempt replaces it.
    Replacement,
}

impl Verdict {
    /// Every verdict, in the order in which the documentation lists them.
    pub const ALL: [Self; 9] = [
        Self::Succeeded,
        Self::Failed,
        Self::TimedOut,
        Self::OutOfMemory,
        Self::Stopped,
        Self::Cancelled,
        Self::Rejected,
        Self::Unavailable,
        Self::Lost,
    ];

    /// The verdict as events and routing keys have it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::TimedOut => "timed_out",
            Self::OutOfMemory => "out_of_memory",
            Self::Stopped => "stopped",
            Self::Cancelled => "cancelled",
            Self::Rejected => "rejected",
            Self::Unavailable => "unavailable",
            Self::Lost => "lost",
        }
    }

    /// The coarse status of this verdict.
    #[must_use]
    pub fn status(self) -> ResultStatus {
        match self {
            Self::Succeeded | Self::Stopped => ResultStatus::Success,
            Self::Failed
            | Self::TimedOut
            | Self::OutOfMemory
            | Self::Cancelled
            | Self::Rejected
            | Self::Unavailable
            | Self::Lost => ResultStatus::Error,
        }
    }

    /// What may follow on an attempt that ended like this.
    #[must_use]
    pub fn follow_up(self) -> FollowUp {
        match self {
            Self::TimedOut
            | Self::Stopped
            | Self::Cancelled
            | Self::Rejected
            | Self::Unavailable => FollowUp::Nothing,
            Self::Succeeded | Self::Failed | Self::OutOfMemory => FollowUp::Restart,
            Self::Lost => FollowUp::Replacement,
        }
    }

    /// Whether the infrastructure failed, and not the message or the code: the worker tries the run again.
    #[must_use]
    pub fn blames_infrastructure(self) -> bool {
        match self {
            Self::Unavailable => true,
            Self::Succeeded
            | Self::Failed
            | Self::TimedOut
            | Self::OutOfMemory
            | Self::Stopped
            | Self::Cancelled
            | Self::Rejected
            | Self::Lost => false,
        }
    }

    /// Whether somebody asked for the end.
    #[must_use]
    pub fn was_asked_for(self) -> bool {
        match self {
            Self::Stopped | Self::Cancelled => true,
            Self::Succeeded
            | Self::Failed
            | Self::TimedOut
            | Self::OutOfMemory
            | Self::Rejected
            | Self::Unavailable
            | Self::Lost => false,
        }
    }

    /// Whether the message is at fault: a copy of it goes to the dead letters.
    #[must_use]
    pub fn is_rejection(self) -> bool {
        match self {
            Self::Rejected => true,
            Self::Succeeded
            | Self::Failed
            | Self::TimedOut
            | Self::OutOfMemory
            | Self::Stopped
            | Self::Cancelled
            | Self::Unavailable
            | Self::Lost => false,
        }
    }

    /// The exit code with which the command line reports this verdict.
    #[must_use]
    pub fn process_exit_code(self) -> u8 {
        match self {
            Self::Succeeded | Self::Stopped => 0,
            Self::Failed => 10,
            Self::TimedOut => 11,
            Self::OutOfMemory => 12,
            Self::Cancelled => 13,
            Self::Rejected => 14,
            Self::Unavailable => 15,
            Self::Lost => 16,
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_of_them_are_listed() {
        let schema = serde_json::to_value(schemars::schema_for!(Verdict)).unwrap();
        let words: Vec<_> =
            schema["oneOf"].as_array().unwrap().iter().map(|one| &one["const"]).collect();
        assert_eq!(words, Verdict::ALL.map(Verdict::as_str));
    }

    #[test]
    fn the_text_is_what_serde_writes() {
        for verdict in Verdict::ALL {
            assert_eq!(serde_json::to_value(verdict).unwrap(), verdict.as_str());
        }
    }
}
