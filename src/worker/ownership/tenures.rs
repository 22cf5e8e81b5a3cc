//! Every tenure of this worker, and at which of its segments it is at home.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::watch;

use super::tenure::Tenure;
use crate::storage::JobRecord;

/// Every tenure of this worker: at home, where new jobs go, and what it has taken over from others.
#[derive(Debug)]
pub(in crate::worker) struct Tenures {
    by_segment: Mutex<BTreeMap<u32, Arc<Tenure>>>,
    home: watch::Sender<Option<Arc<Tenure>>>,
    ownership: watch::Sender<Option<(u32, bool)>>,
}

impl Default for Tenures {
    fn default() -> Self {
        Self {
            by_segment: Mutex::default(),
            home: watch::Sender::new(None),
            ownership: watch::Sender::new(None),
        }
    }
}

impl Tenures {
    /// Adds a tenure.
    pub(in crate::worker) fn add(&self, tenure: &Arc<Tenure>) {
        self.by_segment.lock().insert(tenure.segment, Arc::clone(tenure));
    }

    /// Takes a tenure out, and ends it.
    pub(in crate::worker) fn remove(&self, tenure: &Arc<Tenure>) {
        let mut by_segment = self.by_segment.lock();
        if by_segment.get(&tenure.segment).is_some_and(|ours| ours.epoch == tenure.epoch) {
            by_segment.remove(&tenure.segment);
        }
        drop(by_segment);
        self.home.send_if_modified(|home| {
            let is_home = home.as_ref().is_some_and(|home| Arc::ptr_eq(home, tenure));
            if is_home {
                *home = None;
                self.ownership.send_replace(None);
            }
            is_home
        });
        tenure.end();
    }

    /// Makes a tenure the one that new jobs go to.
    pub(in crate::worker) fn settle_at(&self, tenure: &Arc<Tenure>) {
        self.home.send_replace(Some(Arc::clone(tenure)));
        self.ownership.send_replace(Some((tenure.segment, true)));
    }

    /// Notes whether a segment of ours is held right now.
    pub(in crate::worker) fn show(&self, tenure: &Tenure, is_held: bool) {
        if self.home_now().is_some_and(|home| home.segment == tenure.segment) {
            self.ownership.send_replace(Some((tenure.segment, is_held)));
        }
    }

    /// Follows which segment new jobs go to, and whether it is held.
    pub(in crate::worker) fn watch_ownership(&self) -> watch::Receiver<Option<(u32, bool)>> {
        self.ownership.subscribe()
    }

    /// The segment that new jobs go to; waits while there is none.
    pub(in crate::worker) async fn home(&self) -> Arc<Tenure> {
        let mut home = self.home.subscribe();
        loop {
            if let Ok(found) = home.wait_for(Option::is_some).await
                && let Some(tenure) = found.as_ref()
            {
                return Arc::clone(tenure);
            }
        }
    }

    /// The segment that new jobs go to, where there is one right now.
    pub(in crate::worker) fn home_now(&self) -> Option<Arc<Tenure>> {
        self.home.borrow().clone()
    }

    /// The tenure of a segment, where it is ours.
    pub(in crate::worker) fn of(&self, segment: u32) -> Option<Arc<Tenure>> {
        self.by_segment.lock().get(&segment).cloned()
    }

    /// Whether a record is under a tenure of ours, or was under one of the owners before us. A later
    /// owner's is not, although we may not have noticed yet that there is one.
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
        let new = |segment, epoch| Arc::new(Tenure::new(segment, epoch, Asked::now(), None));
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
