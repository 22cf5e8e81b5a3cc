//! What the parts of a worker receive: its tools, its knowledge, and its drain.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::active::ActiveRuns;
use super::drain::Drain;
use super::gate::Gate;
use super::ownership::machine::Machine;
use super::ownership::tenures::Tenures;
use super::run::outbox::Outbox;
use super::run::publisher::Publisher;
use super::slots::Slots;
use crate::broker::MessageBroker;
use crate::job::Bounds;
use crate::metrics::Metrics;
use crate::runner::JobRunner;
use crate::settings::WorkerSettings;
use crate::storage::{Journal, Place};

/// A worker, for code that needs more than one of its parts.
pub(super) struct Context {
    /// What it runs with.
    pub tools: Tools,
    /// What it knows.
    pub known: Known,
    /// What ends it.
    pub drain: Drain,
}

/// The tools of a worker: clients that are built once, and settings.
pub(super) struct Tools {
    /// Messages.
    pub broker: Arc<dyn MessageBroker>,
    /// What is known about every job.
    pub journal: Journal,
    /// Containers.
    pub runner: Arc<dyn JobRunner>,
    /// Clocks and chance.
    pub machine: Arc<dyn Machine>,
    /// Events.
    pub publisher: Publisher,
    /// Results, until the broker has confirmed them.
    pub outbox: Outbox,
    /// Cancelled when the worker stops waiting for the broker.
    pub given_up: CancellationToken,
    /// What a message may ask for.
    pub bounds: Bounds,
    /// The queue side's settings.
    pub settings: WorkerSettings,
    /// Where our containers are.
    pub place: Place,
    /// What counts and measures.
    pub metrics: Metrics,
}

impl Tools {
    /// How long a bot may run on without hearing from its worker.
    pub(super) fn lease(&self) -> Duration {
        self.settings.segment_grace
    }
}

/// What only this worker knows.
pub(super) struct Known {
    /// Which segments it owns.
    pub tenures: Tenures,
    /// Its active runs.
    pub active: Arc<ActiveRuns>,
    /// How many there may be.
    pub slots: Slots,
    /// Whether it can work at all.
    pub gate: Gate,
}

impl Known {
    /// The number of the segment for new jobs, if there is one now.
    pub(super) fn home_segment(&self) -> Option<u32> {
        self.tenures.home_now().map(|home| home.segment)
    }
}
