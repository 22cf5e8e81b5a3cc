//! Claims a job in the journal: by compare-and-set, so that of two workers one has it.

use std::sync::Arc;
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use jiff::Timestamp;

use super::account::write;
use super::context::Context;
use super::decide::{self, ClaimDecision, Incoming, Standing};
use super::ending;
use super::tenure::Tenure;
use crate::broker::Delivery;
use crate::job::Job;
use crate::runner::Run;
use crate::storage::{ETag, JobRecord, JournalError, RecordState, StoredMessage, Tombstone};

/// A job that is ours.
pub(super) struct Claimed {
    /// What to run.
    pub(super) run: Run,
    /// Under which tenure.
    pub(super) tenure: Arc<Tenure>,
    /// Its record, as we wrote it.
    pub(super) record: JobRecord,
    /// The record's version.
    pub(super) etag: ETag,
    /// From which attempt on none has run.
    pub(super) since: u32,
}

/// What became of a claim.
pub(super) enum Claim {
    /// The job is ours.
    Taken(Box<Claimed>),
    /// The job is ours, and was cancelled before it ran.
    Cancelled(Box<Claimed>, Tombstone),
    /// This very run has ended.
    Republish(Box<JobRecord>),
    /// Somebody has it.
    Duplicate(Box<JobRecord>),
    /// The segment is somebody else's meanwhile: the message has to come again.
    TooLate,
}

/// The longest pause between two questions to a store that does not answer.
const MAX_CLAIM_PAUSE: Duration = Duration::from_secs(10);

/// How often a claim that somebody else's write crossed is tried again.
const MAX_CROSSINGS: usize = 10;

/// Claims a job for the segment of `tenure`.
///
/// Writes before it looks for a stop; a stop is noted before it looks for the job: so one of the two
/// always sees the other. It also writes before it looks whose the segment is; a new owner notes
/// itself before it looks which jobs there are: so a job that is claimed under an ownership which
/// has ended is seen by the new owner, or not run by us.
pub(super) async fn claim(
    ctx: &Context,
    tenure: &Arc<Tenure>,
    job: &Job,
    delivery: &Delivery,
    incoming: &Incoming,
) -> Result<Claim, JournalError> {
    let attempt = delivery.properties.attempt;
    let record = new_record(ctx, tenure, job, delivery, attempt);
    let mut is_entered = false;
    for _ in 0..MAX_CROSSINGS {
        let existing = ctx.journal.read(&job.id).await?;
        let (decided, existing) = (decision(ctx, existing.as_ref(), incoming).await?, existing);
        let seen = match (decided, existing) {
            (ClaimDecision::Take, existing) => existing,
            (_, None) => None,
            (decided, Some((old, _))) => {
                // Somebody was faster, after we had entered the job.
                if is_entered && old.segment != tenure.segment {
                    ctx.journal.remove_from_segment(tenure.segment, &job.id).await?;
                }
                let old = Box::new(old);
                return Ok(match decided {
                    ClaimDecision::Republish => Claim::Republish(old),
                    ClaimDecision::Duplicate | ClaimDecision::Take => Claim::Duplicate(old),
                });
            }
        };
        if let Some((old, _)) = &seen {
            tell_unpublished(ctx, old).await?;
        }
        // The index first: a record without its index would not be found again.
        ctx.journal.add_to_segment(tenure.segment, &job.id).await?;
        is_entered = true;
        let seen = seen.map(|(_, etag)| etag);
        let written = insist(ctx, tenure, || write(&ctx.journal, &record, seen.as_ref()));
        let Some(written) = written.await? else { return Ok(Claim::TooLate) };
        let Some(etag) = written else { continue };
        let looked = insist(ctx, tenure, || async {
            tokio::try_join!(ctx.journal.owner(tenure.segment), stopped_before(ctx, job, incoming))
        });
        let Some((owner, stop)) = looked.await? else { return Ok(Claim::TooLate) };
        if owner.is_none_or(|(owner, _)| owner.epoch != tenure.epoch) {
            return Ok(Claim::TooLate);
        }
        let run = Run { job: Arc::new(job.clone()), attempt, segment: tenure.segment };
        let since = delivery.properties.since;
        let claimed = Box::new(Claimed { run, tenure: Arc::clone(tenure), record, etag, since });
        return Ok(match stop {
            Some(tombstone) => Claim::Cancelled(claimed, tombstone),
            None => Claim::Taken(claimed),
        });
    }
    Err(JournalError::Contended { id: job.id.clone() })
}

