//! Which segments a worker takes: one of its own when it starts, and those of dead workers.
//! When it may is decided in [`takeover`](super::takeover).

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::hold::{self, RETRY};
use super::recover;
use super::take::{self, ClaimError};
use super::takeover::{Free, Takeover, in_order, takeover};
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
        _ => take::mark_of(tools, segment),
    };
    Ok(match take::take(tools, segment, owner, mark).await? {
        Some((tenure, lock)) => Look::Taken(tenure, lock),
        None => Look::Held,
    })
}

/// Whether the owner was at our place and no process of it lives; with the mark that tells so.
fn whether_dead(tools: &Tools, (owner, _): &(OwnerRecord, ETag)) -> (bool, Option<Mark>) {
    if owner.place != tools.place {
        return (false, None);
    }
    let mark = take::mark_of(tools, owner.segment);
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
                    tracing::warn!(segment = number, %error, "could not claim a segment");
                    break;
                }
            }
        }
        tracing::warn!(
            max_segments = ctx.tools.settings.max_segments,
            "no segment is free; waiting for one"
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
            tracing::error!(%error, "could not claim a segment");
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
                Err(error) => tracing::debug!(%error, "could not list the segments"),
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
                    tracing::warn!(segment, "taking over the segment of a worker that is gone");
                    let ctx = Arc::clone(&ctx);
                    ctx.clone().drain.spawn_holder(async move {
                        if let Err(error) = hold::begin(&ctx, &tenure, lock).await {
                            tracing::error!(segment, %error, "could not take over a segment");
                        }
                    });
                }
                Ok(Look::Empty) => {
                    empty.insert(segment);
                }
                Ok(Look::Held) => held += 1,
                Ok(Look::NotYet) => {}
                Err(error) => {
                    tracing::debug!(segment, %error, "could not read a segment's owner");
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
            tracing::debug!(segment, %error, "could not look after a free segment");
        } else if segment != home.segment
            && matches!(ctx.tools.journal.segment_index(segment).await, Ok(index) if index.is_empty())
        {
            tenure.resign();
        }
    }
}
