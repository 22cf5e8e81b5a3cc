//! Every tenure of this worker, and which of its segments is its home.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use super::tenure::Tenure;
use crate::storage::JobRecord;

/// Every tenure of this worker: its home, for new jobs, and those that it has taken over.
#[derive(Debug)]
pub(in crate::worker) struct Tenures {
    by_segment: Mutex<BTreeMap<u32, Arc<Tenure>>>,
    home: Mutex<Option<Arc<Tenure>>>,
    /// Told when there is a home. Waiters hear of it in their order, so that a simulation can be replayed.
    settled: Notify,
    /// Segments of others that we sent a message to.
    written_to: Mutex<BTreeSet<u32>>,
    ownership: watch::Sender<Option<(u32, bool)>>,
}

impl Default for Tenures {
    fn default() -> Self {
        Self {
            by_segment: Mutex::default(),
            home: Mutex::default(),
            settled: Notify::new(),
            written_to: Mutex::default(),
            ownership: watch::Sender::new(None),
        }
    }
}

impl Tenures {
    /// Adds a tenure.
    pub(in crate::worker) fn add(&self, tenure: &Arc<Tenure>) {
        self.by_segment.lock().insert(tenure.segment, Arc::clone(tenure));
    }

    /// Removes a tenure, and ends it.
    pub(in crate::worker) fn remove(&self, tenure: &Arc<Tenure>) {
        let mut by_segment = self.by_segment.lock();
        if by_segment.get(&tenure.segment).is_some_and(|ours| ours.epoch == tenure.epoch) {
            by_segment.remove(&tenure.segment);
        }
        drop(by_segment);
        let was_home = self.home.lock().take_if(|home| Arc::ptr_eq(home, tenure)).is_some();
        if was_home {
            self.ownership.send_replace(None);
        }
        tenure.end();
    }

    /// Makes a tenure the home for new jobs.
    pub(in crate::worker) fn settle_at(&self, tenure: &Arc<Tenure>) {
        *self.home.lock() = Some(Arc::clone(tenure));
        self.ownership.send_replace(Some((tenure.segment, true)));
        self.settled.notify_waiters();
    }

    /// Notes whether a segment of ours is held now.
    pub(in crate::worker) fn show(&self, tenure: &Tenure, is_held: bool) {
        if self.home_now().is_some_and(|home| home.segment == tenure.segment) {
            self.ownership.send_replace(Some((tenure.segment, is_held)));
        }
    }

    /// Follows which segment gets new jobs, and whether it is held.
    pub(in crate::worker) fn watch_ownership(&self) -> watch::Receiver<Option<(u32, bool)>> {
        self.ownership.subscribe()
    }

    /// Notes that a message is in the mailbox of another's segment, which may have no owner by now.
    pub(in crate::worker) fn wrote_to(&self, segment: u32) {
        self.written_to.lock().insert(segment);
    }

    /// The segments of others that we sent a message to since this was asked last.
    pub(in crate::worker) fn take_written_to(&self) -> BTreeSet<u32> {
        std::mem::take(&mut *self.written_to.lock())
    }

    /// The segment for new jobs. Waits while there is none.
    pub(in crate::worker) async fn home(&self) -> Arc<Tenure> {
        loop {
            let settled = self.settled.notified();
            if let Some(home) = self.home_now() {
                return home;
            }
            settled.await;
        }
    }

    /// The segment for new jobs, if there is one now.
    pub(in crate::worker) fn home_now(&self) -> Option<Arc<Tenure>> {
        self.home.lock().clone()
    }

    /// The tenure of a segment, if it is ours.
    pub(in crate::worker) fn of(&self, segment: u32) -> Option<Arc<Tenure>> {
        self.by_segment.lock().get(&segment).cloned()
    }

    /// Whether a record belongs to a tenure of ours, or to an owner before us. The record of a
    /// later owner does not, even if we have not noticed that owner yet.
    pub(in crate::worker) fn have(&self, record: &JobRecord) -> bool {
        self.of(record.segment).is_some_and(|tenure| record.epoch <= tenure.epoch)
    }

    /// All of them, by segment.
    pub(in crate::worker) fn all(&self) -> Vec<Arc<Tenure>> {
        self.by_segment.lock().values().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worker::ownership::tenure::Asked;

    #[tokio::test]
    async fn home_goes_with_its_tenure_and_no_other() {
        let tenures = Tenures::default();
        let new = |segment, epoch| Arc::new(Tenure::new(segment, epoch, Asked::now(None), None));
        let (home, other) = (new(0, 1), new(1, 7));
        tenures.add(&home);
        tenures.add(&other);
        tenures.settle_at(&home);
        tenures.remove(&other);
        assert_eq!(tenures.home().await.segment, 0);
        assert!(tenures.of(1).is_none() && other.over().is_cancelled());
        tenures.remove(&home);
        assert!(tenures.home_now().is_none() && tenures.all().is_empty());
    }
}
