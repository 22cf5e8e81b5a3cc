//! The gate before the intake: a worker that cannot work takes no work.
//!
//! It is closed at first, and whenever our infrastructure fails a job. It opens when store and engine answer and a
//! rehearsal of what a job needs goes well. A fault that a rehearsal misses lets one job of a kind through at a
//! time, after growing pauses, until one has run. So a fault costs the jobs in hand an attempt each, and those
//! after them hardly any: they wait in the broker for a worker that is well.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::task::TaskTracker;

use super::decide::{Level, Trust};
use crate::runner::JobRunner;
use crate::storage::ObjectStore;

/// Between two looks while store or engine does not answer.
const LOOK: Duration = Duration::from_secs(1);

/// Between two rehearsals while they fail.
const REHEARSE_AGAIN: Duration = Duration::from_secs(5);

/// The gate.
pub(super) struct Gate {
    store: Arc<dyn ObjectStore>,
    runner: Arc<dyn JobRunner>,
    trust: parking_lot::Mutex<(Trust, Instant)>,
    /// Told at each change of the trust. Waiters hear of it in their order.
    changed: Notify,
    /// Held by whoever tries whether we can work, for one is enough.
    rehearsing: Mutex<()>,
    rehearsals: TaskTracker,
    trials: [Arc<Semaphore>; 2],
}

/// Leave to take one job.
#[derive(Debug)]
pub(super) struct Pass {
    trial: Option<OwnedSemaphorePermit>,
}

impl Pass {
    /// Whether the job is to show that we can work.
    pub(super) fn is_trial(&self) -> bool {
        self.trial.is_some()
    }
}

impl Gate {
    /// A gate that is closed.
    pub(super) fn new(store: Arc<dyn ObjectStore>, runner: Arc<dyn JobRunner>) -> Self {
        let trials = [(), ()].map(|()| Arc::new(Semaphore::new(1)));
        let trust = parking_lot::Mutex::new((Trust::new(), Instant::now()));
        let changed = Notify::new();
        let (rehearsing, rehearsals) = (Mutex::default(), TaskTracker::new());
        Self { store, runner, trust, changed, rehearsing, rehearsals, trials }
    }

    /// Whether a worker may take what another one could run.
    pub(super) fn is_open(&self) -> bool {
        self.level() == Level::Everything
    }

    /// Closes the gate, for our infrastructure has failed a job.
    pub(super) fn close(&self) {
        self.change(Trust::after_failure);
    }

    /// Opens the gate, for a job that was a trial has run.
    pub(super) fn trial_has_run(&self) {
        self.change(Trust::after_trial);
    }

    /// Waits until a job of a kind may be taken.
    pub(super) async fn pass(&self, long_running: bool) -> Pass {
        loop {
            let changed = self.changed.notified();
            let (now, since) = *self.trust.lock();
            match now.level() {
                Level::Everything => return Pass { trial: None },
                Level::Nothing => self.rehearse().await,
                Level::Trial => {
                    let turn = async {
                        sleep_until(since + now.pause()).await;
                        let turns = Arc::clone(&self.trials[usize::from(long_running)]);
                        turns.acquire_owned().await.ok()
                    };
                    tokio::select! {
                        biased;
                        () = changed => {}
                        trial = turn => if self.level() == Level::Trial && trial.is_some() {
                            return Pass { trial };
                        },
                    }
                }
            }
        }
    }

    /// Waits until a job may not be taken any more that was let through, as a trial or not.
    pub(super) async fn revoked(&self, is_trial: bool) {
        loop {
            let changed = self.changed.notified();
            let is_valid = match self.level() {
                Level::Everything => true,
                Level::Trial => is_trial,
                Level::Nothing => false,
            };
            if !is_valid {
                return;
            }
            changed.await;
        }
    }

    /// Waits until store and engine seem well, for whoever runs no job.
    pub(super) async fn can_work(&self) {
        while self.level() == Level::Nothing {
            self.rehearse().await;
        }
    }

    /// Waits until no rehearsal is under way, and none begins any more.
    pub(super) async fn rest(&self) {
        self.rehearsals.close();
        self.rehearsals.wait().await;
    }

