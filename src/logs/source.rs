//! Whose output it is, and where else it goes.

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
    /// Whether the run ends by itself. Then its whole output is kept, too, up to a limit.
    pub terminating: bool,
    /// Whether an earlier worker made the container, so some of its output may be stored. `false`
    /// saves a request to the store, and is right only for a new container.
    pub resume: bool,
    /// Whether nothing of the job can be stored yet, which saves another request.
    pub is_new_job: bool,
    /// The key under which series of what its program measures are kept; `None` if none are.
    pub series_key: Option<String>,
    /// The secrets to mask in its log.
    pub mask: Mask,
}

/// Where else to send every line of a container, such as a terminal.
///
/// When it is full, reading of the container's output stops until there is room, so its reader
/// misses no line. The timer goes on. Dropping the receiver ends it.
pub type LiveTap = mpsc::Sender<Line>;
