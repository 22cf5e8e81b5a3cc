//! Claims a job in the journal by compare-and-set, so only one worker gets it.

use std::sync::Arc;
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use tokio::time::sleep;
use uuid::Uuid;

use super::earlier_runs;
use super::validate::Start;
use crate::broker::Delivery;
use crate::job::{Event, Run, body_sha256};
use crate::storage::{
    IndexEntry, JobRecord, Journal, JournalError, RecordState, Seen, StoredMessage, Tombstone,
};
use crate::worker::context::{Context, Tools};
use crate::worker::decide::{self, ClaimDecision, Standing};
use crate::worker::drain::Drain;
use crate::worker::ownership::tenure::Tenure;
use crate::worker::run::account::{Claimed, write};

/// The outcome of a claim.
pub(in crate::worker) enum Claim {
    /// The job is ours.
    Taken(Box<Claimed>),
    /// The job is ours, and was cancelled before it ran.
    Cancelled(Box<Claimed>, Tombstone),
    /// This run has ended, with this result.
    Republish(Option<Box<Event>>),
    /// Another worker or run has it.
    Duplicate(Box<JobRecord>),
    /// Another message started this run.
    TakenRun,
    /// The segment now belongs to another worker: the message has to come again.
    TooLate,
}

/// The longest pause between two requests to a store that does not answer.
const MAX_CLAIM_PAUSE: Duration = Duration::from_secs(10);

/// How long after a claim that came to nothing its entry is taken back. A write of its record that got
/// no answer has arrived by then, or never does.
const WRITES_ARRIVE: Duration = Duration::from_mins(1);

/// How often that is tried again, with pauses from 1 s to a minute.
const TAKE_BACK_TRIES: usize = 8;

/// How often a claim is tried again after another write crossed it.
pub(in crate::worker) const MAX_CROSSINGS: usize = 10;

/// Claims the job of a start for the segment of `tenure`.
///
/// A claim is written before it looks for a stop, and a stop is noted before it looks for the job. So at
/// least one of them sees the other. Where a stop finds no record, it leaves a mark in its place, so a
/// claim that creates the record need not look. A claim is also written before it makes sure that the
/// segment is still ours, and a new owner notes itself before it lists the jobs. So if the ownership
/// has ended, the new owner sees the job, or we do not run it.
pub(in crate::worker) async fn claim(
    ctx: &Arc<Context>,
    tenure: &Arc<Tenure>,
    start: &Start,
    delivery: &Delivery,
) -> Result<Claim, JournalError> {
    let claim = ctx.tools.machine.random_id();
    let claimed = claim_as(claim, ctx, tenure, start, delivery).await;
    if matches!(claimed, Ok(Claim::TooLate) | Err(_)) {
        let (entry, segment) = (IndexEntry { job: start.job.id.clone(), claim }, tenure.segment);
        ctx.drain.spawn_errand(take_entry_back(Arc::clone(ctx), segment, entry));
    }
    claimed
}

async fn claim_as(
    claim: Uuid,
    ctx: &Context,
    tenure: &Arc<Tenure>,
    start: &Start,
    delivery: &Delivery,
) -> Result<Claim, JournalError> {
    let Context { tools, drain, .. } = ctx;
    let (journal, job) = (&tools.journal, &start.job);
    // Most first deliveries are of jobs that the journal does not know. If it does, the write says so.
    let mut seen = if delivery.is_first() { Seen::Nothing } else { journal.look(&job.id).await? };
    let mut is_entered = false;
    for _ in 0..MAX_CROSSINGS {
        let old = seen.record();
        let record = new_record(tools, tenure, start, delivery, old, claim);
        if let Some(old) = old {
            // It was written, and the segment's next owner has taken it up, with its entry.
            if old.claim == claim {
                return Ok(Claim::TooLate);
            }
            if let Some(answer) = already_known(journal, old, start).await? {
                if is_entered {
                    journal.leave(tenure.segment, &record.entry()).await?;
                }
                return Ok(answer);
            }
            if old.run_id != job.run_id {
                earlier_runs::keep_end(tools, tenure, old, &job.run_id).await?;
            }
        }
        // The index first: a record without an index entry would not be found again.
        if !is_entered {
            journal.enter(tenure.segment, &record.entry()).await?;
            is_entered = true;
        }
        let written = insist(drain, tenure, || write(journal, &record, seen.version()));
        let Some(written) = written.await? else { return Ok(Claim::TooLate) };
        let Some(etag) = written else {
            seen = journal.look(&job.id).await?;
            continue;
        };
        let is_new = matches!(seen, Seen::Nothing);
        let looked = insist(drain, tenure, || async {
            let stopped = async {
                // A stop that came before would have put its mark there.
                if is_new { Ok(None) } else { stopped_before(tools, start, old).await }
            };
            tokio::try_join!(is_still_ours(tools, tenure), stopped)
        });
        let Some((true, stop)) = looked.await? else { return Ok(Claim::TooLate) };
        let (job, attempt) = (Arc::new(job.clone()), record.attempt);
        let run = Run { job, attempt, segment: tenure.segment, is_new };
        let claimed = Box::new(Claimed { run, tenure: Arc::clone(tenure), record, etag });
        return Ok(match stop {
            Some(tombstone) => Claim::Cancelled(claimed, tombstone),
            None => Claim::Taken(claimed),
        });
    }
    Err(JournalError::Contended { id: job.id.clone() })
}

