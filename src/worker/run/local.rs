//! Runs one job on this machine, without broker and store, for `longshore run`. The runner is the
//! same as in a worker; only events and objects go elsewhere.

use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::execute::{Begin, Executed, Keeper, execute};
use super::left::{RunLock, new_namespace, private_temp_dir};
use super::publisher::Publisher;
use super::reporter::Reporter;
use crate::broker::EventSink;
use crate::job::{ExecutionResult, Job, Run, Verdict, sentence};
use crate::logs::{LiveTap, LogCollector};
use crate::metrics::Metrics;
use crate::runner::orchestrator::EngineError;
use crate::runner::temp_dir::{self, TEMP_DIR, TempDirError};
use crate::runner::{self, DockerRunner, Ground, Progress, Site, Uptime};
use crate::settings::{LogSettings, RunnerSettings};
use crate::storage::{Bucket, DirectoryStore, Journal, ObjectStore, StoreError};
use crate::worker::active::{ActiveRun, StopOrder};
use crate::worker::ownership::machine::ThisMachine;

/// The worker's name in a local run.
const WORKER: &str = "local";

/// How long a bot runs on when the command that started it is killed.
const LEASE: Duration = Duration::from_secs(15);

/// How long the last lines of the output may take to reach the directory.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(10);

/// Why a local run could not begin.
#[derive(Debug, thiserror::Error)]
pub enum LocalError {
    /// The directory for code, results and logs cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The engine cannot be reached.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// No directory for the code would be safe from others.
    #[error(transparent)]
    TempDir(#[from] TempDirError),
    /// The file that shows that the run lives cannot be made.
    #[error("TEMP_DIR: no lock file can be made in {}: {source}", temp_dir.display())]
    Lock {
        /// Where.
        temp_dir: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// The namespace of the states that local runs keep.
pub const LOCAL_STATES: &str = "local";

/// What a local run needs.
pub struct LocalRun<'a> {
    /// What to run. Its `code_key` is where the zip is put.
    pub job: Job,
    /// The zip.
    pub archive: &'a Path,
    /// The objects of its inputs, by their keys, and the files that have them.
    pub inputs: &'a [(String, PathBuf)],
    /// Where code, results and logs go, in the layout of the buckets.
    pub directory: &'a Path,
    /// Directories of the command's own that go with it.
    pub own: Vec<PathBuf>,
    /// Where the states of bots are kept from run to run, in the layout of the buckets.
    pub states: &'a Path,
    /// How containers are made.
    pub runner: RunnerSettings,
    /// How output is kept.
    pub logs: LogSettings,
    /// How the pull of an image is shown.
    pub progress: Progress,
    /// Where events go.
    pub sink: Arc<dyn EventSink>,
    /// Where every line of the output goes live.
    pub live: LiveTap,
}

/// Runs a job to its end. `stop` asks it to end earlier.
///
/// # Errors
/// [`LocalError`] if it could not begin. The result says how the run itself ended.
pub async fn run_local(
    mut local: LocalRun<'_>,
    stop: CancellationToken,
) -> Result<ExecutionResult, LocalError> {
    local.runner.temp_dir = own_temp_dir(local.runner.temp_dir)?;
    let temp_dir = local.runner.temp_dir.clone();
    // A separate namespace, so two runs of one job at a time do not clash.
    let namespace = new_namespace();
    // Before anything else is made: what is there without this lock was left by a killed one.
    let engine = local.runner.docker_host.as_deref();
    let lock = RunLock::take(&temp_dir, &namespace, engine, &local.own).await;
    let lock = lock.map_err(|source| LocalError::Lock { temp_dir: temp_dir.clone(), source })?;
    let _kept = temp_dir::keep_from_cleaners(&temp_dir);
    // Its code is here already, and it may end before anything is compiled.
    local.runner.code_cache.max_bytes = 0;
    local.runner.warm.containers = 0;
    let store: Arc<dyn ObjectStore> = Arc::new(DirectoryStore::new(local.directory));
    store.ensure_buckets().await?;
    let key = &local.job.code_key;
    store.upload(Bucket::Code, key, local.archive, "application/zip").await?;
    for (key, file) in local.inputs {
        store.upload(Bucket::Inputs, key, file, "application/octet-stream").await?;
    }
    let states: Arc<dyn ObjectStore> = if local.job.state.is_some() {
        let states = DirectoryStore::new(local.states);
        states.ensure_buckets().await?;
        Arc::new(states)
    } else {
        Arc::clone(&store)
    };
    let engine = runner::connect(&local.runner, local.progress, &Metrics::default()).await?;
    let ground = Ground::of(engine.root().await?);
    // Any user may run jobs here, and users must not disturb each other.
    let log_settings = LogSettings { spool_dir: std::env::temp_dir(), ..local.logs };
    let logs = Arc::new(LogCollector::new(Arc::clone(&store), log_settings));
    logs.start();
    let stop_timeout = local.runner.stop_timeout;
    let runner = DockerRunner::new(Site {
        engine,
        store: Arc::clone(&store),
        states: Journal::new(states, LOCAL_STATES.to_owned()),
        logs: Arc::clone(&logs),
        settings: local.runner,
        namespace: namespace.clone(),
        worker: WORKER.to_owned(),
        lease: LEASE,
        lock: Some(lock.path().to_owned()),
        metrics: Metrics::default(),
    })
    .on(ground);
    let publisher = Publisher {
        sink: local.sink,
        source: format!("/longshore/{namespace}"),
        worker: WORKER.to_owned(),
        masks: Arc::default(),
        tracker: TaskTracker::new(),
        machine: Arc::new(ThisMachine::default()),
    };
    let run = Run { job: Arc::new(local.job), attempt: 1, segment: 0, is_new: false };
    let reporter = Reporter::new(publisher, run.clone(), None).with_live_tap(local.live);
    let result = to_its_end(&runner, &run, &reporter, stop_timeout, stop).await;
    runner.release(&run.job.id).await;
    // They may be large, and their user has them.
    for (key, _) in local.inputs {
        store.delete(Bucket::Inputs, key).await?;
    }
    runner.site().remove_namespace_directory().await;
    let result = reporter.masked(result);
    let event = reporter.result_event(result.clone());
    reporter.finish(&event, None).await;
    if !logs.stop(FLUSH_TIMEOUT).await {
        tracing::warn!("the last lines of the log may be missing");
    }
    drop(lock);
    Ok(result)
}

/// `TEMP_DIR`, or a private directory if that belongs to another user, for example to a worker on
/// this host.
fn own_temp_dir(temp_dir: PathBuf) -> Result<PathBuf, TempDirError> {
    match temp_dir::check(TEMP_DIR, &temp_dir) {
        Err(TempDirError::Foreign { me, .. }) => {
            let own = private_temp_dir(me);
            temp_dir::check(TEMP_DIR, &own)?;
            Ok(own)
        }
        checked => checked.map(|()| temp_dir),
    }
}

async fn to_its_end(
    runner: &DockerRunner,
    run: &Run,
    reporter: &Reporter,
    stop_timeout: Duration,
    stop: CancellationToken,
) -> ExecutionResult {
    let active = ActiveRun::new(run.job.run_id.clone(), None);
    let stopped = async {
        stop.cancelled().await;
        let reason = Some("interrupted at the terminal".to_owned());
        active.request_stop(StopOrder { reason, timeout: stop_timeout });
        std::future::pending().await
    };
    let executed = tokio::select! {
     biased;
        executed = execute(runner, run.clone(), Begin::Launch, &active, reporter, &Nobody) => executed,
        never = stopped => never,
        never = keep_alive(runner, run.segment) => match never {},
    };
    match executed {
        Executed::Ended(result) => *result,
        Executed::Failed { reason, .. } => {
            ExecutionResult::failed(run, WORKER, Verdict::Unavailable, reason)
        }
        Executed::TakenOver => {
            let reason = sentence::TAKEN_OVER.to_owned();
            ExecutionResult::failed(run, WORKER, Verdict::Unavailable, reason)
        }
    }
}

/// No other worker can take a local run, so nobody keeps an account of its attempts.
struct Nobody;

#[async_trait]
impl Keeper for Nobody {
    async fn begin_attempt(&self, _: u32) -> bool {
        true
    }
}

/// Renews the lease of a bot as long as this process lives.
async fn keep_alive(runner: &DockerRunner, segment: u32) -> Infallible {
    let mut ticks = tokio::time::interval(LEASE / 5);
    for number in 0_u64.. {
        ticks.tick().await;
        let stamp = format!("local.{number}");
        if let Err(error) = runner.renew_leases(segment, stamp, LEASE, Uptime::now()).await {
            tracing::error!(%error, "could not renew the bot's lease in TEMP_DIR");
        }
    }
    std::future::pending().await
}
