//! What the parts of a worker are handed: what it runs with, what it knows, and what ends it.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::active::ActiveRuns;
use super::drain::Drain;
use super::gate::Gate;
use super::ownership::tenures::Tenures;
use super::run::outbox::Outbox;
use super::run::publisher::Publisher;
use super::slots::Slots;
use crate::broker::Broker;
use crate::job::Bounds;
use crate::runner::DockerRunner;
use crate::settings::WorkerSettings;
use crate::storage::{Journal, Place};

/// A worker, for whoever needs more of it than one of its parts.
pub(super) struct Context {
    /// What it runs with.
    pub tools: Tools,
    /// What it knows.
    pub known: Known,
    /// What ends it.
    pub drain: Drain,
}

/// What a worker runs with: clients that are built once, and what the settings say.
pub(super) struct Tools {
    /// RabbitMQ.
    pub broker: Broker,
    /// What is known about every job.
    pub journal: Journal,
    /// Containers.
    pub runner: Arc<DockerRunner>,
    /// Events.
    pub publisher: Publisher,
    /// Results, until the broker has confirmed them.
    pub outbox: Outbox,
    /// Cancelled when the broker is no longer waited for.
    pub given_up: CancellationToken,
    /// What a message may ask for.
    pub bounds: Bounds,
    /// The queue side's settings.
    pub settings: WorkerSettings,
    /// Where our containers are.
    pub place: Place,
}

impl Tools {
    /// How long a bot may run on without a word from its worker.
    pub(super) fn lease(&self) -> Duration {
        self.settings.segment_grace
    }
}

/// What a worker knows, and nobody else.
pub(super) struct Known {
    /// Which segments it owns.
    pub tenures: Tenures,
    /// The runs that it has in hand.
    pub active: Arc<ActiveRuns>,
    /// How many there may be.
    pub slots: Slots,
    /// Whether it can work at all.
    pub gate: Gate,
}

impl Known {
    /// The number of the segment that new jobs go to, where there is one right now.
    pub(super) fn home_segment(&self) -> Option<u32> {
        self.tenures.home_now().map(|home| home.segment)
    }
}
