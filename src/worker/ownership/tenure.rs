//! A tenure: a segment that this worker owns, for as long as it can show that it does.
//!
//! A tenure is proven by a round trip to the broker that shows the segment's lock to be ours. Leases
//! are renewed, and containers started, on a fresh proof alone. A tenure that somebody else has taken
//! over is over for good: whatever ran under it lets go and touches nothing any more.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::mark::Mark;
use crate::runner::Uptime;

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