/// Removes the entry of a claim that came to nothing, if it made one, unless its record was written
/// after all. A new owner of the segment may have listed the index before, and looks rarely again.
async fn take_entry_back(ctx: Arc<Context>, segment: u32, entry: IndexEntry) {
    sleep(WRITES_ARRIVE).await;
    let journal = &ctx.tools.journal;
    let remove = || async {
        let found = journal.read(&entry.job).await?;
        if found.is_some_and(|(record, _)| record.entry() == entry) {
            return Ok(());
        }
        journal.leave(segment, &entry).await
    };
    let backoff = ExponentialBuilder::new().with_jitter().with_max_times(TAKE_BACK_TRIES);
    if let Err(error) = remove.retry(backoff).await {
        // The segment's owner finds it within ten minutes.
        tracing::debug!(job.id = %entry.job, %error, "could not take an index entry back");
    }
}

/// Whether a segment has no later owner than us. While the proof that it is ours is fresh, nobody can
/// have become that: at this place our mark keeps them away, elsewhere they wait for longer.
async fn is_still_ours(tools: &Tools, tenure: &Tenure) -> Result<bool, JournalError> {
    if tenure.is_proven() && tenure.has_mark() {
        return Ok(true);
    }
    let owner = tools.journal.owner(tenure.segment).await?;
    Ok(owner.is_some_and(|(owner, _)| owner.epoch == tenure.epoch))
}

/// Asks the store until it answers. After the write of the record, a claim that gave up would leave
/// a job behind that all other workers take for ours. `None`: the tenure or the worker ends first,
/// and the segment's next owner finds the job.
pub(in crate::worker) async fn insist<T, F>(
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
        biased;
        answered = answered => answered.map(Some),
        () = tenure.over().cancelled() => Ok(None),
        () = drain.detached().cancelled() => Ok(None),
    }
}

/// The journal's answer to a start that must not run. `None`: the start may replace `record`.
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

/// Who is responsible for a record; asked only if that matters.
async fn standing(journal: &Journal, record: &JobRecord) -> Result<Standing, JournalError> {
    let is_indexed = || journal.is_entered(record);
    Ok(match record.state {
        RecordState::Active => {
            let owner = journal.owner(record.segment).await?;
            decide::standing(record, owner.map(|(owner, _)| owner.epoch), is_indexed().await?)
        }
        RecordState::Waiting if !is_indexed().await? => Standing::Orphaned,
        RecordState::Waiting | RecordState::Finished => Standing::Theirs,
    })
}

/// The stop that cancels a start, if there is one. If the run was put back before, that is also one
/// that came since its last claim.
async fn stopped_before(
    tools: &Tools,
    start: &Start,
    old: Option<&JobRecord>,
) -> Result<Option<Tombstone>, JournalError> {
    let (stops, now) = (tools.journal.stops(&start.job.id).await?, tools.machine.now());
    let put_back = old.filter(|old| old.run_id == start.job.run_id);
    Ok(stops.into_iter().find(|stop| {
        decide::cancels(stop, &start.incoming, now)
            || put_back.is_some_and(|old| decide::ends(stop, old))
    }))
}

/// The record of a claimed run. If the run was put back before, its count goes on: a start that is
/// published again does not say how often it has been tried.
pub(in crate::worker) fn new_record(
    tools: &Tools,
    tenure: &Tenure,
    start: &Start,
    delivery: &Delivery,
    old: Option<&JobRecord>,
    claim: Uuid,
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
        claim,
        segment: tenure.segment,
        epoch: tenure.epoch,
        place: Some(tools.place.clone()),
        state: RecordState::Active,
        attempt: attempt.max(properties.attempt),
        first_try: first_try.max(properties.first_try),
        claimed_at: tools.machine.now(),
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
