//! A worker's life: connect, claim a segment, take up what is there, take messages, drain.

use std::sync::Arc;
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
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
use crate::worker::context::Context;
use crate::worker::gate::Gate;
use crate::worker::message::intake::{take_starts, take_stops};
use crate::worker::message::undelivered::take_undelivered;
use crate::worker::ownership::mark;
use crate::worker::ownership::tenure::Tenures;
use crate::worker::run::outbox;
use crate::worker::run::outbox::Outbox;
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
    if tokio::time::timeout(FLUSH_TIMEOUT, tasks.wait()).await.is_err() {
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
    /// Cancelled when no other segment is to be taken any more.
    no_more_segments: CancellationToken,
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
    let (outbox, unconfirmed) = Outbox::new();
    readiness.watch_unconfirmed(outbox.watch());
    let ctx = context(settings, broker, store, (engine, identity, ground), &logs, outbox);
    let ctx = Arc::new(ctx);
    readiness.watch_segment(ctx.tenures.watch_ownership());
    match shutdown.run_until_cancelled(Box::pin(adopt::find_home(&ctx))).await {
        None => {
            ctx.release.cancel();
            ctx.holders.close();
            ctx.holders.wait().await;
            return Ok(None);
        }
        Some(found) => found.map(drop)?,
    }
    let no_more_segments = CancellationToken::new();
    let worker = Worker { ctx, logs, no_more_segments };
    worker.keep_segments(tasks);
    let publishing = outbox::publish_again(Arc::clone(&worker.ctx), unconfirmed);
    tasks.spawn(closing.clone().run_until_cancelled_owned(publishing));
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

fn context(
    settings: &Settings,
    broker: Broker,
    store: Arc<dyn ObjectStore>,
    (engine, identity, ground): (Arc<dyn ContainerOrchestrator>, String, Ground),
    logs: &Arc<LogCollector>,
    outbox: Outbox,
) -> Context {
    let namespace = settings.broker.namespace.clone();
    let give_up = CancellationToken::new();
    let publisher = Publisher {
        sink: Arc::new(RabbitSink::new(broker.clone(), give_up.clone())),
        source: format!("/longshore/{namespace}"),
        worker: settings.worker.name.clone(),
        masks: Arc::new(Masks::new(settings.credentials())),
        tracker: TaskTracker::new(),
    };
    let gate = Gate::new(Arc::clone(&store), Arc::clone(&engine));
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
    Context {
        broker,
        journal: Journal::new(store, namespace),
        runner: Arc::new(runner),
        publisher,
        outbox,
        bounds: settings.bounds(),
        settings: settings.worker.clone(),
        place: mark::place(identity, &settings.runner.temp_dir),
        give_up,
        tenures: Tenures::default(),
        active: Arc::new(ActiveRuns::default()),
        slots: Slots::new(settings.worker.max_terminating, settings.worker.max_long_running),
        gate,
        terminating: TaskTracker::new(),
        long_running: TaskTracker::new(),
        intake: CancellationToken::new(),
        intakes: TaskTracker::new(),
        detach: CancellationToken::new(),
        release: CancellationToken::new(),
        holders: TaskTracker::new(),
    }
}

impl Worker {
    /// Sees to the segments: that there is one of our own, those of dead workers, and what is left
    /// of runs that are nobody's.
    fn keep_segments(&self, tasks: &TaskTracker) {
        let until = &self.no_more_segments;
        tasks.spawn(
            until.clone().run_until_cancelled_owned(adopt::keep_home(Arc::clone(&self.ctx))),
        );
        tasks.spawn(
            until.clone().run_until_cancelled_owned(adopt::watch_others(Arc::clone(&self.ctx))),
        );
        tasks.spawn(
            until
                .clone()
                .run_until_cancelled_owned(sweep::sweep_now_and_then(Arc::clone(&self.ctx))),
        );
    }

    fn take_messages(&self) {
        let ctx = &self.ctx;
        for long_running in [false, true] {
            let inbox = Inbox::of_start(long_running);
            let consumer = ctx.broker.consumer(inbox, Flow::OnDemand, ctx.intake.clone());
            ctx.intakes.spawn(take_starts(Arc::clone(ctx), consumer, long_running));
        }
        let flow = Flow::Prefetch(STOP_PREFETCH);
        let consumer = ctx.broker.consumer(Inbox::Stop, flow, ctx.intake.clone());
        ctx.intakes.spawn(take_stops(Arc::clone(ctx), consumer));
        let consumer =
            ctx.broker.consumer(Inbox::Undelivered, Flow::Prefetch(1), ctx.intake.clone());
        ctx.intakes.spawn(take_undelivered(Arc::clone(ctx), consumer));
    }

    /// Accepts no more, waits for terminating runs within the grace, lets go of the rest.
    async fn drain(self, grace: Duration) {
        let ctx = &self.ctx;
        tracing::info!(active = ctx.active.len(), grace_seconds = grace.as_secs(), "drain");
        self.no_more_segments.cancel();
        ctx.intake.cancel();
        ctx.intakes.close();
        if tokio::time::timeout(FLUSH_TIMEOUT, ctx.intakes.wait()).await.is_err() {
            tracing::warn!("the broker did not confirm in time that no more messages come");
        }
        ctx.terminating.close();
        ctx.long_running.close();
        if tokio::time::timeout(grace, ctx.terminating.wait()).await.is_err() {
            tracing::warn!(
                left = ctx.terminating.len(),
                "the grace is over: leave terminating runs to the segment's next owner"
            );
        }
        ctx.detach.cancel();
        let flush = async {
            ctx.terminating.wait().await;
            ctx.long_running.wait().await;
            ctx.publisher.tracker.close();
            ctx.publisher.tracker.wait().await;
        };
        let (flushed, shipped) =
            tokio::join!(tokio::time::timeout(FLUSH_TIMEOUT, flush), self.logs.stop(FLUSH_TIMEOUT));
        if flushed.is_err() || !shipped {
            tracing::warn!("some log lines or events did not reach their place in time");
        }
        // Last of all, for whoever comes next begins at once.
        ctx.release.cancel();
        ctx.holders.close();
        if tokio::time::timeout(FLUSH_TIMEOUT, ctx.holders.wait()).await.is_err() {
            tracing::warn!("the segments could not be let go in good order");
        }
        ctx.give_up.cancel();
        ctx.broker.close().await;
    }
}
