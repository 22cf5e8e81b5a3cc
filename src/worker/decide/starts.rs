//! Decides on a start message: which worker has the job, and how the start relates to its run.

use jiff::Timestamp;

use crate::job::{RunId, Verdict, sentence};
use crate::storage::{JobRecord, RecordState};

/// What an incoming start message says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::worker) struct Incoming {
    /// Its run: named by the message, or derived from its `message_id`.
    pub run_id: RunId,
    /// When it was published, if the publisher says it.
    pub published_at: Option<Timestamp>,
}

/// What to do with a start message, given what the job's record says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::worker) enum ClaimDecision {
    /// No worker has the job: take it.
    Take,
    /// This run has ended: publish its result again.
    Republish,
    /// The job is active: do not run it twice.
    Duplicate,
}

/// Who is responsible for a record whose run has not ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// A segment's owner, which runs the job or will adopt it.
    Theirs,
    /// Nobody. The record was written under an ended ownership, and no owner will find it; or it
    /// waits for its message, which the broker has.
    Orphaned,
}

/// Who is responsible for a record of another segment. `owner_epoch` is the epoch of the segment's
/// latest owner; `is_indexed` says whether the segment's index has the job. A new owner takes all
/// jobs in the index. A job that is missing there was written too late to be seen.
#[must_use]
pub(crate) fn standing(record: &JobRecord, owner_epoch: Option<u64>, is_indexed: bool) -> Standing {
    let is_outdated = owner_epoch.is_some_and(|epoch| epoch > record.epoch);
    if is_outdated && !is_indexed { Standing::Orphaned } else { Standing::Theirs }
}

/// Decides on a start message of a job that has a record.
#[must_use]
pub(in crate::worker) fn claim(
    record: &JobRecord,
    incoming: &Incoming,
    standing: Standing,
) -> ClaimDecision {
    let same_run = record.run_id == incoming.run_id;
    match record.state {
        RecordState::Finished if same_run => ClaimDecision::Republish,
        RecordState::Finished => ClaimDecision::Take,
        RecordState::Waiting if same_run || standing == Standing::Orphaned => ClaimDecision::Take,
        // Its message may not be back at the broker yet.
        RecordState::Waiting => ClaimDecision::Duplicate,
        RecordState::Active => match standing {
            Standing::Orphaned => ClaimDecision::Take,
            Standing::Theirs => ClaimDecision::Duplicate,
        },
    }
}

/// Whether a start message is the one that started a run. `stored` is the digest of that message's
/// body, if it was kept. Only a message with the same body gets the result of the run; naming the
/// run is not enough. This also holds for our own copies, because we also copy strangers' messages.
#[must_use]
pub(in crate::worker) fn is_same_start(stored: Option<&str>, incoming: &str) -> bool {
    stored.is_none_or(|stored| stored == incoming)
}

/// The verdict for a start that the broker gave up, and a sentence about it.
#[must_use]
pub(in crate::worker) fn undelivered(reason: Option<&str>) -> (Verdict, String) {
    match reason {
        Some("expired") => (Verdict::Cancelled, sentence::EXPIRED.to_owned()),
        Some("delivery_limit") => (Verdict::Unavailable, sentence::DELIVERED_TOO_OFTEN.to_owned()),
        reason => (Verdict::Unavailable, sentence::undeliverable(reason)),
    }
}

/// Whether the found record shows that `ours` was written by a try that got no answer. It does if
/// it has our claim and our epoch, because nobody else writes under our ownership. The record of the job's next
/// run shows nothing: another owner may have ended our run before it. If we ended it, the worker
/// that took the job has reported that end.
#[must_use]
pub(in crate::worker) fn follows(found: &JobRecord, ours: &JobRecord) -> bool {
    let written_by = |record: &JobRecord| (record.claim, record.segment, record.epoch);
    found.run_id == ours.run_id && written_by(found) == written_by(ours)
}
