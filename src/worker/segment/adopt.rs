//! Takes segments: one of its own when the worker starts, and those of dead workers.
//! [`takeover`](super::takeover) decides when.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use super::aftercare::Aftercare;
use super::hold::{self, RETRY};
use super::patience::Patience;
use super::survey::Survey;
use super::take::{self, ClaimError};
use super::takeover::{Free, Takeover, Taker, in_order, takeover};
use crate::broker::{BrokerError, OwnershipLock};
use crate::storage::{ETag, OwnerRecord};
use crate::worker::context::{Context, Tools};
use crate::worker::ownership::machine::Mark;
use crate::worker::ownership::tenure::Tenure;

/// The pause between two looks at the segments of other workers.
const LOOK: Duration = Duration::from_secs(1);

/// How many held segments one worker watches: those after its own, in the order of numbers. Free
/// ones on the way do not count. So if many workers die at a time, each survivor waits for all of
/// their segments at once.
const WATCHED: usize = 3;

/// The outcome of a look at a segment.
enum Look {
    /// It is ours now.
    Taken(Arc<Tenure>, Box<dyn OwnershipLock>),
    /// It has an owner.
    Held,
    /// It is free, and nothing was left there.
    Empty,
    /// It is free, but its last owner's jobs must not be touched yet.
    NotYet,
}

/// What a worker has seen of the segments of others.
#[derive(Default)]
struct View {
    free: Free,
    patience: Patience,
}

/// Looks at a segment, and takes it if that is allowed. An empty segment is taken only by a worker
/// that needs one.
async fn look(
    ctx: &Context,
    segment: u32,
    View { free, patience }: &mut View,
    needs_one: bool,
) -> Result<Look, ClaimError> {
    let tools = &ctx.tools;
    if tools.broker.is_locked(segment).await? {
        free.held(segment);
        return Ok(Look::Held);
    }
    let owner = patience.within(tools.journal.owner(segment)).await?;
    let version = owner.as_ref().map(|(_, version)| version);
    let free_for = match free.time(segment, version) {
        Some(free_for) => free_for,
        // Asked again, now that the record is read: an owner that comes back after this writes a
        // new record.
        None if tools.broker.is_locked(segment).await? => {
            free.held(segment);
            return Ok(Look::Held);
        }
        None => {
            free.begin(segment, version);
            Duration::ZERO
        }
    };
    // Whoever needs a segment takes what is in its mailbox, if it has one yet.
    let is_empty = patience.within(tools.journal.segment_index(segment)).await?.is_empty()
        && (needs_one || tools.broker.is_mailbox_empty(segment).await?);
    if is_empty && !needs_one {
        return Ok(Look::Empty);
    }
    let mark = match &owner {
        // Also if it is still empty: an owner that has lost its lock without noticing may be about
        // to enter a job and start it.
        Some(seen) if !is_empty || seen.0.released_at.is_none() => {
            let (is_dead, mark) = whether_dead(tools, seen).await;
            let taker = match needs_one {
                true => Taker::Newcomer,
                false if ctx.known.slots.have_room() => Taker::HasRoom,
                false => Taker::Full,
            };
            if takeover(&seen.0, is_dead, free_for, taker) == Takeover::Wait {
                return Ok(Look::NotYet);
            }
            // Its jobs would have to be started again, which may not go well here.
            if !is_dead && !needs_one && !ctx.known.gate.is_open() {
                return Ok(Look::NotYet);
            }
            mark
        }
        _ => take::mark_of(tools, segment).await,
    };
    Ok(match take::take(tools, segment, owner, mark).await? {
        Some((tenure, lock)) => Look::Taken(tenure, lock),
        None => Look::Held,
    })
}

/// Whether the owner was at our place and its process is dead; with the mark that shows it.
async fn whether_dead(
    tools: &Tools,
    (owner, _): &(OwnerRecord, ETag),
) -> (bool, Option<Box<dyn Mark>>) {
    if owner.place != tools.place {
        return (false, None);
    }
    let mark = take::mark_of(tools, owner.segment).await;
    (mark.is_some(), mark)
}

