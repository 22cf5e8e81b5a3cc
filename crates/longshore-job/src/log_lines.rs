//! Lines of a log as they come, for listeners.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Entrypoint, JobId, RunId};

/// Lines that a container has just written to one of its outputs.
///
/// The lines of a container come in order. `from` and `to` count the pieces of output that the
/// engine delivered. If the `from` of a message is beyond the `to` of the message before, lines
/// between them were not sent, for example because nobody listened. Those are in the object store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "Log lines")]
pub struct LogLines {
    /// The job.
    pub id: JobId,
    /// The run.
    pub run_id: RunId,
    /// The attempt; the first is 1.
    #[schemars(range(min = 1))]
    pub attempt: u32,
    /// The kind of program.
    pub entrypoint: Entrypoint,
    /// Where the lines were written.
    pub stream: LineStream,
    /// All lines of earlier pieces were sent, or are in the object store, or will be there within a
    /// moment.
    pub from: u64,
    /// As `from`, after these lines.
    pub to: u64,
    /// The lines. There are none in the message that greets a new listener.
    pub lines: Vec<LiveLine>,
}

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LiveLine {
    /// The number of the piece that completed it.
    pub piece: u64,
    /// When the engine received it: RFC 3339, in UTC with nanoseconds.
    #[schemars(extend("format" = "date-time"))]
    pub time: String,
    /// Its text, with secrets masked.
    pub text: String,
}

/// Which of its two outputs a container wrote to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LineStream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

impl LineStream {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Stdout, Self::Stderr];

    /// The output's name, as it stands in routing keys and in stored lines.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

impl fmt::Display for LineStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl LogLines {
    /// The routing key: `{stream}.{entrypoint}.{id}`.
    #[must_use]
    pub fn routing_key(&self) -> String {
        format!("{}.{}.{}", self.stream, self.entrypoint, self.id)
    }
}

/// A client listens to a job's log. The client repeats this every few seconds while it listens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listening {
    /// The job.
    pub id: JobId,
    /// Whether this listener has just connected, and expects a greeting.
    pub begins: bool,
}
