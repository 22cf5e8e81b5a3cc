//! The worker's decisions, pure: who may run, what a stop means, what comes after an end.

use std::time::Duration;

use jiff::Timestamp;

use crate::job::{ExecutionResult, Job, RestartPolicy, RestartWhen, RunId, Verdict, sentence};
use crate::storage::{JobRecord, RecordState, Tombstone};

/// What a start message that has arrived says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Incoming {
    /// Its run: named by the message, or derived from its `message_id`.
    pub run_id: RunId,
    /// When it was published, as far as the publisher said.
    pub published_at: Option<Timestamp>,
}

/// What to do with a start message, given what the job's record says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ClaimDecision {
    /// Nobody has the job: take it.
    Take,
    /// This very run has ended: publish its result again.
    Republish,
    /// The job is active: do not run it twice.
    Duplicate,
}

/// Who stands behind a record whose run has not ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
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
pub(super) fn standing(record: &JobRecord, owner_epoch: Option<u64>, is_indexed: bool) -> Standing {
    let is_outdated = owner_epoch.is_some_and(|epoch| epoch > record.epoch);
    if is_outdated && !is_indexed { Standing::Orphaned } else { Standing::Theirs }
}

/// Decides on a start message of a job that has a record.
#[must_use]
pub(super) fn claim(record: &JobRecord, incoming: &Incoming, standing: Standing) -> ClaimDecision {
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
pub(super) fn is_same_start(stored: Option<&str>, incoming: &str) -> bool {
    stored.is_none_or(|stored| stored == incoming)
}

/// The verdict on a start that the broker gave up on, and a sentence about it.
#[must_use]
pub(super) fn undelivered(reason: Option<&str>) -> (Verdict, String) {
    match reason {
        Some("expired") => (Verdict::Cancelled, sentence::EXPIRED.to_owned()),
        Some("delivery_limit") => (Verdict::Unavailable, sentence::DELIVERED_TOO_OFTEN.to_owned()),
        reason => (Verdict::Unavailable, sentence::undeliverable(reason)),
    }
}

/// How long a stop that found nothing to stop also holds for a start message that does not say
/// when it was published.
pub(super) const STOP_MEMORY: Duration = Duration::from_mins(1);

/// Whether a stop that has been noted cancels a start message: one that names its run, or one that
/// came after the message was published. Where both happened within one second, the stop wins, for
/// AMQP's time stamps count seconds.
#[must_use]
pub(super) fn cancels(tombstone: &Tombstone, incoming: &Incoming, now: Timestamp) -> bool {
    if let Some(run_id) = &tombstone.run_id {
        return *run_id == incoming.run_id;
    }
    match incoming.published_at {
        Some(published_at) => tombstone.at.as_second() >= published_at.as_second(),
        None => now.duration_since(tombstone.at) <= STOP_MEMORY.try_into().unwrap_or_default(),
    }
}

/// What is said of a start that a noted stop cancels: which stop that was, and why it counts.
#[must_use]
pub(super) fn why_cancelled(tombstone: &Tombstone, incoming: &Incoming) -> String {
    let reason = tombstone.reason.as_deref().map(|reason| format!(" ({reason})"));
    let stop = format!("a stop of {:.0}{}", tombstone.at, reason.unwrap_or_default());
    let why = match (&tombstone.run_id, incoming.published_at) {
        (Some(_), _) => "which names this run".to_owned(),
        (None, Some(published_at)) => {
            format!("which came after the start was published, at {published_at:.0}")
        }
        (None, None) => format!(
            "which counts because the start has no AMQP timestamp: a stop then holds for {} s",
            STOP_MEMORY.as_secs()
        ),
    };
    format!("cancelled before it ran by {stop}, {why}")
}

/// Whether an active run is about to end because of a stop that has been noted.
#[must_use]
pub(crate) fn is_stopping(tombstone: &Tombstone, active: &JobRecord) -> bool {
    match &tombstone.run_id {
        Some(run_id) => *run_id == active.run_id,
        None => tombstone.at.as_second() >= active.claimed_at.as_second(),
    }
}

/// Whether the record that was found shows that `ours` was written, at a try that got no answer: it is
/// ours, for nobody else writes under our ownership. That of the job's next run shows nothing, for it may
/// be another owner who ended ours before; and if we did, whoever took the job has told of it.
#[must_use]
pub(super) fn follows(found: &JobRecord, ours: &JobRecord) -> bool {
    found.run_id == ours.run_id && (found.segment, found.epoch) == (ours.segment, ours.epoch)
}

/// Whether a stop that has been noted ends a run that is taken up: one that came while it ran, or one
/// that its last owner had no time to find when it claimed it.
#[must_use]
pub(super) fn ends(tombstone: &Tombstone, record: &JobRecord) -> bool {
    let start =
        Incoming { run_id: record.run_id.clone(), published_at: record.message.published_at };
    is_stopping(tombstone, record) || cancels(tombstone, &start, record.claimed_at)
}

/// What comes after the end of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NextStep {
    /// The run has ended.
    Settle,
    /// The code is run again, after this pause.
    Restart(Duration),
    /// The attempt did not end by its own fault: another one begins, after this pause.
    Replace(Duration),
}

