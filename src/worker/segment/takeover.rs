//! When a segment may be taken over, and in which order a worker looks at the segments of others.
//! Pure.
//!
//! At the same place, a dead worker's containers are adopted as they are, at once. Elsewhere they
//! cannot be reached, so its bots must have ended themselves first.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;

use crate::storage::{ETag, OwnerRecord};

/// How long to wait beyond a lease. If a lease counts from its proof, its bot is killed at most 1 s
/// after the lease's end, which leaves 5 s for clocks and a busy host. If it counts from when it is
/// seen, the round trip of the proof (1 s) and the helper's check of the lease (2 s) come on
/// top, which leaves 2 s. The first lease is shorter by the possible age of the proof on which a
/// bot starts.
const LEASE_MARGIN: Duration = Duration::from_secs(6);

/// How long a cleanly released segment is left to a worker that comes back for it.
const COURTESY: Duration = Duration::from_secs(10);

/// How much longer a worker without a free slot waits: others may have room for the jobs.
const FULL: Duration = Duration::from_secs(8);

/// Who asks for a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Taker {
    /// A worker that needs a segment of its own.
    Newcomer,
    /// A worker with free slots.
    HasRoom,
    /// A worker whose slots of a kind are all taken.
    Full,
}

/// Whether a free segment may be taken over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Takeover {
    /// Now: its containers are within our reach, or have ended.
    Now,
    /// Not yet.
    Wait,
}

/// Decides on a segment whose lock has been free for `free_for`. `is_dead`: it was at our place,
/// and its owner's process is dead.
pub(super) fn takeover(
    owner: &OwnerRecord,
    is_dead: bool,
    free_for: Duration,
    taker: Taker,
) -> Takeover {
    let wait = if is_dead {
        let is_left_in_order = owner.released_at.is_some();
        if is_left_in_order && taker != Taker::Newcomer { COURTESY } else { Duration::ZERO }
    } else {
        // Its jobs must be started again.
        let more = if taker == Taker::Full { FULL } else { Duration::ZERO };
        Duration::from_secs(owner.lease_seconds) + LEASE_MARGIN + more
    };
    if free_for >= wait { Takeover::Now } else { Takeover::Wait }
}

/// The order in which to look at segments: the `known` ones that are not `ours`, from the next one
/// after `home` on, and then from the first.
pub(super) fn in_order(known: &BTreeSet<u32>, ours: &BTreeSet<u32>, home: u32) -> Vec<u32> {
    let (before, after): (Vec<u32>, Vec<u32>) = known
        .iter()
        .filter(|segment| !ours.contains(segment))
        .partition(|segment| **segment < home);
    after.into_iter().chain(before).collect()
}

/// How long each segment has been free: since when, and with which version of the owner's record.
/// An owner that comes back between two looks writes a new version before it renews a lease,
/// however long nobody could look.
#[derive(Default)]
pub(super) struct Free {
    since: BTreeMap<u32, (Instant, Option<ETag>)>,
}

impl Free {
    /// Notes that a segment is held.
    pub(super) fn held(&mut self, segment: u32) {
        self.since.remove(&segment);
    }

    /// How long a segment has been free; `None` if that is not known, or if its owner was back
    /// since.
    pub(super) fn time(&self, segment: u32, owner: Option<&ETag>) -> Option<Duration> {
        let noted = self.since.get(&segment).filter(|(_, seen)| seen.as_ref() == owner);
        noted.map(|(begin, _)| begin.elapsed())
    }

    /// Notes that a segment was found free, after its owner's record had been read.
    pub(super) fn begin(&mut self, segment: u32, owner: Option<&ETag>) {
        self.since.insert(segment, (Instant::now(), owner.cloned()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::Place;

    fn owner(released: bool) -> OwnerRecord {
        OwnerRecord {
            segment: 1,
            epoch: 4,
            worker: "w".to_owned(),
            place: Place {
                host: "h".to_owned(),
                engine: "e".to_owned(),
                temp_dir: "/t".to_owned(),
            },
            claimed_at: jiff::Timestamp::UNIX_EPOCH,
            lease_seconds: 15,
            regained_at: None,
            released_at: released.then_some(jiff::Timestamp::UNIX_EPOCH),
        }
    }

    #[test]
    fn a_dead_neighbours_segment_is_taken_at_once_and_any_other_after_its_lease() {
        use Takeover::{Now, Wait};
        use Taker::{Full, HasRoom, Newcomer};
        for (released, is_dead, seconds, taker, expected) in [
            (false, true, 0, HasRoom, Now),
            (false, true, 0, Full, Now),
            (true, true, 0, HasRoom, Wait),
            (true, true, 10, HasRoom, Now),
            (true, true, 0, Newcomer, Now),
            (false, false, 0, Newcomer, Wait),
            (false, false, 20, HasRoom, Wait),
            (false, false, 21, HasRoom, Now),
            (false, false, 21, Full, Wait),
            (false, false, 28, Full, Wait),
            (false, false, 29, Full, Now),
            (true, false, 20, Newcomer, Wait),
        ] {
            let free_for = Duration::from_secs(seconds);
            let decided = takeover(&owner(released), is_dead, free_for, taker);
            assert_eq!(decided, expected, "{released} {is_dead} {seconds} {taker:?}");
        }
    }

    #[test]
    fn each_worker_looks_at_its_next_neighbours_first() {
        let known = BTreeSet::from([0, 1, 2, 5, 7, 9]);
        assert_eq!(in_order(&known, &BTreeSet::from([2]), 2), [5, 7, 9, 0, 1]);
        assert_eq!(in_order(&known, &BTreeSet::from([7, 9]), 7), [0, 1, 2, 5]);
        assert_eq!(in_order(&known, &BTreeSet::from([0, 1, 2, 5, 7]), 7), [9]);
        assert!(in_order(&BTreeSet::from([3]), &BTreeSet::from([3]), 3).is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn the_free_time_starts_again_when_the_owner_was_back_and_not_when_nobody_could_look() {
        let mut free = Free::default();
        let (owner, regained) = (ETag("1".to_owned()), ETag("2".to_owned()));
        let second = Duration::from_secs(1);
        assert_eq!(free.time(1, Some(&owner)), None);
        free.begin(1, Some(&owner));
        tokio::time::advance(second * 2).await;
        assert_eq!(free.time(1, Some(&owner)), Some(second * 2));
        tokio::time::advance(second * 60).await;
        assert_eq!(free.time(1, Some(&owner)), Some(second * 62), "nobody looked meanwhile");
        assert_eq!(free.time(1, Some(&regained)), None, "its owner was there between two looks");
        free.begin(1, Some(&regained));
        tokio::time::advance(second).await;
        assert_eq!(free.time(1, Some(&regained)), Some(second));
        free.held(1);
        assert_eq!(free.time(1, Some(&regained)), None, "it was held");
    }
}
