//! Tenures: the segments that this worker owns, each for as long as it can show that it does.
//!
//! A tenure is proven by a round trip to the broker that shows the segment's lock to be ours. Leases
//! are renewed, and containers started, on a fresh proof alone. A tenure that somebody else has taken
//! over is over for good: whatever ran under it lets go and touches nothing any more.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::mark::Mark;
use crate::runner::Uptime;
use crate::storage::JobRecord;

/// Between two proofs.
pub(in crate::worker) const BEAT: Duration = Duration::from_secs(2);

/// A round trip that took longer proves nothing, for leases count from its answer.
pub(in crate::worker) const PROOF_TIMEOUT: Duration = Duration::from_secs(1);

/// A proof older than this starts no container: a beat may be missed.
const FRESH: Duration = Duration::from_secs(6);

/// The tenure is over: the segment is somebody else's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the segment is another worker's now")]
pub(in crate::worker) struct Over;

/// When a proof was asked for: by our own clock, and in the time of the kernel, which containers read too.
#[derive(Debug, Clone, Copy)]
pub(in crate::worker) struct Asked {
    at: Instant,
    uptime: Option<Uptime>,
}

impl Asked {
    /// Now.
    pub(in crate::worker) fn now() -> Self {
        Self { at: Instant::now(), uptime: Uptime::now() }
    }

    /// In the time of the kernel.
    pub(in crate::worker) fn uptime(self) -> Option<Uptime> {
        self.uptime
    }
}

/// One segment, owned by this worker.
#[derive(Debug)]
pub(in crate::worker) struct Tenure {
    /// Which segment.
    pub segment: u32,
    /// The number of this ownership; no other one has it.
    pub epoch: u64,
    proven_at: watch::Sender<Asked>,
    over: CancellationToken,
    resigned: CancellationToken,
    settled_in: AtomicBool,
    stamps: AtomicU64,
    /// Says to the other processes of this host that this one lives.
    mark: Mutex<Option<Mark>>,
}

impl Tenure {
    /// A tenure that a proof which was asked for at `asked` has shown to be ours.
    pub(in crate::worker) fn new(
        segment: u32,
        epoch: u64,
        asked: Asked,
        mark: Option<Mark>,
    ) -> Self {
        Self {
            segment,
            epoch,
            proven_at: watch::Sender::new(asked),
            over: CancellationToken::new(),
            resigned: CancellationToken::new(),
            settled_in: AtomicBool::new(false),
            stamps: AtomicU64::new(0),
            mark: Mutex::new(mark),
        }
    }

    /// Notes that a round trip which began at `asked` has shown the segment to be ours.
    pub(in crate::worker) fn prove(&self, asked: Asked) {
        self.proven_at.send_replace(asked);
    }

    /// When the last proof was asked for, in the time of the kernel.
    pub(in crate::worker) fn proven_at(&self) -> Option<Uptime> {
        self.proven_at.borrow().uptime
    }

    /// Whether there is a fresh proof.
    pub(in crate::worker) fn is_proven(&self) -> bool {
        !self.over.is_cancelled() && is_fresh(*self.proven_at.borrow())
    }

    /// Waits for a fresh proof.
    pub(in crate::worker) async fn proven(&self) -> Result<(), Over> {
        let mut proven_at = self.proven_at.subscribe();
        tokio::select! {
            biased;
            () = self.over.cancelled() => Err(Over),
            proven = proven_at.wait_for(|at| is_fresh(*at)) => proven.map(drop).map_err(|_| Over),
        }
    }

    /// Whether the other processes of this host can tell that this one lives.
    pub(in crate::worker) fn has_mark(&self) -> bool {
        self.mark.lock().is_some()
    }

    /// Keeps the mark until the tenure is over.
    pub(in crate::worker) fn keep_mark(&self, mark: Option<Mark>) {
        if !self.over.is_cancelled() {
            *self.mark.lock() = mark;
        }
    }

    /// What the next lease is stamped with.
    pub(in crate::worker) fn next_stamp(&self) -> String {
        format!("{}.{}", self.epoch, self.stamps.fetch_add(1, Ordering::Relaxed))
    }

    /// Notes that what the last owner left has been taken up.
    pub(in crate::worker) fn settle_in(&self) {
        self.settled_in.store(true, Ordering::Release);
    }

    /// Whether what the last owner left has been taken up.
    pub(in crate::worker) fn is_settled_in(&self) -> bool {
        self.settled_in.load(Ordering::Acquire)
    }

    /// Asks whoever holds the segment to let go of it.
    pub(in crate::worker) fn resign(&self) {
        self.resigned.cancel();
    }

    /// Cancelled when the segment is to be let go.
    pub(in crate::worker) fn resigned(&self) -> &CancellationToken {
        &self.resigned
    }

    /// Ends the tenure, and frees the mark that this process lives.
    pub(in crate::worker) fn end(&self) {
        self.over.cancel();
        self.mark.lock().take();
    }

    /// Cancelled when the tenure is over.
    pub(in crate::worker) fn over(&self) -> &CancellationToken {
        &self.over
    }
}

fn is_fresh(proven: Asked) -> bool {
    proven.at.elapsed() < FRESH
}

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
    use crate::runner::FIRST_IS_SHORTER_BY;

    #[tokio::test(start_paused = true)]
    async fn a_proof_gets_stale_and_comes_back() {
        let tenure = Tenure::new(0, 1, Asked::now(), None);
        assert!(tenure.is_proven());
        tokio::time::advance(FRESH).await;
        assert!(!tenure.is_proven());
        tenure.prove(Asked::now());
        assert_eq!(tenure.proven().await, Ok(()));
        tenure.end();
        assert!(!tenure.is_proven());
        assert_eq!(tenure.proven().await, Err(Over));
    }

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

    #[test]
    fn the_first_lease_ends_a_bot_no_later_after_its_proof_than_those_that_follow() {
        // Every lease but the first is seen by the entry script's next look.
        let look = Duration::from_secs(2);
        assert_eq!(FRESH, FIRST_IS_SHORTER_BY + PROOF_TIMEOUT + look);
    }

    #[test]
    fn no_two_stamps_are_the_same() {
        let tenure = Tenure::new(0, 3, Asked::now(), None);
        assert_ne!(tenure.next_stamp(), tenure.next_stamp());
    }
}