/// Pause before the next attempt of a run whose last one was lost; doubled while attempts are lost soon
/// after their start, one after the other.
const REPLACE_PAUSE: Duration = Duration::from_secs(1);

/// The longest of these pauses.
const MAX_REPLACE_PAUSE: Duration = Duration::from_mins(1);

/// An attempt that ran for this long was not lost soon after its start.
const STEADY: Duration = Duration::from_secs(10);

/// The longest pause between two restarts.
const MAX_RESTART_PAUSE: Duration = Duration::from_mins(5);

/// How often a run has begun anew so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Tally {
    /// Because its message says so.
    pub restarts: u32,
    /// Because attempts were lost soon after their start, one after the other.
    pub lost_in_a_row: u32,
}

impl Tally {
    /// The tally once `next` has followed on an attempt that ended with `result`.
    #[must_use]
    pub(super) fn and(self, next: NextStep, result: &ExecutionResult) -> Self {
        match next {
            NextStep::Settle => self,
            NextStep::Restart(_) => Self { restarts: self.restarts + 1, lost_in_a_row: 0 },
            NextStep::Replace(_) if was_steady(result) => Self { lost_in_a_row: 0, ..self },
            NextStep::Replace(_) => {
                Self { lost_in_a_row: self.lost_in_a_row.saturating_add(1), ..self }
            }
        }
    }
}

fn was_steady(result: &ExecutionResult) -> bool {
    result.duration_seconds >= STEADY.as_secs_f64()
}

/// Decides what comes after an attempt that ended with `result`. An attempt that was lost is
/// replaced: a long-running job's always, a terminating run's while it has attempts left.
#[must_use]
pub(super) fn after_end(job: &Job, result: &ExecutionResult, tally: Tally) -> NextStep {
    if result.verdict == Some(Verdict::Lost)
        && (job.is_long_running || may_retry(result.attempt, job.max_attempts))
    {
        let in_a_row = if was_steady(result) { 0 } else { tally.lost_in_a_row };
        let pause = REPLACE_PAUSE.saturating_mul(2_u32.saturating_pow(in_a_row));
        return NextStep::Replace(pause.min(MAX_REPLACE_PAUSE));
    }
    let restarts = tally.restarts;
    let Some(policy) = &job.restart else {
        return NextStep::Settle;
    };
    let wanted = matches!(
        (result.verdict, policy.when),
        (Some(Verdict::Failed | Verdict::OutOfMemory), _)
            | (Some(Verdict::Succeeded), RestartWhen::Always)
    );
    if wanted && restarts < policy.max_restarts {
        NextStep::Restart(restart_pause(policy, restarts))
    } else {
        NextStep::Settle
    }
}

fn restart_pause(policy: &RestartPolicy, restarts: u32) -> Duration {
    let doubled =
        Duration::from_secs(policy.backoff_seconds).saturating_mul(2_u32.saturating_pow(restarts));
    doubled.min(MAX_RESTART_PAUSE)
}

/// Whether a run that our infrastructure failed at this try is tried again; the first is 1.
#[must_use]
pub(super) fn may_retry(tries: u32, max_attempts: u32) -> bool {
    tries < max_attempts
}

/// Which try in a row this attempt is. A terminating run has so many attempts in all. Those of a
/// long-running job count from `first_try`, for one ran before that: however often it has been replaced or
/// restarted by then, it is not given up for a fault of a moment.
#[must_use]
pub(super) fn tries(is_long_running: bool, attempt: u32, first_try: u32) -> u32 {
    if is_long_running { attempt.saturating_sub(first_try).saturating_add(1) } else { attempt }
}

#[cfg(test)]
pub(super) mod tests;
