//! A tenure: a segment that this worker owns, while it can prove it.
//!
//! The proof is a round trip to the broker that shows that the segment's lock is ours. Leases are
//! renewed, and containers started, only on a fresh proof. A tenure that another worker has taken
//! over is over for good: its tasks stop and touch nothing any more.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::machine::Mark;
use crate::runner::Uptime;

/// The pause between two proofs.
pub(in crate::worker) const BEAT: Duration = Duration::from_secs(2);

/// A round trip that took longer proves nothing, because leases count from its answer.
pub(in crate::worker) const PROOF_TIMEOUT: Duration = Duration::from_secs(1);

/// A proof older than this starts no container. One beat may be missed.
const FRESH: Duration = Duration::from_secs(6);

/// The tenure is over: the segment belongs to another worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the segment is another worker's now")]
pub(in crate::worker) struct Over;

/// When a proof was requested: by our own clock, and in the kernel's time, which containers also
/// read.
#[derive(Debug, Clone, Copy)]
pub(in crate::worker) struct Asked {
    at: Instant,
    uptime: Option<Uptime>,
}

impl Asked {
    /// Now, which is `uptime` in the time of the kernel.
    pub(in crate::worker) fn now(uptime: Option<Uptime>) -> Self {
        Self { at: Instant::now(), uptime }
    }

    /// In the time of the kernel.
    pub(in crate::worker) fn uptime(self) -> Option<Uptime> {
        self.uptime
    }
}

/// What may have changed in the index of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::worker) enum Change {
    /// A run has left it.
    Ended,
    /// Something stays there that nobody works on.
    Unfinished,
}

/// What has changed in the index of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::worker) struct Changes {
    /// A run has left it.
    pub has_ended: bool,
    /// Something stays there that nobody works on.
    pub is_unfinished: bool,
}

/// One segment, owned by this worker.
#[derive(Debug)]
pub(in crate::worker) struct Tenure {
    /// Which segment.
    pub segment: u32,
    /// The number of this ownership; it is unique.
    pub epoch: u64,
    proven_at: Mutex<Asked>,
    /// Told at each proof. Waiters hear of it in their order, so that a simulation can be replayed.
    proofs: Notify,
    over: CancellationToken,
    resigned: CancellationToken,
    settled_in: AtomicBool,
    stamps: AtomicU64,
    has_ended: AtomicBool,
    is_unfinished: AtomicBool,
    /// Shows to other processes of this host that this one is alive.
    mark: Mutex<Option<Box<dyn Mark>>>,
}

impl Tenure {
    /// A tenure with a first proof, requested at `asked`.
    pub(in crate::worker) fn new(
        segment: u32,
        epoch: u64,
        asked: Asked,
        mark: Option<Box<dyn Mark>>,
    ) -> Self {
        Self {
            segment,
            epoch,
            proven_at: Mutex::new(asked),
            proofs: Notify::new(),
            over: CancellationToken::new(),
            resigned: CancellationToken::new(),
            settled_in: AtomicBool::new(false),
            stamps: AtomicU64::new(0),
            has_ended: AtomicBool::new(false),
            is_unfinished: AtomicBool::new(false),
            mark: Mutex::new(mark),
        }
    }

    /// Notes that a round trip that began at `asked` has proved the segment to be ours.
    pub(in crate::worker) fn prove(&self, asked: Asked) {
        *self.proven_at.lock() = asked;
        self.proofs.notify_waiters();
    }

    /// When the last proof was requested, in the kernel's time.
    pub(in crate::worker) fn proven_at(&self) -> Option<Uptime> {
        self.proven_at.lock().uptime
    }

    /// How old the last proof is.
    pub(in crate::worker) fn proof_age(&self) -> Duration {
        self.proven_at.lock().at.elapsed()
    }

    /// Whether there is a fresh proof.
    pub(in crate::worker) fn is_proven(&self) -> bool {
        !self.over.is_cancelled() && is_fresh(*self.proven_at.lock())
    }

    /// Waits for a fresh proof.
    pub(in crate::worker) async fn proven(&self) -> Result<(), Over> {
        loop {
            let proof = self.proofs.notified();
            if self.over.is_cancelled() {
                return Err(Over);
            }
            if self.is_proven() {
                return Ok(());
            }
            tokio::select! {
                biased;
                () = self.over.cancelled() => {}
                () = proof => {}
            }
        }
    }

    /// Whether other processes of this host can see that this one is alive.
    pub(in crate::worker) fn has_mark(&self) -> bool {
        self.mark.lock().is_some()
    }

    /// Keeps the mark until the tenure is over.
    pub(in crate::worker) fn keep_mark(&self, mark: Option<Box<dyn Mark>>) {
        if !self.over.is_cancelled() {
            *self.mark.lock() = mark;
        }
    }

    /// The stamp of the next lease.
    pub(in crate::worker) fn next_stamp(&self) -> String {
        format!("{}.{}", self.epoch, self.stamps.fetch_add(1, Ordering::Relaxed))
    }

    /// Notes that everything that the last owner left has been adopted.
    pub(in crate::worker) fn settle_in(&self) {
        self.settled_in.store(true, Ordering::Release);
    }

    /// Whether everything that the last owner left has been adopted.
    pub(in crate::worker) fn is_settled_in(&self) -> bool {
        self.settled_in.load(Ordering::Acquire)
    }

    /// Notes a change, for whoever looks after the segment.
    pub(in crate::worker) fn note(&self, change: Change) {
        let flag = match change {
            Change::Ended => &self.has_ended,
            Change::Unfinished => &self.is_unfinished,
        };
        flag.store(true, Ordering::Release);
    }

    /// What was noted since the last call.
    pub(in crate::worker) fn take_changes(&self) -> Changes {
        Changes {
            has_ended: self.has_ended.swap(false, Ordering::AcqRel),
            is_unfinished: self.is_unfinished.swap(false, Ordering::AcqRel),
        }
    }

    /// Asks the task that holds the segment to release it.
    pub(in crate::worker) fn resign(&self) {
        self.resigned.cancel();
    }

    /// Cancelled when the segment must be released.
    pub(in crate::worker) fn resigned(&self) -> &CancellationToken {
        &self.resigned
    }

    /// Ends the tenure, and frees the mark.
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
        let tenure = Tenure::new(0, 1, Asked::now(None), None);
        assert!(tenure.is_proven());
        tokio::time::advance(FRESH).await;
        assert!(!tenure.is_proven());
        tenure.prove(Asked::now(None));
        assert_eq!(tenure.proven().await, Ok(()));
        tenure.end();
        assert!(!tenure.is_proven());
        assert_eq!(tenure.proven().await, Err(Over));
    }

    #[test]
    fn the_first_lease_ends_a_bot_no_later_after_its_proof_than_those_that_follow() {
        // The helper sees every lease, except the first, at its next check.
        let look = Duration::from_secs(2);
        assert_eq!(FRESH, FIRST_IS_SHORTER_BY + PROOF_TIMEOUT + look);
    }

    #[test]
    fn no_two_stamps_are_the_same() {
        let tenure = Tenure::new(0, 3, Asked::now(None), None);
        assert_ne!(tenure.next_stamp(), tenure.next_stamp());
    }
}
