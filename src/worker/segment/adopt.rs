//! Which segments a worker takes: one of its own when it starts, and those of dead workers.
//!
//! At the same place a dead worker's containers are taken up as they are, at once. Elsewhere they
//! cannot be reached: its bots have to end themselves first, so they are waited for.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::hold::{self, ClaimError, RETRY};
use super::recover;
use crate::broker::{BrokerError, SegmentLock};
use crate::storage::{ETag, OwnerRecord};
use crate::worker::context::{Context, Tools};
use crate::worker::ownership::mark::Mark;
use crate::worker::ownership::tenure::Tenure;

/// Between two looks at the segments of others.
const LOOK: Duration = Duration::from_secs(1);

/// Between two questions which segments there are.
const LIST: Duration = Duration::from_secs(5);

/// Segments that somebody holds at which one worker looks: those next to its own in the order of numbers.
/// Free ones on the way do not count, so that however many workers die at a time, each survivor waits for
/// all of their segments at once.
const WATCHED: usize = 3;

/// What is waited beyond a lease. Counted from its proof, a bot is killed 1 s after its end at the latest,
/// which leaves 5 s for clocks and a busy host. Where it counts from when it is seen, the round trip of the
/// proof (1 s) and the entry script's look at the lease (2 s) come on top, which leaves 2 s; the first lease is
/// shorter by what the proof that a bot starts on may be older.
const LEASE_MARGIN: Duration = Duration::from_secs(6);

/// How long a segment that was let go in good order is left to the worker that comes back for it.
const COURTESY: Duration = Duration::from_secs(10);

/// Whether a free segment may be taken over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Takeover {
    /// Now: its containers are within our reach, or have ended.
    Now,
    /// Not yet.
    Wait,
}

/// Decides on a segment whose lock has been free for `free_for`. `is_dead`: at our place, and no
/// process of its owner lives. `by_whom_comes`: asked by a worker that needs a segment of its own.
fn takeover(
    owner: &OwnerRecord,
    is_dead: bool,
    free_for: Duration,
    by_whom_comes: bool,
) -> Takeover {
    let wait = if is_dead {
        let is_left_in_order = owner.released_at.is_some();
        if is_left_in_order && !by_whom_comes { COURTESY } else { Duration::ZERO }
    } else {
        Duration::from_secs(owner.lease_seconds) + LEASE_MARGIN
    };
    if free_for >= wait { Takeover::Now } else { Takeover::Wait }
}

/// The order to look at segments in: of the `known` ones that are not `ours` the next after `home`, and
/// on from the first.
fn in_order(known: &BTreeSet<u32>, ours: &BTreeSet<u32>, home: u32) -> Vec<u32> {
    let (before, after): (Vec<u32>, Vec<u32>) = known
        .iter()
        .filter(|segment| !ours.contains(segment))
        .partition(|segment| **segment < home);
    after.into_iter().chain(before).collect()
}

/// How long which segments have been free: since when, and with which version of the owner's record. An
/// owner that comes back between two looks writes another one before it renews a lease, however long
/// nobody could look.
#[derive(Default)]
struct Free {
    since: BTreeMap<u32, (Instant, Option<ETag>)>,
}

impl Free {
    /// Notes that a segment is held.
    fn held(&mut self, segment: u32) {
        self.since.remove(&segment);
    }

    /// For how long a segment has been free; none where that is not known, or its owner was there since.
    fn time(&self, segment: u32, owner: Option<&ETag>) -> Option<Duration> {
        let noted = self.since.get(&segment).filter(|(_, seen)| seen.as_ref() == owner);
        noted.map(|(begin, _)| begin.elapsed())
    }

    /// Notes that a segment was found free, after its owner's record had been read.
    fn begin(&mut self, segment: u32, owner: Option<&ETag>) {
        self.since.insert(segment, (Instant::now(), owner.cloned()));
    }
}

/// What a look at a segment gave.
enum Look {
    /// It is ours now.
    Taken(Arc<Tenure>, SegmentLock),
    /// It is somebody's.
    Held,
    /// It is free, and nothing was left there.
    Empty,
    /// It is free, and its last owner's jobs are not to be touched yet.
    NotYet,
}

/// Looks at a segment and takes it where that may be. One in which nothing was left is taken only
/// by a worker that needs one.
async fn look(
    tools: &Tools,
    segment: u32,
    free: &mut Free,
    needs_one: bool,
) -> Result<Look, ClaimError> {
    if tools.broker.is_locked(segment).await? {
        free.held(segment);
        return Ok(Look::Held);
    }
    let owner = tools.journal.owner(segment).await?;
    let version = owner.as_ref().map(|(_, version)| version);
    let free_for = match free.time(segment, version) {
        Some(free_for) => free_for,
        // Asked once more, now that the record is read: an owner that comes back after this writes another.
        None if tools.broker.is_locked(segment).await? => {
            free.held(segment);
            return Ok(Look::Held);
        }
        None => {
            free.begin(segment, version);
            Duration::ZERO
        }
    };
    let is_empty = tools.journal.segment_index(segment).await?.is_empty();
    if is_empty && !needs_one {
        return Ok(Look::Empty);
    }
    let mark = match &owner {
        // Also where nothing is there yet: an owner that has lost its lock and does not know it may be
        // about to enter a job and start it.
        Some(seen) if !is_empty || seen.0.released_at.is_none() => {
            let (is_dead, mark) = whether_dead(tools, seen);
            if takeover(&seen.0, is_dead, free_for, needs_one) == Takeover::Wait {
                return Ok(Look::NotYet);
            }
            mark
        }
        _ => hold::mark_of(tools, segment),
    };
    Ok(match hold::take(tools, segment, owner, mark).await? {
        Some((tenure, lock)) => Look::Taken(tenure, lock),
        None => Look::Held,
    })
}

