//! The runs that this worker has taken, from claim to settled, and orders to stop them.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use jiff::Timestamp;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::ownership::tenure::Tenure;
use super::slots::Slot;
use crate::job::{JobId, RunId};
use crate::storage::IndexEntry;

/// How to stop a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StopOrder {
    /// Why, for the result event.
    pub reason: Option<String>,
    /// Between SIGTERM and SIGKILL.
    pub timeout: Duration,
}

/// A run from its claim until it is settled.
#[derive(Debug)]
pub struct ActiveRun {
    /// Which run.
    pub run_id: RunId,
    /// When its start message was published, if that says so.
    pub published_at: Option<Timestamp>,
    order: OnceLock<StopOrder>,
    requested: CancellationToken,
    claimed: OnceLock<(Arc<Tenure>, Uuid)>,
    slot: Mutex<Option<Slot>>,
    ended: Mutex<bool>,
}

impl ActiveRun {
    /// A run that nobody has asked to stop.
    #[must_use]
    pub fn new(run_id: RunId, published_at: Option<Timestamp>) -> Self {
        let (order, requested) = (OnceLock::new(), CancellationToken::new());
        let (claimed, slot) = (OnceLock::new(), Mutex::new(None));
        Self { run_id, published_at, order, requested, claimed, slot, ended: Mutex::new(false) }
    }

    /// Asks the run to stop. The first order stays; returns `Some(false)` if there was one, and
    /// `None` if the run has ended.
    pub fn request_stop(&self, order: StopOrder) -> Option<bool> {
        let has_ended = self.ended.lock();
        if *has_ended {
            return None;
        }
        let is_first = self.order.set(order).is_ok();
        self.requested.cancel();
        Some(is_first)
    }

    /// Notes that the journal has the run as ours: under a tenure, with this claim.
    pub(super) fn claim(&self, tenure: &Arc<Tenure>, claim: Uuid) {
        self.claimed.get_or_init(|| (Arc::clone(tenure), claim));
    }

    /// Whether a claim is this run's, or may become it.
    pub(super) fn may_have(&self, claim: Uuid) -> bool {
        self.claimed.get().is_none_or(|(_, ours)| *ours == claim)
    }

    /// Keeps a slot for the run, if there is one.
    pub(super) fn occupy(&self, slot: Option<Slot>) {
        *self.slot.lock() = slot;
    }

    /// Whether the run is to show that the worker can work.
    pub(super) fn is_trial(&self) -> bool {
        self.slot.lock().as_ref().is_some_and(Slot::is_trial)
    }

    /// Frees the run's slot, although events about the run may still follow. Otherwise the end of
    /// the run frees it.
    pub(super) fn free_slot(&self) {
        self.slot.lock().take();
    }

    /// Whether it is proved that the run is still ours, so no other worker can have taken it over.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.claimed.get().is_some_and(|(tenure, _)| tenure.is_proven())
    }

    /// Notes that the journal has the run's end, or that the run waits for a retry. Later orders
    /// come too late, although the run's last traces are still being removed.
    pub fn end(&self) {
        *self.ended.lock() = true;
    }

    /// Whether the journal has the run's end, or that it waits for a retry.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        *self.ended.lock()
    }

    /// The order to stop, if there is one.
    #[must_use]
    pub fn stop_order(&self) -> Option<&StopOrder> {
        self.order.get()
    }

    /// Waits for an order to stop.
    pub async fn stop_requested(&self) -> &StopOrder {
        loop {
            self.requested.cancelled().await;
            if let Some(order) = self.order.get() {
                return order;
            }
        }
    }
}

/// Every run that this worker has taken.
#[derive(Debug, Default)]
pub(super) struct ActiveRuns {
    by_job: Mutex<HashMap<JobId, Arc<ActiveRun>>>,
}

/// Removes the run from the list when it is dropped, on every path, and frees its slot.
#[derive(Debug)]
pub(super) struct ActiveGuard {
    runs: Arc<ActiveRuns>,
    id: JobId,
    /// The run.
    pub run: Arc<ActiveRun>,
}

impl Drop for ActiveGuard {
    fn drop(&mut self) {
        self.run.free_slot();
        self.runs.by_job.lock().remove(&self.id);
    }
}

impl ActiveRuns {
    /// Takes a job. Returns the run that already has it, if there is one.
    pub(super) fn begin(
        self: &Arc<Self>,
        id: &JobId,
        run_id: &RunId,
        published_at: Option<Timestamp>,
    ) -> Result<ActiveGuard, Arc<ActiveRun>> {
        let mut by_job = self.by_job.lock();
        if let Some(active) = by_job.get(id) {
            return Err(Arc::clone(active));
        }
        let run = Arc::new(ActiveRun::new(run_id.clone(), published_at));
        by_job.insert(id.clone(), Arc::clone(&run));
        drop(by_job);
        Ok(ActiveGuard { runs: Arc::clone(self), id: id.clone(), run })
    }

    /// The active run of a job.
    pub(super) fn get(&self, id: &JobId) -> Option<Arc<ActiveRun>> {
        self.by_job.lock().get(id).cloned()
    }

    /// Whether a job is active here: from the moment when its start is handled until its run is
    /// completely removed. Only this list answers that; the state of a container says less.
    pub(super) fn has(&self, id: &JobId) -> bool {
        self.by_job.lock().contains_key(id)
    }

    /// Whether an entry of a segment's index is that of a job's active run. An earlier claim of the job leaves
    /// an entry of its own where the worker could not take it back.
    pub(super) fn covers(&self, entry: &IndexEntry) -> bool {
        self.get(&entry.job).is_some_and(|run| run.may_have(entry.claim))
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.by_job.lock().len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(reason: &str) -> StopOrder {
        StopOrder { reason: Some(reason.to_owned()), timeout: Duration::from_secs(1) }
    }

    /// compat.md 2: a start without a mark gave two bots.
    #[test]
    fn compat_2_a_job_is_taken_once_at_a_time() {
        let runs = Arc::new(ActiveRuns::default());
        let (id, run): (JobId, RunId) = ("a".parse().unwrap(), "r".parse().unwrap());
        let guard = runs.begin(&id, &run, None).unwrap();
        assert_eq!(runs.begin(&id, &run, None).unwrap_err().run_id, run);
        drop(guard);
        assert!(runs.begin(&id, &run, None).is_ok());
    }

    #[tokio::test]
    async fn the_first_order_to_stop_stays() {
        let run = ActiveRun::new("r".parse().unwrap(), None);
        assert_eq!(run.request_stop(order("first")), Some(true));
        assert_eq!(run.request_stop(order("second")), Some(false));
        assert_eq!(run.stop_requested().await, &order("first"));
    }

    #[test]
    fn an_order_to_a_run_that_has_ended_comes_too_late() {
        let run = ActiveRun::new("r".parse().unwrap(), None);
        run.end();
        assert_eq!(run.request_stop(order("late")), None);
        assert_eq!(run.stop_order(), None);
    }
}