/// Claims the lowest available segment, and begins its tenure. Waits if there is none.
pub(in crate::worker) async fn find_home(ctx: &Arc<Context>) -> Result<Arc<Tenure>, BrokerError> {
    let mut view = View::default();
    loop {
        for number in 0..ctx.tools.settings.max_segments {
            if ctx.known.tenures.of(number).is_some() {
                continue;
            }
            match look(ctx, number, &mut view, true).await {
                Ok(Look::Taken(tenure, lock)) => {
                    hold::begin(ctx, &tenure, lock).await?;
                    ctx.known.tenures.settle_at(&tenure);
                    return Ok(tenure);
                }
                Ok(_) => {}
                Err(ClaimError::Journal(error)) if error.is_corrupt() => {
                    tracing::error!(segment = number, %error, "left a segment alone, because its owner cannot be read");
                }
                Err(error) => {
                    tracing::warn!(segment = number, %error, "could not claim a segment");
                    break;
                }
            }
        }
        tracing::warn!(
            max_segments = ctx.tools.settings.max_segments,
            "found no segment to claim, because other workers have all that MAX_SEGMENTS allows or servers do not answer; trying again"
        );
        sleep(RETRY).await;
    }
}

/// Finds a new segment of our own whenever ours has been taken over.
pub(in crate::worker) async fn keep_home(ctx: Arc<Context>) {
    loop {
        let home = ctx.known.tenures.home().await;
        home.over().cancelled().await;
        // It may have been left because nothing can run here.
        ctx.known.gate.can_work().await;
        if let Err(error) = find_home(&ctx).await {
            tracing::error!(%error, "could not claim a segment");
            sleep(RETRY).await;
        }
    }
}

/// Takes over the segments of dead workers, and looks after ours.
pub(in crate::worker) async fn watch_others(ctx: Arc<Context>) {
    let (mut view, mut survey) = (View::default(), Survey::default());
    let mut aftercare = Aftercare::default();
    loop {
        sleep(LOOK).await;
        let Some(home) = ctx.known.tenures.home_now() else { continue };
        list(&ctx, &mut survey, &mut view.patience).await;
        aftercare.look(&ctx, &home, &mut view.patience).await;
        let ours = ctx.known.tenures.all().iter().map(|tenure| tenure.segment).collect();
        let mut held = 0;
        survey.wrote_to(ctx.known.tenures.take_written_to());
        let first = in_order(survey.written_to(), &ours, home.segment);
        let others = in_order(&survey.candidates(), &ours, home.segment);
        for segment in first.into_iter().chain(others) {
            if held == WATCHED {
                break;
            }
            match look(&ctx, segment, &mut view, false).await {
                Ok(Look::Taken(tenure, lock)) => {
                    tracing::warn!(segment, "taking over the segment of a worker that is gone");
                    let ctx = Arc::clone(&ctx);
                    ctx.clone().drain.spawn_holder(async move {
                        if let Err(error) = hold::begin(&ctx, &tenure, lock).await {
                            tracing::error!(segment, %error, "could not take over a segment");
                        }
                    });
                }
                Ok(Look::Empty) => survey.settle(segment),
                // Its owner takes what is in its mailbox.
                Ok(Look::Held) if survey.was_written_to(segment) => {}
                Ok(Look::Held) => held += 1,
                Ok(Look::NotYet) => {}
                Err(ClaimError::Journal(error)) if error.is_corrupt() => {
                    tracing::error!(segment, %error, "left a segment alone, because its owner cannot be read");
                    survey.settle(segment);
                }
                Err(error) => {
                    tracing::debug!(segment, %error, "could not read a segment's owner");
                    break;
                }
            }
        }
    }
}

/// Lists the segments when that is due.
async fn list(ctx: &Context, survey: &mut Survey, patience: &mut Patience) {
    let Tools { journal, broker, settings, .. } = &ctx.tools;
    let mut is_due = survey.is_due();
    if let Some(next) = survey.next_taken(settings.max_segments).filter(|_| !is_due) {
        is_due = matches!(broker.is_locked(next).await, Ok(true));
    }
    if is_due {
        let listed = patience.within(journal.owned_segments()).await;
        let listed =
            listed.inspect_err(|error| tracing::debug!(%error, "could not list the segments"));
        survey.listed(listed.ok());
    }
    if survey.is_content_due() {
        let in_use = patience.within(journal.segments_in_use()).await;
        survey.content_listed(in_use.as_ref().ok());
    }
}
