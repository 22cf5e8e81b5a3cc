//! Slots: how many runs of each kind there may be at a time.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::gate::Pass;

/// The two limits of a worker.
#[derive(Debug, Clone)]
pub(super) struct Slots {
    terminating: Kind,
    long_running: Kind,
}

/// The slots of a kind.
#[derive(Debug, Clone)]
struct Kind {
    all: usize,
    free: Arc<Semaphore>,
    /// How many are taken for a job that has not come yet.
    waiting: Arc<AtomicUsize>,
}

impl Kind {
    fn new(count: usize) -> Self {
        Self { all: count, free: Arc::new(Semaphore::new(count)), waiting: Arc::default() }
    }
}

/// One slot, free again when dropped.
#[derive(Debug)]
pub(super) struct Slot {
    _permit: OwnedSemaphorePermit,
    pass: Option<Pass>,
    _waits: Option<Waits>,
}

/// Counts a slot as waiting until it is dropped.
#[derive(Debug)]
struct Waits(Arc<AtomicUsize>);

impl Waits {
    fn among(waiting: &Arc<AtomicUsize>) -> Self {
        waiting.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(waiting))
    }
}

impl Drop for Waits {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Slot {
    /// The slot, for the job that the gate lets through.
    pub(super) fn with(self, pass: Pass) -> Self {
        Self { pass: Some(pass), ..self }
    }

    /// The slot, now that its job is there.
    pub(super) fn occupied(self) -> Self {
        Self { _waits: None, ..self }
    }

    /// Whether its job is to show that the worker can work.
    pub(super) fn is_trial(&self) -> bool {
        self.pass.as_ref().is_some_and(Pass::is_trial)
    }
}

impl Slots {
    /// This many terminating runs, and this many long-running jobs.
    #[must_use]
    pub(super) fn new(terminating: usize, long_running: usize) -> Self {
        Self { terminating: Kind::new(terminating), long_running: Kind::new(long_running) }
    }

    fn of(&self, long_running: bool) -> &Kind {
        if long_running { &self.long_running } else { &self.terminating }
    }

    /// Waits for a free slot of a kind, for a job that is still to come. It never returns `None`
    /// while the worker lives.
    pub(super) async fn take(&self, long_running: bool) -> Option<Slot> {
        let kind = self.of(long_running);
        let permit = Arc::clone(&kind.free).acquire_owned().await.ok()?;
        Some(Slot { _permit: permit, pass: None, _waits: Some(Waits::among(&kind.waiting)) })
    }

    /// A slot of a kind, if one is free now.
    #[must_use]
    pub(super) fn try_take(&self, long_running: bool) -> Option<Slot> {
        let permit = Arc::clone(&self.of(long_running).free).try_acquire_owned().ok()?;
        Some(Slot { _permit: permit, pass: None, _waits: None })
    }

    /// How many slots of a kind have a job, and how many have none.
    pub(super) fn count(&self, long_running: bool) -> (usize, usize) {
        let kind = self.of(long_running);
        let free = kind.free.available_permits() + kind.waiting.load(Ordering::Relaxed);
        let free = free.min(kind.all);
        (kind.all - free, free)
    }

    /// Whether each kind has a slot without a job.
    #[must_use]
    pub(super) fn have_room(&self) -> bool {
        [&self.terminating, &self.long_running].iter().all(|kind| {
            kind.free.available_permits() > 0 || kind.waiting.load(Ordering::Relaxed) > 0
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_slot_that_waits_for_a_job_is_room_and_one_that_has_a_job_is_not() {
        let slots = Slots::new(1, 2);
        assert!(slots.have_room());
        let waiting = slots.take(false).await.unwrap();
        assert!(slots.try_take(false).is_none());
        assert!(slots.have_room());
        let occupied = waiting.occupied();
        assert!(!slots.have_room());
        assert_eq!([slots.count(false), slots.count(true)], [(1, 0), (0, 2)]);
        drop(occupied);
        assert!(slots.have_room());
    }
}