/// Whether the owner was at our place and no process of it lives; with the mark that tells so.
fn whether_dead(tools: &Tools, (owner, _): &(OwnerRecord, ETag)) -> (bool, Option<Mark>) {
    if owner.place != tools.place {
        return (false, None);
    }
    let mark = hold::mark_of(tools, owner.segment);
    (mark.is_some(), mark)
}

/// Claims the lowest segment that may be had, and begins it; waits where there is none.
pub(in crate::worker) async fn find_home(ctx: &Arc<Context>) -> Result<Arc<Tenure>, BrokerError> {
    let mut free = Free::default();
    loop {
        for number in 0..ctx.tools.settings.max_segments {
            if ctx.known.tenures.of(number).is_some() {
                continue;
            }
            match look(&ctx.tools, number, &mut free, true).await {
                Ok(Look::Taken(tenure, lock)) => {
                    hold::begin(ctx, &tenure, lock).await?;
                    ctx.known.tenures.settle_at(&tenure);
                    return Ok(tenure);
                }
                Ok(_) => {}
                Err(error) => {
                    tracing::warn!(segment = number, %error, "claim segment");
                    break;
                }
            }
        }
        tracing::warn!(
            max_segments = ctx.tools.settings.max_segments,
            "wait for a segment: none can be had"
        );
        sleep(RETRY).await;
    }
}

/// Finds a segment of our own again whenever ours has been taken over.
pub(in crate::worker) async fn keep_home(ctx: Arc<Context>) {
    loop {
        let home = ctx.known.tenures.home().await;
        home.over().cancelled().await;
        if let Err(error) = find_home(&ctx).await {
            tracing::error!(%error, "claim segment");
            sleep(RETRY).await;
        }
    }
}

/// Takes over the segments of dead workers, and lets go of those in which nothing is left.
pub(in crate::worker) async fn watch_others(ctx: Arc<Context>) {
    let mut free = Free::default();
    let mut known = BTreeSet::new();
    let mut listed: Option<Instant> = None;
    // Free segments in which nothing was left: they stay so until somebody holds them.
    let mut empty = BTreeSet::new();
    loop {
        sleep(LOOK).await;
        let Some(home) = ctx.known.tenures.home_now() else { continue };
        if listed.is_none_or(|at| at.elapsed() >= LIST) {
            match ctx.tools.journal.owned_segments().await {
                Ok(segments) => known = segments.into_iter().collect(),
                Err(error) => tracing::debug!(%error, "list segments"),
            }
            listed = Some(Instant::now());
            look_after_ours(&ctx, &home).await;
            // Somebody may have come and died meanwhile.
            empty.clear();
        }
        let ours = ctx.known.tenures.all().iter().map(|tenure| tenure.segment).collect();
        let candidates = known.difference(&empty).copied().collect();
        let mut held = 0;
        for segment in in_order(&candidates, &ours, home.segment) {
            if held == WATCHED {
                break;
            }
            match look(&ctx.tools, segment, &mut free, false).await {
                Ok(Look::Taken(tenure, lock)) => {
                    tracing::warn!(segment, "take over the segment of a worker that is gone");
                    let ctx = Arc::clone(&ctx);
                    ctx.clone().drain.spawn_holder(async move {
                        if let Err(error) = hold::begin(&ctx, &tenure, lock).await {
                            tracing::error!(segment, %error, "take over segment");
                        }
                    });
                }
                Ok(Look::Empty) => {
                    empty.insert(segment);
                }
                Ok(Look::Held) => held += 1,
                Ok(Look::NotYet) => {}
                Err(error) => {
                    tracing::debug!(segment, %error, "look at segment");
                    break;
                }
            }
        }
    }
}

/// Takes up what has been left in our segments since they were taken, and lets go of those that were
/// taken over and have no jobs any more.
async fn look_after_ours(ctx: &Arc<Context>, home: &Tenure) {
    for tenure in ctx.known.tenures.all().into_iter().filter(|tenure| tenure.is_settled_in()) {
        let segment = tenure.segment;
        if let Err(error) = recover::look_again(ctx, &tenure).await {
            tracing::debug!(segment, %error, "look after segment");
        } else if segment != home.segment
            && matches!(ctx.tools.journal.segment_index(segment).await, Ok(index) if index.is_empty())
        {
            tenure.resign();
        }
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
        for (released, is_dead, seconds, by_whom_comes, expected) in [
            (false, true, 0, false, Now),
            (true, true, 0, false, Wait),
            (true, true, 10, false, Now),
            (true, true, 0, true, Now),
            (false, false, 0, true, Wait),
            (false, false, 20, false, Wait),
            (false, false, 21, false, Now),
            (true, false, 20, true, Wait),
        ] {
            let free_for = Duration::from_secs(seconds);
            let decided = takeover(&owner(released), is_dead, free_for, by_whom_comes);
            assert_eq!(decided, expected, "{released} {is_dead} {seconds} {by_whom_comes}");
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
    async fn the_time_free_begins_anew_when_its_owner_was_there_and_not_when_nobody_could_look() {
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
