//! From the settings to a worker that takes messages: connect, claim a segment, adopt what is
//! there.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::worker::Worker;
use super::{gauges, live, retention};
use crate::broker::{Broker, BrokerError, BrokerSink};
use crate::http::Readiness;
use crate::logs::{LiveFeed, LogCollector, Masks};
use crate::metrics::Metrics;
use crate::runner::orchestrator::EngineError;
use crate::runner::temp_dir::{self, TempDirError};
use crate::runner::{self, ContainerOrchestrator, DockerRunner, Ground, Progress, Site};
use crate::settings::Settings;
use crate::storage::{Journal, ObjectStore, S3Store, StoreError, probe};
use crate::worker::active::ActiveRuns;
use crate::worker::context::{Context, Known, Tools};
use crate::worker::drain::Drain;
use crate::worker::gate::Gate;
use crate::worker::ownership::machine::ThisMachine;
use crate::worker::ownership::mark;
use crate::worker::ownership::tenures::Tenures;
use crate::worker::run::outbox::{self, Outbox};
use crate::worker::run::publisher::Publisher;
use crate::worker::slots::Slots;

/// Why a worker could not begin.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// The object store's settings cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The broker's settings cannot be used, or its objects do not fit.
    #[error(transparent)]
    Broker(#[from] BrokerError),
    /// The jobs' directories would not be safe from other users.
    #[error(transparent)]
    TempDir(#[from] TempDirError),
    /// The address for health checks cannot be used.
    #[error("HTTP_LISTEN: cannot listen on {address}: {source}")]
    Http {
        /// Which.
        address: std::net::SocketAddr,
        /// Why.
        source: std::io::Error,
    },
}

/// Pause between two attempts to declare exchanges and queues.
const DECLARE_RETRY: Duration = Duration::from_secs(1);

/// Connects, claims a segment, adopts what is there and begins to take messages. Also returns the
/// locked directories that nobody may clean up while the worker runs. `None`: the shutdown came
/// first.
pub(super) async fn begin(
    settings: &Settings,
    readiness: &Readiness,
    metrics: &Metrics,
    tasks: &TaskTracker,
    closing: &CancellationToken,
    shutdown: &CancellationToken,
) -> Result<Option<(Worker, Vec<File>)>, WorkerError> {
    temp_dir::check(temp_dir::TEMP_DIR, &settings.runner.temp_dir)?;
    temp_dir::check("LOG_SPOOL_DIR", &settings.logs.spool_dir)?;
    let kept = [&settings.runner.temp_dir, &settings.logs.spool_dir];
    let kept = kept.into_iter().filter_map(|directory| keep_from_cleaners(directory)).collect();
    let store = S3Store::new(&settings.store)?.counted(metrics.clone());
    let store: Arc<dyn ObjectStore> = Arc::new(store);
    readiness.watch_store(Arc::clone(&store));
    let broker =
        Broker::connect_counted(&settings.broker, &settings.worker.name, metrics, closing)?;
    readiness.watch_broker(broker.clone());
    let namespace = &settings.broker.namespace;
    let connected = async {
        wait_for("object store", || store.ensure_buckets()).await;
        let probe = || probe::conditional_writes(&*store, namespace);
        let ignored = wait_for("conditional writes of the object store", probe).await;
        if let Some(sentence) = ignored.sentence() {
            tracing::warn!("{sentence}");
        }
        let connect = || async {
            let engine = runner::connect(&settings.runner, Progress::Log, metrics).await?;
            let (identity, root) = (engine.identity().await?, engine.root().await?);
            Ok::<_, EngineError>((engine, identity, Ground::of(root)))
        };
        wait_for("container engine", connect).await
    };
    let Some((engine, identity, ground)) = shutdown.run_until_cancelled(connected).await else {
        return Ok(None);
    };
    temp_dir::close_namespace(&settings.runner.temp_dir, namespace, ground.passage)?;
    if let Some(warning) = ground.warning() {
        tracing::warn!("{warning}");
    }
    readiness.watch_engine(Arc::clone(&engine));
    if !declare(shutdown, || broker.declare_topology()).await? {
        return Ok(None);
    }
    let (feed, lines) = LiveFeed::new();
    let logs =
        LogCollector::with(Arc::clone(&store), settings.logs.clone(), Some(feed), metrics.clone());
    let logs = Arc::new(logs);
    gauges::of_logs(metrics, &logs);
    logs.start();
    live::serve(tasks, &broker, &logs, lines, closing);
    retention::serve(tasks, &store, settings, metrics, closing);
    let drain = Drain::default();
    let (tools, unconfirmed) = tools(
        settings,
        broker,
        Arc::clone(&store),
        (engine, identity, ground),
        &logs,
        metrics,
        &drain,
    );
    readiness.watch_unconfirmed(tools.outbox.watch());
    let known = Known {
        tenures: Tenures::default(),
        active: Arc::new(ActiveRuns::default()),
        slots: Slots::new(settings.worker.max_terminating, settings.worker.max_long_running),
        gate: Gate::new(store, Arc::clone(&tools.runner)),
    };
    let ctx = Arc::new(Context { tools, known, drain });
    gauges::of_worker(metrics, &ctx);
    readiness.watch_segment(ctx.known.tenures.watch_ownership());
    let worker = Worker::begin(ctx, unconfirmed, (tasks, closing), shutdown).await?;
    Ok(worker.map(|worker| (worker, kept)))
}

/// Keeps programs that remove old files out of a directory. If that fails, logs it and goes on.
fn keep_from_cleaners(directory: &Path) -> Option<File> {
    match temp_dir::keep_from_cleaners(directory) {
        Ok(kept) => Some(kept),
        Err(error) => {
            let directory = directory.display();
            tracing::warn!(%directory, %error, "could not lock a directory against programs that remove old files");
            None
        }
    }
}

/// Declares exchanges and queues when the broker is there. A mismatch with existing ones ends the
/// worker, because only an operator can fix it. Other failures, such as a lost connection, are
/// retried. Returns `false` if the shutdown came first.
async fn declare(
    shutdown: &CancellationToken,
    declaration: impl AsyncFn() -> Result<(), BrokerError>,
) -> Result<bool, WorkerError> {
    loop {
        match shutdown.run_until_cancelled(declaration()).await {
            None => return Ok(false),
            Some(Ok(())) => return Ok(true),
            Some(Err(error @ BrokerError::Mismatch { .. })) => return Err(error.into()),
            Some(Err(error)) => tracing::warn!(%error, "declare exchanges and queues"),
        }
        tokio::time::sleep(DECLARE_RETRY).await;
    }
}

/// Tries until it succeeds, with one log line for each try.
async fn wait_for<T, E, F>(what: &'static str, mut operation: impl FnMut() -> F) -> T
where
    F: Future<Output = Result<T, E>>,
    E: std::fmt::Display,
{
    loop {
        let backoff = ExponentialBuilder::new()
            .with_jitter()
            .with_max_delay(Duration::from_secs(10))
            .without_max_times();
        let tried = (&mut operation)
            .retry(backoff)
            .notify(|error, pause| {
                tracing::warn!(what, %error, retry_seconds = pause.as_secs_f32(), "a server is not ready; trying again");
            })
            .await;
        if let Ok(value) = tried {
            return value;
        }
    }
}

fn tools(
    settings: &Settings,
    broker: Broker,
    store: Arc<dyn ObjectStore>,
    (engine, identity, ground): (Arc<dyn ContainerOrchestrator>, String, Ground),
    logs: &Arc<LogCollector>,
    metrics: &Metrics,
    drain: &Drain,
) -> (Tools, outbox::Incoming) {
    let (namespace, given_up) = (settings.broker.namespace.clone(), drain.given_up());
    let broker = Arc::new(broker);
    let machine = Arc::new(ThisMachine::default());
    let publisher = Publisher {
        sink: Arc::new(BrokerSink::new(Arc::<Broker>::clone(&broker), given_up.clone())),
        source: format!("/longshore/{namespace}"),
        worker: settings.worker.name.clone(),
        masks: Arc::new(Masks::new(settings.credentials())),
        tracker: TaskTracker::new(),
        machine: Arc::<ThisMachine>::clone(&machine),
    };
    let runner = Arc::new(
        DockerRunner::new(Site {
            engine,
            store: Arc::clone(&store),
            states: Journal::new(Arc::clone(&store), namespace.clone()),
            logs: Arc::clone(logs),
            settings: settings.runner.clone(),
            namespace: namespace.clone(),
            worker: settings.worker.name.clone(),
            lease: settings.worker.segment_grace,
            lock: None,
            metrics: metrics.clone(),
        })
        .on(ground),
    );
    gauges::of_runner(metrics, &runner);
    let journal = Journal::new(store, namespace);
    let max_pause = settings.worker.publish_retry_max;
    let (outbox, unconfirmed) =
        Outbox::new(publisher.clone(), journal.clone(), max_pause, given_up.clone());
    let tools = Tools {
        broker,
        journal,
        runner,
        machine,
        publisher,
        outbox,
        given_up: given_up.clone(),
        bounds: settings.bounds(),
        settings: settings.worker.clone(),
        place: mark::place(identity, &settings.runner.temp_dir),
        metrics: metrics.clone(),
    };
    (tools, unconfirmed)
}
