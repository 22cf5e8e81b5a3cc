//! Claims a job in the journal: by compare-and-set, so that of two workers one has it.

use std::sync::Arc;
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use jiff::Timestamp;

use super::earlier_runs;
use super::validate::Start;
use crate::broker::Delivery;
use crate::job::{Event, Run, body_sha256};
use crate::storage::{
    JobRecord, Journal, JournalError, Place, RecordState, StoredMessage, Tombstone,
};
use crate::worker::context::Context;
use crate::worker::decide::{self, ClaimDecision, Standing};
use crate::worker::drain::Drain;
use crate::worker::ownership::tenure::Tenure;
use crate::worker::run::account::{Claimed, write};

/// What became of a claim.
pub(in crate::worker) enum Claim {
    /// The job is ours.
    Taken(Box<Claimed>),
    /// The job is ours, and was cancelled before it ran.
    Cancelled(Box<Claimed>, Tombstone),
    /// This very run has ended, with this result.
    Republish(Option<Box<Event>>),
    /// Somebody has it.
    Duplicate(Box<JobRecord>),
    /// Another message started this very run.
    TakenRun,
    /// The segment is somebody else's meanwhile: the message has to come again.
    TooLate,
}

/// The longest pause between two questions to a store that does not answer.
const MAX_CLAIM_PAUSE: Duration = Duration::from_secs(10);

/// How often a claim that somebody else's write crossed is tried again.
pub(in crate::worker) const MAX_CROSSINGS: usize = 10;