/// Asks the store until it answers. From the write of the record on, a claim that gave up would leave
/// a job behind that everybody else takes for ours. `None`: the segment or the worker comes to its
/// end first, and whoever takes the segment next finds the job.
async fn insist<T, F>(
    ctx: &Context,
    tenure: &Tenure,
    request: impl FnMut() -> F,
) -> Result<Option<T>, JournalError>
where
    F: Future<Output = Result<T, JournalError>>,
{
    let backoff =
        ExponentialBuilder::new().with_jitter().with_max_delay(MAX_CLAIM_PAUSE).without_max_times();
    let answered = request
        .retry(backoff)
        .when(JournalError::is_transient)
        .notify(|error, _| tracing::warn!(%error, "claim job: ask the store again"));
    tokio::select! {
        answered = answered => answered.map(Some),
        () = tenure.over().cancelled() => Ok(None),
        () = ctx.detach.cancelled() => Ok(None),
    }
}

/// Publishes the result of an ended run whose record is about to give way to the next run's, where
/// its owner may have died before it did: who takes up the segment would not find it any more.
async fn tell_unpublished(ctx: &Context, old: &JobRecord) -> Result<(), JournalError> {
    if old.state == RecordState::Finished && ctx.journal.is_in_segment(old.segment, &old.id).await?
    {
        ending::publish_again(ctx, old).await;
    }
    Ok(())
}

/// Decides on what is there; asks who stands behind it only where that matters.
async fn decision(
    ctx: &Context,
    existing: Option<&(JobRecord, ETag)>,
    incoming: &Incoming,
) -> Result<ClaimDecision, JournalError> {
    let record = existing.map(|(record, _)| record);
    let standing = match record {
        Some(record) if record.state == RecordState::Active => {
            let owner = ctx.journal.owner(record.segment).await?;
            let is_indexed = ctx.journal.is_in_segment(record.segment, &record.id).await?;
            decide::standing(record, owner.map(|(owner, _)| owner.epoch), is_indexed)
        }
        Some(record) if record.state == RecordState::Waiting => {
            let is_indexed = ctx.journal.is_in_segment(record.segment, &record.id).await?;
            if is_indexed { Standing::Theirs } else { Standing::Orphaned }
        }
        _ => Standing::Theirs,
    };
    Ok(decide::claim(record, incoming, standing))
}

async fn stopped_before(
    ctx: &Context,
    job: &Job,
    incoming: &Incoming,
) -> Result<Option<Tombstone>, JournalError> {
    let tombstone = ctx.journal.tombstone(&job.id).await?;
    Ok(tombstone.filter(|tombstone| decide::cancels(tombstone, incoming, Timestamp::now())))
}

fn new_record(
    ctx: &Context,
    tenure: &Tenure,
    job: &Job,
    delivery: &Delivery,
    attempt: u32,
) -> JobRecord {
    let properties = &delivery.properties;
    JobRecord {
        id: job.id.clone(),
        run_id: job.run_id.clone(),
        message_id: properties.message_id.clone(),
        segment: tenure.segment,
        epoch: tenure.epoch,
        place: Some(ctx.place.clone()),
        state: RecordState::Active,
        attempt,
        claimed_at: Timestamp::now(),
        finished_at: None,
        message: StoredMessage {
            body: String::from_utf8_lossy(&delivery.body).into_owned(),
            correlation_id: properties.correlation_id.clone(),
            reply_to: properties.reply_to.clone(),
            traceparent: properties.traceparent.clone(),
            published_at: properties.timestamp,
        },
        result: None,
    }
}
