//! What every part of a worker is handed: clients built once, and its name.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::active::ActiveRuns;
use super::reporter::Publisher;
use super::slots::Slots;
use crate::broker::Broker;
use crate::job::Bounds;
use crate::runner::DockerRunner;
use crate::storage::Journal;

/// What every part of a worker is handed.
pub(super) struct Context {
    /// RabbitMQ.
    pub broker: Broker,
    /// What is known about every job.
    pub journal: Journal,
    /// Containers.
    pub runner: Arc<DockerRunner>,
    /// Events.
    pub publisher: Publisher,
    /// What a message may ask for.
    pub bounds: Bounds,
    /// Cancelled when events are no longer waited for.
    pub give_up: CancellationToken,
    /// Which segment this worker owns.
    pub segment: u32,
    /// The runs that this worker has taken.
    pub active: Arc<ActiveRuns>,
    /// How many there may be.
    pub slots: Slots,
    /// Terminating runs, which a drain waits for.
    pub terminating: TaskTracker,
    /// Long-running jobs, which a drain leaves running.
    pub long_running: TaskTracker,
    /// Cancelled when the worker leaves its runs to whoever takes its segment next.
    pub detach: CancellationToken,
}

impl Context {
    /// Who waits for runs of a kind.
    pub(super) fn tracker_of(&self, long_running: bool) -> &TaskTracker {
        if long_running { &self.long_running } else { &self.terminating }
    }
}
