//! What comes after the end of an attempt, and how often a run is tried.

use std::time::Duration;

use crate::job::{ExecutionResult, Job, RestartPolicy, RestartWhen, ResultStatus, Verdict};

/// What comes after the end of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::worker) enum NextStep {
    /// The run has ended.
    Settle,
    /// The code is run again, after this pause.
    Restart(Duration),
    /// The attempt did not end by its own fault: another one begins, after this pause.
    Replace(Duration),
}

/// Pause before the next attempt of a run whose last one was lost; doubled while attempts are lost soon
/// after their start, one after the other.
pub(super) const REPLACE_PAUSE: Duration = Duration::from_secs(1);

/// The longest of these pauses.
const MAX_REPLACE_PAUSE: Duration = Duration::from_mins(1);

/// An attempt that ran for this long was not lost soon after its start.
const STEADY: Duration = Duration::from_secs(10);

/// The longest pause between two restarts.
pub(super) const MAX_RESTART_PAUSE: Duration = Duration::from_mins(5);

/// How often a run has begun anew so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::worker) struct Tally {
    /// Because its message says so.
    pub restarts: u32,
    /// Because attempts were lost soon after their start, one after the other.
    pub lost_in_a_row: u32,
}

impl Tally {
    /// The tally once `next` has followed on an attempt that ended with `result`.
    #[must_use]
    pub(in crate::worker) fn and(self, next: NextStep, result: &ExecutionResult) -> Self {
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
pub(in crate::worker) fn after_end(job: &Job, result: &ExecutionResult, tally: Tally) -> NextStep {
    let Some(verdict) = result.verdict.filter(|verdict| !verdict.is_final()) else {
        return NextStep::Settle;
    };
    if verdict == Verdict::Lost {
        if !job.is_long_running && !may_retry(result.attempt, job.max_attempts) {
            return NextStep::Settle;
        }
        let in_a_row = if was_steady(result) { 0 } else { tally.lost_in_a_row };
        let pause = REPLACE_PAUSE.saturating_mul(2_u32.saturating_pow(in_a_row));
        return NextStep::Replace(pause.min(MAX_REPLACE_PAUSE));
    }
    // The code ended by itself.
    let restarts = tally.restarts;
    let Some(policy) = &job.restart else {
        return NextStep::Settle;
    };
    let wanted = match policy.when {
        RestartWhen::Always => true,
        RestartWhen::OnFailure => verdict.status() == ResultStatus::Error,
    };
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
pub(in crate::worker) fn may_retry(tries: u32, max_attempts: u32) -> bool {
    tries < max_attempts
}

/// Which try in a row this attempt is. A terminating run has so many attempts in all. Those of a
/// long-running job count from `first_try`, for one ran before that: however often it has been replaced or
/// restarted by then, it is not given up for a fault of a moment.
#[must_use]
pub(in crate::worker) fn tries(is_long_running: bool, attempt: u32, first_try: u32) -> u32 {
    if is_long_running { attempt.saturating_sub(first_try).saturating_add(1) } else { attempt }
}
