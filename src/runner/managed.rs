//! The managed containers: what this worker runs now, one entry for each job.
//!
//! An entry is made before anything is fetched, so a slow pull cannot lead to two containers.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use super::directory::JobDirectory;
use super::failure::RunFailure;
use super::lease::LeaseWatch;
use super::state::Kept;
use super::warm::Done;
use crate::job::series::series_key;
use crate::job::{JobId, Run};
use crate::logs::{LogHandle, LogSource, Mask, Said};

/// What is needed of a started container when it ends.
pub(super) struct Held {
    pub(super) container: String,
    pub(super) directory: JobDirectory,
    pub(super) logs: LogHandle,
}

/// Why a run was asked to stop, if the request says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct StopReason(pub(super) Option<String>);

/// A run between its start and its release.
pub(super) struct Managed {
    pub(super) run: Run,
    /// Cancelled when a stop was requested.
    pub(super) stop: CancellationToken,
    /// What we know about a bot's lease.
    pub(super) lease: Mutex<LeaseWatch>,
    /// The state of a bot, once it is ours.
    pub(super) state: tokio::sync::Mutex<Option<Kept>>,
    stop_reason: OnceLock<StopReason>,
    container: OnceLock<String>,
    launched_at: OnceLock<Instant>,
    adopted_at: OnceLock<Timestamp>,
    done: OnceLock<Done>,
    held: Mutex<Option<Held>>,
    leftovers: Mutex<Option<Leftovers>>,
}

/// What `release` has to remove.
pub(super) struct Leftovers {
    pub(super) container: String,
    pub(super) directory: JobDirectory,
}

impl Managed {
    fn new(run: Run) -> Self {
        Self {
            run,
            stop: CancellationToken::new(),
            lease: Mutex::default(),
            state: tokio::sync::Mutex::default(),
            stop_reason: OnceLock::new(),
            container: OnceLock::new(),
            launched_at: OnceLock::new(),
            adopted_at: OnceLock::new(),
            done: OnceLock::new(),
            held: Mutex::new(None),
            leftovers: Mutex::new(None),
        }
    }

    /// Where the output of its container comes from; `resume`: some of it may have been read before.
    pub(super) fn log_source(&self, resume: bool, mask: Mask) -> LogSource {
        let Run { job, attempt, is_new, .. } = &self.run;
        LogSource {
            job: job.id.clone(),
            run: job.run_id.clone(),
            attempt: *attempt,
            entrypoint: job.entrypoint,
            interval: job.log_interval,
            terminating: !job.is_long_running,
            resume,
            is_new_job: *is_new,
            // A sweep's rows have results instead.
            series_key: job.sweep.is_none().then(|| series_key(&job.id, &job.run_id, *attempt)),
            mask,
        }
    }

    /// Marks the run as asked to stop. The first reason stays.
    pub(super) fn request_stop(&self, reason: Option<String>) {
        // The first one wins; a second request changes nothing.
        if self.stop_reason.set(StopReason(reason)).is_ok() {
            self.stop.cancel();
        }
    }

    /// Why it was asked to stop, once it was.
    pub(super) fn stop_reason(&self) -> Option<StopReason> {
        self.stop_reason.get().cloned()
    }

    /// The failure of a run that was asked to stop before it ran.
    pub(super) fn cancelled(&self) -> RunFailure {
        RunFailure::Cancelled { reason: self.stop_reason().and_then(|reason| reason.0) }
    }

    /// The engine's id of the container, once it has started.
    pub(super) fn container(&self) -> Option<&str> {
        self.container.get().map(String::as_str)
    }

    /// Keeps that by which the end of the run is heard from its helper.
    pub(super) fn hear_end(&self, done: Done) {
        self.done.get_or_init(|| done);
    }

    /// The exit code, as the helper tells it when all is over; `None` if it does not.
    pub(super) async fn told_code(&self) -> Option<i64> {
        self.done.get()?.code().await
    }

    /// Notes that we started the container, and just now.
    pub(super) fn mark_launched(&self) {
        self.launched_at.get_or_init(Instant::now);
    }

    /// How long the container has run, if we started it.
    pub(super) fn running_for(&self) -> Option<Duration> {
        self.launched_at.get().map(Instant::elapsed)
    }

    /// Notes that the container existed already, and that we watch it from now on.
    pub(super) fn mark_adopted(&self) {
        self.adopted_at.get_or_init(Timestamp::now);
    }

    /// Whether something happened to the container while nobody watched it.
    pub(super) fn is_before_adoption(&self, time: Option<Timestamp>) -> bool {
        self.adopted_at.get().is_some_and(|adopted| time.is_none_or(|time| time < *adopted))
    }

    /// Keeps what is needed when the container ends.
    pub(super) fn hold(&self, held: Held) {
        // There is one container for each run, so it is set only once.
        self.container.get_or_init(|| held.container.clone());
        *self.held.lock() = Some(held);
    }

    /// What its program says about itself, as long as the container is held.
    pub(super) fn said(&self) -> Option<Said> {
        self.held.lock().as_ref().map(|held| held.logs.said())
    }

    /// Returns what was held, once.
    pub(super) fn take_held(&self) -> Option<Held> {
        self.held.lock().take()
    }

    /// Keeps what must be removed.
    pub(super) fn leave(&self, leftovers: Leftovers) {
        *self.leftovers.lock() = Some(leftovers);
    }

    /// Returns what must be removed, once.
    pub(super) fn take_leftovers(&self) -> Option<Leftovers> {
        let held = self
            .take_held()
            .map(|held| Leftovers { container: held.container, directory: held.directory });
        self.leftovers.lock().take().or(held)
    }
}

/// What this worker runs right now.
#[derive(Default)]
pub(super) struct ManagedContainers {
    by_job: Mutex<HashMap<JobId, Arc<Managed>>>,
}

impl ManagedContainers {
    /// Marks a job as starting; `None` if it is active already.
    pub(super) fn begin(&self, run: &Run) -> Option<Arc<Managed>> {
        let mut by_job = self.by_job.lock();
        if by_job.contains_key(&run.job.id) {
            return None;
        }
        let managed = Arc::new(Managed::new(run.clone()));
        by_job.insert(run.job.id.clone(), Arc::clone(&managed));
        Some(managed)
    }

    /// The active run of a job.
    pub(super) fn get(&self, id: &JobId) -> Option<Arc<Managed>> {
        self.by_job.lock().get(id).cloned()
    }

    /// The long-running runs of a segment.
    pub(super) fn long_running_of(&self, segment: u32) -> Vec<Arc<Managed>> {
        let is_meant = |managed: &&Arc<Managed>| {
            managed.run.segment == segment && managed.run.job.is_long_running
        };
        self.by_job.lock().values().filter(is_meant).map(Arc::clone).collect()
    }

    /// Forgets a job.
    pub(super) fn remove(&self, id: &JobId) -> Option<Arc<Managed>> {
        self.by_job.lock().remove(id)
    }
}
