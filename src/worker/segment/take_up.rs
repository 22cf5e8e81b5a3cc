//! Takes up one run of a segment's last owner: makes its record ours, and lets it go on.

use std::sync::Arc;
use std::time::Duration;

use super::continuation::{Continuation, Left, continuation};
use crate::job::{Run, Verdict, sentence};
use crate::runner::labels::Identity;
use crate::runner::orchestrator::{ContainerInfo, EngineError};
use crate::storage::{ETag, JobRecord, Journal, JournalError, RecordState};
use crate::traces::{self, Trace};
use crate::worker::active::{ActiveGuard, StopOrder};
use crate::worker::context::Context;
use crate::worker::decide;
use crate::worker::message::claim::insist;
use crate::worker::message::validate::job_of;
use crate::worker::ownership::tenure::{Change, Tenure};
use crate::worker::recipe::run_claimed;
use crate::worker::run::account::Claimed;
use crate::worker::run::ending;
use crate::worker::run::execute::Begin;
use crate::worker::slots::Slot;

/// The time between SIGTERM and SIGKILL for a stop whose message is gone: the default of a stop
/// message.
const STOP_TIMEOUT: Duration = Duration::from_secs(30);

/// Why a segment's jobs could not be adopted. It is tried again, because its jobs wait.
#[derive(Debug, thiserror::Error)]
pub(in crate::worker) enum RecoverError {
    /// The journal could not be read.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The engine could not be asked.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

/// A container, and what its labels say.
pub(super) type Found = (ContainerInfo, Identity);

/// Takes up a run with this record, of which perhaps a container is left. It goes on by itself.
pub(super) async fn take_up(
    ctx: &Arc<Context>,
    tenure: &Arc<Tenure>,
    record: JobRecord,
    etag: ETag,
    container: Option<Found>,
) -> Result<(), RecoverError> {
    let (job, beyond) = match job_of(&ctx.tools, &record) {
        Ok((job, beyond)) => (Arc::new(job), beyond),
        Err(error) => {
            tracing::error!(job.id = %record.id, %error, "skipped a record whose message is no longer valid");
            return Ok(());
        }
    };
    let published_at = record.message.published_at;
    let Ok(guard) = ctx.known.active.begin(&job.id, &job.run_id, published_at) else {
        tenure.note(Change::Unfinished);
        return Ok(());
    };
    let left = container.as_ref().map(|(info, labels)| Left {
        id: &info.id,
        state: info.state,
        attempt: labels.attempt,
        has_begun: labels.has_begun,
    });
    let next = continuation(&job, &record, left);
    let Some((record, etag)) = make_ours(&ctx.tools.journal, tenure, record, &etag, &next).await?
    else {
        tracing::info!(job.id = %job.id, "left a job to the worker that claimed it first");
        // Its entry here is to be removed.
        tenure.note(Change::Unfinished);
        return Ok(());
    };
    guard.run.claim(tenure, record.claim);
    // After the job is ours, because a stop is noted before it looks whose the job is.
    // Not given up while the store is away: the next try would take an attempt that has not begun
    // for one that is lost, because its record is active by now.
    let asked = insist(&ctx.drain, tenure, || ctx.tools.journal.stops(&job.id));
    let Some(stops) = asked.await? else { return Ok(()) };
    if let Some(stop) = stops.into_iter().find(|stop| decide::ends(stop, &record)) {
        guard.run.request_stop(StopOrder { reason: stop.reason, timeout: STOP_TIMEOUT });
    }
    tracing::info!(job.id = %job.id, continuation = ?next, "took up a job");
    let segment = tenure.segment;
    let before = Run { job: Arc::clone(&job), attempt: record.attempt, segment, is_new: false };
    let kept = match &next {
        Continuation::Adopt { attempt, .. } => Some(*attempt),
        Continuation::Launch { .. } | Continuation::Lost => None,
    };
    if let Some((info, _)) = container.filter(|_| kept.is_none()) {
        ctx.tools.runner.remove_leftover(&info.id).await;
    }
    ctx.tools.runner.remove_leftover_directories(&before, kept).await;
    let (begin, attempt) = match next {
        Continuation::Adopt { container, attempt } => (Begin::Adopt(container), attempt),
        Continuation::Launch { attempt } => {
            if let Some(error) = beyond {
                let claimed = Claimed { run: before, tenure: Arc::clone(tenure), record, etag };
                let why = sentence::beyond_the_settings(&error);
                ending::settle_unrun(ctx, &guard.run, claimed, Verdict::Rejected, why).await;
                return Ok(());
            }
            (Begin::Launch, attempt)
        }
        Continuation::Lost => {
            let message = sentence::all_attempts_lost(record.attempt);
            let claimed = Claimed { run: before, tenure: Arc::clone(tenure), record, etag };
            ending::settle_unrun(ctx, &guard.run, claimed, Verdict::Lost, message).await;
            return Ok(());
        }
    };
    let run = Run { job: Arc::clone(&job), attempt, segment, is_new: false };
    let claimed = Claimed { run, tenure: Arc::clone(tenure), record, etag };
    go_on(ctx, claimed, begin, guard);
    Ok(())
}

/// Lets a run of ours go on. A running job does so whatever the limits say now. A job that must
/// start again needs a slot: without one it goes back to its queue, for whoever has room.
fn go_on(ctx: &Arc<Context>, claimed: Claimed, begin: Begin, guard: ActiveGuard) {
    let is_long_running = claimed.run.job.is_long_running;
    let slot = ctx.known.slots.try_take(is_long_running);
    let elsewhere = match (&begin, &slot) {
        (Begin::Launch, None) => ctx.tools.broker.topology().retry_step_or_last(1),
        _ => None,
    };
    let message = &claimed.record.message;
    let trace = Trace::begin(
        "run taken up",
        message.traceparent.as_deref(),
        claimed.record.message_id.as_deref(),
    );
    let ctx = Arc::clone(ctx);
    ctx.clone().drain.spawn_run(
        is_long_running,
        trace.follow(async move {
            let job = &claimed.run.job;
            traces::of_run(job.id.as_str(), job.run_id.as_str(), job.runtime.name.as_str());
            if let Some(step) = elsewhere {
                return ending::put_back(&ctx, &guard.run, claimed, &step).await;
            }
            guard.run.occupy(match begin {
                // Without a retry queue, there is no way to another worker.
                Begin::Launch if slot.is_none() => {
                    ctx.known.slots.take(is_long_running).await.map(Slot::occupied)
                }
                _ => slot,
            });
            run_claimed(ctx, claimed, begin, guard).await;
        }),
    );
}

/// Writes the record under our ownership; `None` if another worker has written it. A run that was
/// put back becomes active again: its message may still be on its way, and must find that the job
/// is taken.
async fn make_ours(
    journal: &Journal,
    tenure: &Tenure,
    mut record: JobRecord,
    etag: &ETag,
    next: &Continuation,
) -> Result<Option<(JobRecord, ETag)>, RecoverError> {
    record.epoch = tenure.epoch;
    if record.state == RecordState::Active
        && let Continuation::Adopt { attempt, .. } | Continuation::Launch { attempt } = next
    {
        // The number of failed tries is not known: the last owner may have died for another reason.
        record.first_try = *attempt;
    }
    record.state = RecordState::Active;
    let written = journal.replace(&record, etag).await?;
    Ok(written.map(|etag| (record, etag)))
}
