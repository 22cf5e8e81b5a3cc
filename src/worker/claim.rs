//! Claims a job in the journal: by compare-and-set, so that of two workers one has it.

use std::sync::Arc;

use jiff::Timestamp;

use super::context::Context;
use super::decide::{self, ClaimDecision, Incoming};
use crate::broker::Delivery;
use crate::job::Job;
use crate::runner::Run;
use crate::storage::{ETag, JobRecord, JournalError, RecordState, StoredMessage, Tombstone};

/// A job that is ours.
pub(super) struct Claimed {
    /// What to run.
    pub(super) run: Run,
    /// Its record, as we wrote it.
    pub(super) record: JobRecord,
    /// The record's version.
    pub(super) etag: ETag,
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
}

/// How often a claim that somebody else's write crossed is tried again.
const MAX_CROSSINGS: usize = 10;

/// Claims a job for our segment. Writes before it looks for a stop; a stop is noted before it looks
/// for the job: so one of the two always sees the other.
pub(super) async fn claim(
    ctx: &Context,
    job: &Job,
    delivery: &Delivery,
    incoming: &Incoming,
) -> Result<Claim, JournalError> {
    let attempt = delivery.properties.attempt;
    let record = new_record(ctx, job, delivery, attempt);
    for _ in 0..MAX_CROSSINGS {
        let existing = ctx.journal.read(&job.id).await?;
        let decision =
            decide::claim(existing.as_ref().map(|(record, _)| record), incoming, ctx.segment);
        let written = match (decision, existing) {
            (ClaimDecision::Republish, Some((old, _))) => {
                return Ok(Claim::Republish(Box::new(old)));
            }
            (ClaimDecision::Duplicate, Some((old, _))) => {
                return Ok(Claim::Duplicate(Box::new(old)));
            }
            (_, existing) => {
                // The index first: a record without its index would not be found again.
                ctx.journal.add_to_segment(ctx.segment, &job.id).await?;
                match existing {
                    Some((_, etag)) => ctx.journal.replace(&record, &etag).await?,
                    None => ctx.journal.create(&record).await?,
                }
            }
        };
        if let Some(etag) = written {
            let run = Run { job: Arc::new(job.clone()), attempt, segment: ctx.segment };
            let claimed = Box::new(Claimed { run, record, etag });
            return Ok(match stopped_before(ctx, job, incoming).await? {
                Some(tombstone) => Claim::Cancelled(claimed, tombstone),
                None => Claim::Taken(claimed),
            });
        }
    }
    Err(JournalError::Contended { id: job.id.clone() })
}

async fn stopped_before(
    ctx: &Context,
    job: &Job,
    incoming: &Incoming,
) -> Result<Option<Tombstone>, JournalError> {
    let tombstone = ctx.journal.tombstone(&job.id).await?;
    Ok(tombstone.filter(|tombstone| decide::cancels(tombstone, incoming, Timestamp::now())))
}

fn new_record(ctx: &Context, job: &Job, delivery: &Delivery, attempt: u32) -> JobRecord {
    let properties = &delivery.properties;
    JobRecord {
        id: job.id.clone(),
        run_id: job.run_id.clone(),
        message_id: properties.message_id.clone(),
        segment: ctx.segment,
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
