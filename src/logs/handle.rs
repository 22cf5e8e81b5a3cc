//! The caller's handle of an attached container, and the summary at the end.

use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};
use tracing::error;

use super::heard::Said;
use crate::job::series::SeriesSummary;

/// How long a shipper may take to return its summary after its own deadline.
pub(super) const HANDOVER: Duration = Duration::from_secs(1);

/// A summary of a container's output.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LogSummary {
    /// Lines that were written.
    pub lines: u64,
    /// Bytes that were written, newlines included.
    pub bytes: u64,
    /// Lines that could not be stored.
    pub dropped: u64,
    /// Whether the output exceeded the limit of a terminating run.
    pub truncated: bool,
    /// The last part of the output as it was written, both streams in order of arrival, from the
    /// start of a line where possible.
    pub tail: String,
    /// The key of the whole output in the results bucket, for a terminating run.
    pub output_key: Option<String>,
    /// The keys of the daily logs, in the logs bucket, that have lines of this attempt.
    pub log_keys: Vec<String>,
    /// The key of the series, in the results bucket, if the store has any.
    pub series_key: Option<String>,
    /// These series in short.
    pub series: Vec<SeriesSummary>,
    /// What of them is not kept, and why.
    pub series_problem: Option<String>,
    /// What is incomplete, and why.
    pub degraded: Option<String>,
}

/// An attached container. If it is dropped, the shipper goes on until the output ends or the
/// collector stops.
#[derive(Debug)]
pub struct LogHandle {
    finish: oneshot::Sender<Instant>,
    task: JoinHandle<LogSummary>,
    said: Said,
}

impl LogHandle {
    pub(super) fn new(
        finish: oneshot::Sender<Instant>,
        task: JoinHandle<LogSummary>,
        said: Said,
    ) -> Self {
        Self { finish, task, said }
    }

    /// What the program says about itself. For an adopted container it begins with what was said
    /// last.
    #[must_use]
    pub fn said(&self) -> Said {
        self.said.clone()
    }

    /// Waits for the end of the output, stores the rest, compacts the log and, for a terminating
    /// run, stores the whole output. It takes at most `within`, and at most half of it for the end
    /// of the output. It never fails: [`degraded`](LogSummary::degraded) says what could not be
    /// done.
    pub async fn finish(self, within: Duration) -> LogSummary {
        let deadline = Instant::now() + within;
        // An error means that the collector was stopped, and the summary already exists.
        let _stopped = self.finish.send(deadline);
        let mut task = self.task;
        let degraded = match timeout_at(deadline + HANDOVER, &mut task).await {
            Ok(Ok(summary)) => return summary,
            Ok(Err(panic)) => {
                error!(error = %panic, "shipping a container's output broke down");
                format!("the log shipper broke down: {panic}")
            }
            Err(_) => {
                task.abort();
                "the log shipper did not finish in time".to_owned()
            }
        };
        LogSummary { degraded: Some(degraded), ..LogSummary::default() }
    }
}
