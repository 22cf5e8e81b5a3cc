//! Whose output it is, and where else it may go.

use std::time::Duration;

use tokio::sync::mpsc;

use super::line::Line;
use crate::job::mask::Mask;
use crate::job::{Entrypoint, JobId, RunId};

/// Whose output it is.
#[derive(Clone)]
pub struct LogSource {
    /// The job.
    pub job: JobId,
    /// The run.
    pub run: RunId,
    /// The attempt; the first is 1.
    pub attempt: u32,
    /// The kind of program.
    pub entrypoint: Entrypoint,
    /// Time between two shipments.
    pub interval: Duration,
    /// Whether the run ends by itself: then its whole output is kept, too, up to a cap.
    pub terminating: bool,
    /// Whether the container was made by an earlier worker, and some of its output may be stored.
    /// `false` saves asking the store, and must be said only of a container just made.
    pub resume: bool,
    /// What must not be seen in its log.
    pub mask: Mask,
}

/// Where to send every line of a container besides, such as a terminal.
///
/// When it is full, the container's output is read no further until there is room: its reader
/// misses no line. The timer goes on meanwhile. Dropping the receiver ends it.
pub type LiveTap = mpsc::Sender<Line>;
