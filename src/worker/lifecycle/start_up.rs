//! A worker's life: connect, claim a segment, take up what is there, take messages, drain.

use std::sync::Arc;
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::live;
use super::retention;
use crate::broker::{Broker, BrokerError, Flow, Inbox, RabbitSink};
use crate::http::{self, Readiness};
use crate::logs::{LiveFeed, LogCollector, Masks};
use crate::runner::docker::{DockerOrchestrator, Progress};
use crate::runner::orchestrator::EngineError;
use crate::runner::temp_dir::{self, TempDirError};
use crate::runner::{ContainerOrchestrator, DockerRunner, Ground};
use crate::settings::{Exposure, Settings};
use crate::storage::{Journal, ObjectStore, S3Store, StoreError, probe};
use crate::worker::active::ActiveRuns;
use crate::worker::context::{Context, Known, Tools};
use crate::worker::drain::Drain;
use crate::worker::gate::Gate;
use crate::worker::message::intake::{take_starts, take_stops, take_undelivered};
use crate::worker::ownership::mark;
use crate::worker::ownership::tenure::Tenures;
use crate::worker::run::outbox::{self, Outbox};
use crate::worker::run::reporter::Publisher;
use crate::worker::segment::adopt;
use crate::worker::segment::hold::STOP_PREFETCH;
use crate::worker::segment::sweep;
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

/// How long the last log lines and events may take once everything else has ended.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(15);

/// Runs a worker until `shutdown`, then drains it: no new messages, terminating runs have the
/// grace of the settings to end, and what still runs is left to whoever takes the segment next.
pub async fn run(settings: Settings, shutdown: CancellationToken) -> Result<(), WorkerError> {
    let readiness = Readiness::default();
    let tasks = TaskTracker::new();
    let closing = CancellationToken::new();
    let server = http::serve(&settings.http, readiness.clone(), closing.clone());
    let address = settings.http.listen;
    tasks.spawn(server.await.map_err(|source| WorkerError::Http { address, source })?);

    warn_of_exposures(&settings);

    let begun = Box::pin(begin(&settings, &readiness, &tasks, &closing, &shutdown));
    if let Some(worker) = begun.await? {
        shutdown.cancelled().await;
        worker.drain(settings.worker.drain_grace).await;
    }
    closing.cancel();
    tasks.close();
    if timeout(FLUSH_TIMEOUT, tasks.wait()).await.is_err() {
        tracing::warn!("leave background tasks behind: they did not end in time");
    }
    tracing::info!("worker has ended");
    Ok(())
}

/// Says once, in one line, what the settings leave open to strangers' code.
fn warn_of_exposures(settings: &Settings) {
    let sentence = |exposure: Exposure| format!("{}; {}", exposure.said, exposure.remedy);
    let sentences: Vec<_> = settings.exposures().into_iter().map(sentence).collect();
    if !sentences.is_empty() {
        tracing::warn!("strangers could do harm: {}", sentences.join("; "));
    }
}

/// A worker that takes messages.
struct Worker {
    ctx: Arc<Context>,
    logs: Arc<LogCollector>,
}

/// Connects, claims a segment, takes up what is there and begins to take messages. `None`: shutdown
/// came first.
async fn begin(
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
                tracing::warn!(what, %error, retry_seconds = pause.as_secs_f32(), "wait");
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
    let runner = DockerRunner::new(
        engine,
        Arc::clone(&store),
        Arc::clone(logs),
        settings.runner.clone(),
        namespace.clone(),
        settings.worker.name.clone(),
        settings.worker.segment_grace,
    )
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

impl Worker {
    /// Sees to the segments: that there is one of our own, those of dead workers, and what is left
    /// of runs that are nobody's.
    fn keep_segments(&self, tasks: &TaskTracker) {
        let until = self.ctx.drain.no_more_segments();
        let ctx = || Arc::clone(&self.ctx);
        tasks.spawn(until.clone().run_until_cancelled_owned(adopt::keep_home(ctx())));
        tasks.spawn(until.clone().run_until_cancelled_owned(adopt::watch_others(ctx())));
        tasks.spawn(until.clone().run_until_cancelled_owned(sweep::sweep_now_and_then(ctx())));
    }

    /// Publishes again what the broker has not confirmed, until `closing`.
    fn publish_again(
        &self,
        tasks: &TaskTracker,
        unconfirmed: outbox::Incoming,
        closing: &CancellationToken,
    ) {
        let (ctx, closing) = (Arc::clone(&self.ctx), closing.clone());
        tasks.spawn(async move {
            closing.run_until_cancelled(ctx.tools.outbox.publish_again(unconfirmed)).await;
        });
    }

    fn take_messages(&self) {
        let Context { tools, drain, .. } = &*self.ctx;
        let consumer =
            |inbox, flow| tools.broker.consumer(inbox, flow, drain.no_more_messages().clone());
        let ctx = || Arc::clone(&self.ctx);
        for long_running in [false, true] {
            let starts = consumer(Inbox::of_start(long_running), Flow::OnDemand);
            drain.spawn_intake(take_starts(ctx(), starts, long_running));
        }
        let stops = consumer(Inbox::Stop, Flow::Prefetch(STOP_PREFETCH));
        drain.spawn_intake(take_stops(ctx(), stops));
        let undelivered = consumer(Inbox::Undelivered, Flow::Prefetch(1));
        drain.spawn_intake(take_undelivered(ctx(), undelivered));
    }

    /// Accepts no more, waits for terminating runs within the grace, lets go of the rest.
    async fn drain(self, grace: Duration) {
        let Context { tools, known, drain } = &*self.ctx;
        tracing::info!(active = known.active.len(), grace_seconds = grace.as_secs(), "drain");
        if timeout(FLUSH_TIMEOUT, drain.stop_intake()).await.is_err() {
            tracing::warn!("the broker did not confirm in time that no more messages come");
        }
        if timeout(grace, drain.wait_for_terminating()).await.is_err() {
            tracing::warn!(
                left = drain.terminating_left(),
                "the grace is over: leave terminating runs to the segment's next owner"
            );
        }
        let flush = async {
            drain.detach().await;
            tools.publisher.tracker.close();
            tools.publisher.tracker.wait().await;
        };
        let (flushed, shipped) =
            tokio::join!(timeout(FLUSH_TIMEOUT, flush), self.logs.stop(FLUSH_TIMEOUT));
        if flushed.is_err() || !shipped {
            tracing::warn!("some log lines or events did not reach their place in time");
        }
        // Last of all, for whoever comes next begins at once.
        if timeout(FLUSH_TIMEOUT, drain.release_segments()).await.is_err() {
            tracing::warn!("the segments could not be let go in good order");
        }
        drain.give_up();
        tools.broker.close().await;
    }
}
