//! What becomes of a start message: whose the job is, and what the start is to the run that has it.

use jiff::Timestamp;

use crate::job::{RunId, Verdict, sentence};
use crate::storage::{JobRecord, RecordState};

/// What a start message that has arrived says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::worker) struct Incoming {
    /// Its run: named by the message, or derived from its `message_id`.
    pub run_id: RunId,
    /// When it was published, as far as the publisher said.
    pub published_at: Option<Timestamp>,
}

/// What to do with a start message, given what the job's record says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::worker) enum ClaimDecision {
    /// Nobody has the job: take it.
    Take,
    /// This very run has ended: publish its result again.
    Republish,
    /// The job is active: do not run it twice.
    Duplicate,
}

/// Who stands behind a record whose run has not ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::worker) enum Standing {
    /// A segment's owner, who runs the job or will take it up.
    Theirs,
    /// Nobody: it was written under an ownership that had ended, and nobody will find it; or it waits
    /// for its message, which is with the broker.
    Orphaned,
}

/// Who stands behind a record of another segment: `owner_epoch` is that of the segment's latest
/// owner, and `is_indexed` whether the segment's index has the job. An owner takes up whatever the
/// index has when it comes; what is not there was written too late to be seen.
#[must_use]
pub(in crate::worker) fn standing(
    record: &JobRecord,
    owner_epoch: Option<u64>,
    is_indexed: bool,
) -> Standing {
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
        // Its message may not have reached the broker yet.
        RecordState::Waiting => ClaimDecision::Duplicate,
        RecordState::Active => match standing {
            Standing::Orphaned => ClaimDecision::Take,
            Standing::Theirs => ClaimDecision::Duplicate,
        },
    }
}

/// Whether a start message is the one that started a run, `stored` being the digest of that one's body
/// where one was kept. The result of a run is told to whoever knows all that the run was asked for, and
/// to nobody who merely names it. That holds for our own copies, too: we also copy strangers' messages.
#[must_use]
pub(in crate::worker) fn is_same_start(stored: Option<&str>, incoming: &str) -> bool {
    stored.is_none_or(|stored| stored == incoming)
}

/// The verdict on a start that the broker gave up on, and a sentence about it.
#[must_use]
pub(in crate::worker) fn undelivered(reason: Option<&str>) -> (Verdict, String) {
    match reason {
        Some("expired") => (Verdict::Cancelled, sentence::EXPIRED.to_owned()),
        Some("delivery_limit") => (Verdict::Unavailable, sentence::DELIVERED_TOO_OFTEN.to_owned()),
        reason => (Verdict::Unavailable, sentence::undeliverable(reason)),
    }
}

/// Whether the record that was found shows that `ours` was written, at a try that got no answer: it is
/// ours, for nobody else writes under our ownership. That of the job's next run shows nothing, for it may
/// be another owner who ended ours before; and if we did, whoever took the job has told of it.
#[must_use]
pub(in crate::worker) fn follows(found: &JobRecord, ours: &JobRecord) -> bool {
    found.run_id == ours.run_id && (found.segment, found.epoch) == (ours.segment, ours.epoch)
}
