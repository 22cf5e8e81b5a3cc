//! From the settings to a worker that takes messages: connect, claim a segment, take up what is there.

use std::sync::Arc;
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::worker::Worker;
use super::{live, retention};
use crate::broker::{Broker, BrokerError, RabbitSink};
use crate::http::Readiness;
use crate::logs::{LiveFeed, LogCollector, Masks};
use crate::runner::docker::{DockerOrchestrator, Progress};
use crate::runner::orchestrator::EngineError;
use crate::runner::temp_dir::{self, TempDirError};
use crate::runner::{ContainerOrchestrator, DockerRunner, Ground, Site};
use crate::settings::Settings;
use crate::storage::{Journal, ObjectStore, S3Store, StoreError, probe};
use crate::worker::active::ActiveRuns;
use crate::worker::context::{Context, Known, Tools};
use crate::worker::drain::Drain;
use crate::worker::gate::Gate;
use crate::worker::ownership::mark;
use crate::worker::ownership::tenures::Tenures;
use crate::worker::run::outbox::{self, Outbox};
use crate::worker::run::publisher::Publisher;
use crate::worker::segment::adopt;
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
    /// The jobs' directories would not be safe from others.
    #[error(transparent)]
    TempDir(#[from] TempDirError),
    /// The address for health checks cannot be had.
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

/// Connects, claims a segment, takes up what is there and begins to take messages. `None`: shutdown
/// came first.
pub(super) async fn begin(
    settings: &Settings,
    readiness: &Readiness,
    tasks: &TaskTracker,
    closing: &CancellationToken,
    shutdown: &CancellationToken,
) -> Result<Option<Worker>, WorkerError> {
    temp_dir::check(temp_dir::TEMP_DIR, &settings.runner.temp_dir)?;
    temp_dir::check("LOG_SPOOL_DIR", &settings.logs.spool_dir)?;
    let store: Arc<dyn ObjectStore> = Arc::new(S3Store::new(&settings.store)?);
    readiness.watch_store(Arc::clone(&store));
    let broker = Broker::connect(&settings.broker, &settings.worker.name, closing)?;
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
            let engine = DockerOrchestrator::connect(&settings.runner, Progress::Log).await?;
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
    let engine: Arc<dyn ContainerOrchestrator> = Arc::new(engine);
    readiness.watch_engine(Arc::clone(&engine));
    if !declare(shutdown, || broker.declare_topology()).await? {
        return Ok(None);
    }
    let (feed, lines) = LiveFeed::new();
    let logs = LogCollector::with(Arc::clone(&store), settings.logs.clone(), Some(feed));
    let logs = Arc::new(logs);
    logs.start();
    live::serve(tasks, &broker, &logs, lines, closing);
    retention::serve(tasks, &store, settings, closing);
    let known = Known {
        tenures: Tenures::default(),
        active: Arc::new(ActiveRuns::default()),
        slots: Slots::new(settings.worker.max_terminating, settings.worker.max_long_running),
        gate: Gate::new(Arc::clone(&store), Arc::clone(&engine)),
    };
    let drain = Drain::default();
    let (tools, unconfirmed) =
        tools(settings, broker, store, (engine, identity, ground), &logs, drain.given_up());
    readiness.watch_unconfirmed(tools.outbox.watch());
    let ctx = Arc::new(Context { tools, known, drain });
    readiness.watch_segment(ctx.known.tenures.watch_ownership());
    match shutdown.run_until_cancelled(Box::pin(adopt::find_home(&ctx))).await {
        None => {
            ctx.drain.release_segments().await;
            return Ok(None);
        }
        Some(found) => found.map(drop)?,
    }
    let worker = Worker { ctx, logs };
    worker.keep_segments(tasks);
    worker.publish_again(tasks, unconfirmed, closing);
    worker.take_messages();
    Ok(Some(worker))
}

/// Makes a declaration of exchanges and queues once the broker is there. A mismatch with what is
/// there ends the worker: it does not mend itself. Whatever else fails may, such as a connection
/// that is lost meanwhile. Gives `false` where shutdown came first.
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

/// Tries until it goes well, with one log line a try.
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
    given_up: &CancellationToken,
) -> (Tools, outbox::Incoming) {
    let namespace = settings.broker.namespace.clone();
    let publisher = Publisher {
        sink: Arc::new(RabbitSink::new(broker.clone(), given_up.clone())),
        source: format!("/longshore/{namespace}"),
        worker: settings.worker.name.clone(),
        masks: Arc::new(Masks::new(settings.credentials())),
        tracker: TaskTracker::new(),
    };
    let runner = DockerRunner::new(Site {
        engine,
        store: Arc::clone(&store),
        logs: Arc::clone(logs),
        settings: settings.runner.clone(),
        namespace: namespace.clone(),
        worker: settings.worker.name.clone(),
        lease: settings.worker.segment_grace,
    })
    .on(ground);
    let journal = Journal::new(store, namespace);
    let max_pause = settings.worker.publish_retry_max;
    let (outbox, unconfirmed) =
        Outbox::new(publisher.clone(), journal.clone(), max_pause, given_up.clone());
    let tools = Tools {
        broker,
        journal,
        runner: Arc::new(runner),
        publisher,
        outbox,
        given_up: given_up.clone(),
        bounds: settings.bounds(),
        settings: settings.worker.clone(),
        place: mark::place(identity, &settings.runner.temp_dir),
    };
    (tools, unconfirmed)
}
