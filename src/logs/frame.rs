//! One piece of a container's output.

use bytes::Bytes;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Which of its two outputs a container wrote to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// What the engine delivered at once: a line, or a piece of one (the engine cuts at 16 KiB).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Where it was written.
    pub stream: Stream,
    /// When the engine received it; the pieces of one line carry the stamp of the first.
    pub time: Timestamp,
    /// The bytes. Only the last piece of a line ends in `\n`.
    pub bytes: Bytes,
}
