//! What every part of a worker is handed: clients built once, and its name.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::active::ActiveRuns;
use super::gate::Gate;
use super::ownership::tenure::Tenures;
use super::run::outbox::Outbox;
use super::run::reporter::Publisher;
use super::slots::Slots;
use crate::broker::Broker;
use crate::job::Bounds;
use crate::runner::DockerRunner;
use crate::settings::WorkerSettings;
use crate::storage::{Journal, Place};

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
    /// Results that the broker has not confirmed.
    pub outbox: Outbox,
    /// What a message may ask for.
    pub bounds: Bounds,
    /// The queue side's settings.
    pub settings: WorkerSettings,
    /// Where our containers are.
    pub place: Place,
    /// Cancelled when events are no longer waited for.
    pub give_up: CancellationToken,
    /// Which segments this worker owns.
    pub tenures: Tenures,
    /// The runs that this worker has taken.
    pub active: Arc<ActiveRuns>,
    /// How many there may be.
    pub slots: Slots,
    /// Whether we can work at all.
    pub gate: Gate,
    /// Terminating runs, which a drain waits for.
    pub terminating: TaskTracker,
    /// Long-running jobs, which a drain leaves running.
    pub long_running: TaskTracker,
    /// Cancelled when no more messages are to be taken.
    pub intake: CancellationToken,
    /// Whoever takes messages.
    pub intakes: TaskTracker,
    /// Cancelled when the worker leaves its runs to whoever takes its segments next.
    pub detach: CancellationToken,
    /// Cancelled when the worker lets go of its segments.
    pub release: CancellationToken,
    /// Whoever holds a segment.
    pub holders: TaskTracker,
}

impl Context {
    /// Who waits for runs of a kind.
    pub(super) fn tracker_of(&self, long_running: bool) -> &TaskTracker {
        if long_running { &self.long_running } else { &self.terminating }
    }

    /// How long a bot may run on without a word from its worker.
    pub(super) fn lease(&self) -> Duration {
        self.settings.segment_grace
    }
}
