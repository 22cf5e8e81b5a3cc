//! A simulated worker: the worker's own code, with a broker, a store, a runner and a machine in memory.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::broker::{Server, SimulatedBroker, Wires};
use super::engine::Engine;
use super::machine::{Marks, SimulatedMachine};
use super::process::Process;
use super::runner::SimulatedRunner;
use super::store::{Objects, SimulatedStore, StoreWeather};
use super::world::World;
use crate::broker::{BrokerSink, MessageBroker};
use crate::job::Bounds;
use crate::logs::Masks;
use crate::metrics::Metrics;
use crate::runner::JobRunner;
use crate::settings::{Loader, Reader, Sources, WorkerSettings, bounds};
use crate::storage::{Journal, ObjectStore, Place};
use crate::worker::active::ActiveRuns;
use crate::worker::context::{Context, Known, Tools};
use crate::worker::drain::Drain;
use crate::worker::gate::Gate;
use crate::worker::lifecycle::worker::Worker;
use crate::worker::ownership::machine::Machine;
use crate::worker::ownership::tenures::Tenures;
use crate::worker::run::outbox::Outbox;
use crate::worker::run::publisher::Publisher;
use crate::worker::slots::Slots;

/// The namespace of every simulation.
pub(super) const NAMESPACE: &str = "ns";

static DEFAULTS: LazyLock<(WorkerSettings, Bounds)> = LazyLock::new(|| {
    let sections = |reader: &Reader<'_>| (reader.worker(), reader.runner(), reader.logs());
    let (worker, runner, logs) =
        Loader::new(Sources::of(&[("WORKER_NAME", "w")])).read(sections).unwrap();
    (worker, bounds(&runner, &logs))
});

/// Where workers run: one engine with its directories, and the ways from there to broker and store.
pub(super) struct Site {
    pub(super) engine: Arc<Engine>,
    pub(super) store: Arc<Mutex<StoreWeather>>,
    pub(super) can_reach: Arc<AtomicBool>,
}

/// What all workers share.
pub(super) struct Servers {
    pub(super) world: Arc<World>,
    pub(super) broker: Arc<Server>,
    pub(super) objects: Arc<Mutex<Objects>>,
    pub(super) marks: Arc<Marks>,
    /// How many segments there are at most.
    pub(super) max_segments: u32,
}

/// How many runs a worker takes, and how it drains.
#[derive(Debug, Clone, Copy)]
pub(super) struct Capacity {
    pub(super) terminating: usize,
    pub(super) long_running: usize,
}

/// A worker that was started.
pub(super) struct Started {
    pub(super) process: Arc<Process>,
    pub(super) wires: Arc<Wires>,
    shutdown: CancellationToken,
    has_ended: Arc<AtomicBool>,
}

impl Started {
    /// Asks it to drain and end.
    pub(super) fn shut_down(&self) {
        self.shutdown.cancel();
    }

    /// Whether it is gone, in whichever way.
    pub(super) fn is_gone(&self) -> bool {
        self.process.is_dead() || self.has_ended.load(Ordering::Relaxed)
    }

    /// SIGKILL.
    pub(super) fn kill(&self) {
        self.process.die();
        self.wires.end();
    }
}

/// Starts a worker.
pub(super) fn start(
    servers: &Servers,
    site: &Site,
    name: &str,
    life: u32,
    capacity: Capacity,
) -> Started {
    let world = &servers.world;
    let process = Arc::new(Process::new(format!("{name}.{life}")));
    let wires = Wires::new(world, &process, &servers.broker, &site.can_reach);
    let broker: Arc<dyn MessageBroker> = Arc::new(SimulatedBroker::new(&wires));
    let store: Arc<dyn ObjectStore> = Arc::new(SimulatedStore {
        world: Arc::clone(world),
        process: Arc::clone(&process),
        objects: Arc::clone(&servers.objects),
        weather: Arc::clone(&site.store),
    });
    let mut settings = DEFAULTS.0.clone();
    name.clone_into(&mut settings.name);
    settings.max_segments = servers.max_segments;
    settings.handover_grace = Duration::from_secs(60);
    settings.drain_grace = Duration::from_secs(20);
    settings.publish_retry_max = Duration::from_secs(20);
    (settings.max_terminating, settings.max_long_running) =
        (capacity.terminating, capacity.long_running);
    let lease = settings.segment_grace;
    let runner: Arc<dyn JobRunner> =
        Arc::new(SimulatedRunner::new(world, &process, &site.engine, &site.store, name, lease));
    let host = site.engine.name.clone();
    let machine: Arc<dyn Machine> = Arc::new(SimulatedMachine {
        world: Arc::clone(world),
        process: Arc::clone(&process),
        marks: Arc::clone(&servers.marks),
        host: host.clone(),
    });
    let drain = Drain::default();
    let given_up = drain.given_up().clone();
    let publisher = Publisher {
        sink: Arc::new(BrokerSink::new(Arc::clone(&broker), given_up.clone())),
        source: format!("/longshore/{NAMESPACE}"),
        worker: name.to_owned(),
        masks: Arc::new(Masks::default()),
        tracker: TaskTracker::new(),
        machine: Arc::clone(&machine),
    };
    let journal = Journal::new(Arc::clone(&store), NAMESPACE.to_owned());
    let max_pause = settings.publish_retry_max;
    let (outbox, unconfirmed) =
        Outbox::new(publisher.clone(), journal.clone(), max_pause, given_up.clone());
    let known = Known {
        tenures: Tenures::default(),
        active: Arc::new(ActiveRuns::default()),
        slots: Slots::new(settings.max_terminating, settings.max_long_running),
        gate: Gate::new(store, Arc::clone(&runner)),
    };
    let grace = settings.drain_grace;
    let place = Place { host, engine: site.engine.name.clone(), temp_dir: "/jobs".to_owned() };
    let bounds = DEFAULTS.1.clone();
    let tools = Tools {
        broker,
        journal,
        runner,
        machine,
        publisher,
        outbox,
        given_up,
        bounds,
        settings,
        place,
        metrics: Metrics::default(),
    };
    let ctx = Arc::new(Context { tools, known, drain });
    let (shutdown, closing) = (CancellationToken::new(), CancellationToken::new());
    let has_ended = Arc::<AtomicBool>::default();
    let started = Started {
        process: Arc::clone(&process),
        wires: Arc::clone(&wires),
        shutdown: shutdown.clone(),
        has_ended: Arc::clone(&has_ended),
    };
    let world = Arc::clone(world);
    world.note(&process.name, || format!("is started at {}", site.engine.name));
    servers.world.tasks.spawn(async move {
        let tasks = TaskTracker::new();
        let begun = Worker::begin(ctx, unconfirmed, (&tasks, &closing), &shutdown);
        if let Ok(Some(worker)) = Box::pin(begun).await {
            shutdown.cancelled().await;
            world.note(&process.name, || "drains".to_owned());
            worker.drain(grace).await;
        }
        closing.cancel();
        tasks.close();
        drop(timeout(Duration::from_secs(15), tasks.wait()).await);
        process.runs().await;
        world.note(&process.name, || "has ended".to_owned());
        has_ended.store(true, Ordering::Relaxed);
        process.die();
        wires.end();
    });
    started
}