/// Claims the job of a start for the segment of `tenure`.
///
/// Writes before it looks for a stop; a stop is noted before it looks for the job: so one of the two
/// always sees the other. It also writes before it looks whose the segment is; a new owner notes
/// itself before it looks which jobs there are: so a job that is claimed under an ownership which
/// has ended is seen by the new owner, or not run by us.
pub(in crate::worker) async fn claim(
    ctx: &Context,
    tenure: &Arc<Tenure>,
    start: &Start,
    delivery: &Delivery,
) -> Result<Claim, JournalError> {
    let Context { tools, drain, .. } = ctx;
    let (journal, job) = (&tools.journal, &start.job);
    let mut is_entered = false;
    for _ in 0..MAX_CROSSINGS {
        let seen = journal.read(&job.id).await?;
        let old = seen.as_ref().map(|(old, _)| old);
        if let Some(old) = old {
            if let Some(answer) = already_known(journal, old, start).await? {
                // Somebody was faster, after we had entered the job.
                if is_entered && old.segment != tenure.segment {
                    journal.remove_from_segment(tenure.segment, &job.id).await?;
                }
                return Ok(answer);
            }
            if old.run_id != job.run_id {
                earlier_runs::keep_end(tools, tenure, old, &job.run_id).await?;
            }
        }
        let record = new_record(&tools.place, tenure, start, delivery, old);
        // The index first: a record without its index would not be found again.
        journal.add_to_segment(tenure.segment, &job.id).await?;
        is_entered = true;
        let seen = seen.map(|(_, etag)| etag);
        let written = insist(drain, tenure, || write(journal, &record, seen.as_ref()));
        let Some(written) = written.await? else { return Ok(Claim::TooLate) };
        let Some(etag) = written else { continue };
        let looked = insist(drain, tenure, || async {
            tokio::try_join!(journal.owner(tenure.segment), stopped_before(journal, start))
        });
        let Some((owner, stop)) = looked.await? else { return Ok(Claim::TooLate) };
        if owner.is_none_or(|(owner, _)| owner.epoch != tenure.epoch) {
            return Ok(Claim::TooLate);
        }
        let (job, attempt) = (Arc::new(job.clone()), record.attempt);
        let run = Run { job, attempt, segment: tenure.segment };
        let claimed = Box::new(Claimed { run, tenure: Arc::clone(tenure), record, etag });
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
    drain: &Drain,
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
        .notify(|error, _| tracing::warn!(%error, "could not claim a job; asking the store again"));
    tokio::select! {
        answered = answered => answered.map(Some),
        () = tenure.over().cancelled() => Ok(None),
        () = drain.detached() => Ok(None),
    }
}

/// What the journal says to a start that is not to run. None: it may take the place of `record`.
pub(in crate::worker) async fn already_known(
    journal: &Journal,
    record: &JobRecord,
    start: &Start,
) -> Result<Option<Claim>, JournalError> {
    let Start { text, incoming, .. } = start;
    if record.run_id != incoming.run_id {
        if let Some(end) = journal.ended(&record.id, &incoming.run_id).await? {
            let is_same = is_same_start(end.body_sha256.as_deref(), text);
            let republish = Claim::Republish(Some(Box::new(end.event)));
            return Ok(Some(if is_same { republish } else { Claim::TakenRun }));
        }
    } else if !is_same_start(record.message.body_sha256.as_deref(), text) {
        return Ok(Some(Claim::TakenRun));
    }
    let standing = standing(journal, record).await?;
    Ok(match decide::claim(record, incoming, standing) {
        ClaimDecision::Take => None,
        ClaimDecision::Republish => Some(Claim::Republish(record.result.clone().map(Box::new))),
        ClaimDecision::Duplicate => Some(Claim::Duplicate(Box::new(record.clone()))),
    })
}

/// Whether this is the text of the message that started a run, whose text had this digest.
pub(in crate::worker) fn is_same_start(stored: Option<&str>, text: &str) -> bool {
    decide::is_same_start(stored, &body_sha256(text.as_bytes()))
}

/// Who stands behind a record; asked only where that matters.
async fn standing(journal: &Journal, record: &JobRecord) -> Result<Standing, JournalError> {
    let is_indexed = || journal.is_in_segment(record.segment, &record.id);
    Ok(match record.state {
        RecordState::Active => {
            let owner = journal.owner(record.segment).await?;
            decide::standing(record, owner.map(|(owner, _)| owner.epoch), is_indexed().await?)
        }
        RecordState::Waiting if !is_indexed().await? => Standing::Orphaned,
        RecordState::Waiting | RecordState::Finished => Standing::Theirs,
    })
}

async fn stopped_before(
    journal: &Journal,
    start: &Start,
) -> Result<Option<Tombstone>, JournalError> {
    let tombstone = journal.tombstone(&start.job.id).await?;
    Ok(tombstone.filter(|tombstone| decide::cancels(tombstone, &start.incoming, Timestamp::now())))
}

/// The record of a claimed run. It goes on counting where the run was put aside before: a start that
/// is published again does not say how often it has been tried.
pub(in crate::worker) fn new_record(
    place: &Place,
    tenure: &Tenure,
    start: &Start,
    delivery: &Delivery,
    old: Option<&JobRecord>,
) -> JobRecord {
    let Start { job, text, .. } = start;
    let properties = &delivery.properties;
    let counted =
        old.filter(|old| old.run_id == job.run_id).map(|old| (old.attempt, old.first_try));
    let (attempt, first_try) = counted.unwrap_or_default();
    JobRecord {
        id: job.id.clone(),
        run_id: job.run_id.clone(),
        message_id: properties.message_id.clone(),
        segment: tenure.segment,
        epoch: tenure.epoch,
        place: Some(place.clone()),
        state: RecordState::Active,
        attempt: attempt.max(properties.attempt),
        first_try: first_try.max(properties.first_try),
        claimed_at: Timestamp::now(),
        finished_at: None,
        message: StoredMessage {
            body: text.clone(),
            body_sha256: Some(body_sha256(text.as_bytes())),
            correlation_id: properties.correlation_id.clone(),
            reply_to: properties.reply_to.clone(),
            traceparent: properties.traceparent.clone(),
            published_at: properties.timestamp,
        },
        result: None,
    }
}