    fn level(&self) -> Level {
        self.trust.lock().0.level()
    }

    fn change(&self, change: impl FnOnce(Trust) -> Trust) {
        let mut trust = self.trust.lock();
        let changed = change(trust.0);
        if changed != trust.0 {
            *trust = (changed, Instant::now());
            drop(trust);
            self.changed.notify_waiters();
        }
    }

    /// Tries whether we can work; waits a moment where we cannot.
    async fn rehearse(&self) {
        let _one = self.rehearsing.lock().await;
        if self.level() != Level::Nothing {
            return;
        }
        let (reason, pause) = match self.missing().await {
            Some(reason) => (reason, LOOK),
            None => match self.rehearsal().await {
                Ok(()) => {
                    self.change(|trust| trust.after_rehearsal(true));
                    if self.level() == Level::Trial {
                        let seconds = self.trust.lock().0.pause().as_secs();
                        tracing::warn!(
                            seconds,
                            "nothing shows why the last job failed here; taking one job at a time after a pause"
                        );
                    }
                    return;
                }
                Err(reason) => (reason, REHEARSE_AGAIN),
            },
        };
        tracing::warn!(reason, "taking no jobs for now");
        self.change(|trust| trust.after_rehearsal(false));
        sleep(pause).await;
    }

    /// A task of its own, so that it comes to its end, and tidies up, although nobody waits for it any more.
    async fn rehearsal(&self) -> Result<(), String> {
        let runner = Arc::clone(&self.runner);
        let rehearsed = self.rehearsals.spawn(async move { runner.rehearse().await });
        match rehearsed.await {
            Ok(rehearsed) => rehearsed.map_err(|error| error.to_string()),
            Err(error) => Err(format!("the rehearsal was interrupted: {error}")),
        }
    }

    async fn missing(&self) -> Option<String> {
        let (store, engine) = tokio::join!(self.store.check(), self.runner.check());
        let store = store.err().map(|error| error.to_string());
        store.or_else(|| engine.err().map(|error| error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;
    use crate::runner::DockerRunner;
    use crate::runner::recorder::{Recorder, Script, site};
    use crate::storage::DirectoryStore;

    /// A gate before a store in `root`, which is not there yet.
    fn gate(root: &std::path::Path) -> (Gate, Arc<DirectoryStore>) {
        let store = Arc::new(DirectoryStore::new(&root.join("store")));
        let engine = Arc::new(Recorder::new(Script::default()));
        let runner = DockerRunner::new(site(engine, store.clone(), &root.join("jobs")));
        (Gate::new(store.clone(), Arc::new(runner)), store)
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_closed_until_store_and_engine_do_what_a_job_needs() {
        let root = tempfile::tempdir().unwrap();
        let (gate, store) = gate(root.path());
        assert!(!gate.is_open());
        assert!(timeout(LOOK * 5, gate.pass(false)).await.is_err(), "it opened without a store");
        store.ensure_buckets().await.unwrap();
        assert!(!gate.pass(false).await.is_trial());
        assert!(gate.is_open());
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_failure_that_nothing_explains_one_job_of_a_kind_passes_until_one_has_run() {
        let root = tempfile::tempdir().unwrap();
        let (gate, store) = gate(root.path());
        store.ensure_buckets().await.unwrap();
        drop(gate.pass(false).await);
        let begun = Instant::now();
        gate.close();
        let trial = gate.pass(false).await;
        assert!(trial.is_trial() && begun.elapsed() >= Duration::from_secs(2));
        assert!(gate.pass(true).await.is_trial(), "the other kind has a turn of its own");
        assert!(timeout(LOOK * 600, gate.pass(false)).await.is_err(), "two at a time");
        // One that showed nothing, as a message that was refused.
        drop(trial);
        let trial = gate.pass(false).await;
        gate.close();
        let begun = Instant::now();
        drop(trial);
        let trial = gate.pass(false).await;
        assert!(trial.is_trial() && begun.elapsed() >= Duration::from_secs(16));
        gate.trial_has_run();
        assert!(!gate.pass(false).await.is_trial());
    }
}
