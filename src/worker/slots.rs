//! Slots: how many runs of each kind there may be at a time.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The two limits of a worker.
#[derive(Debug, Clone)]
pub(super) struct Slots {
    terminating: Arc<Semaphore>,
    long_running: Arc<Semaphore>,
}

/// One slot, free again when dropped.
#[derive(Debug)]
pub(super) struct Slot {
    _permit: OwnedSemaphorePermit,
}

impl Slots {
    /// So many terminating runs and so many long-running jobs.
    #[must_use]
    pub(super) fn new(terminating: usize, long_running: usize) -> Self {
        Self {
            terminating: Arc::new(Semaphore::new(terminating)),
            long_running: Arc::new(Semaphore::new(long_running)),
        }
    }

    fn of(&self, long_running: bool) -> &Arc<Semaphore> {
        if long_running { &self.long_running } else { &self.terminating }
    }

    /// Waits for a free slot of a kind. `None` is never given while the worker lives.
    pub(super) async fn take(&self, long_running: bool) -> Option<Slot> {
        let permit = Arc::clone(self.of(long_running)).acquire_owned().await.ok()?;
        Some(Slot { _permit: permit })
    }

    /// A slot of a kind where one is free right now.
    #[must_use]
    pub(super) fn try_take(&self, long_running: bool) -> Option<Slot> {
        let permit = Arc::clone(self.of(long_running)).try_acquire_owned().ok()?;
        Some(Slot { _permit: permit })
    }
}
