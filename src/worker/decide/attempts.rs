//! What follows the end of an attempt, and how often a run is tried.

use std::time::Duration;

use crate::job::{
    ExecutionResult, FollowUp, Job, RestartPolicy, RestartWhen, ResultStatus, Verdict,
};

/// What follows the end of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::worker) enum NextStep {
    /// The run has ended.
    Settle,
    /// The code is run again, after this pause.
    Restart(Duration),
    /// The attempt ended, but not by its own fault. Another one begins, after this pause.
    Replace(Duration),
}

/// The pause before the next attempt after a lost one. It doubles while attempts are lost soon
/// after their start, one after the other.
pub(super) const REPLACE_PAUSE: Duration = Duration::from_secs(1);

/// The longest of these pauses.
const MAX_REPLACE_PAUSE: Duration = Duration::from_mins(1);

/// An attempt that ran for this long was not lost soon after its start.
const STEADY: Duration = Duration::from_secs(10);

/// The longest pause between two restarts.
pub(super) const MAX_RESTART_PAUSE: Duration = Duration::from_mins(5);

/// How often a run has begun again so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::worker) struct Tally {
    /// Because its message says so.
    pub restarts: u32,
    /// Because attempts were lost soon after their start, one after the other.
    pub lost_in_a_row: u32,
}

impl Tally {
    /// The tally after `next` has followed an attempt that ended with `result`.
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

/// Decides what follows an attempt that ended with `result`. A lost attempt is replaced: of a
/// long-running job always, of a terminating run while it has attempts left.
#[must_use]
pub(in crate::worker) fn after_end(job: &Job, result: &ExecutionResult, tally: Tally) -> NextStep {
    let Some(verdict) = result.verdict else {
        return NextStep::Settle;
    };
    match verdict.follow_up() {
        FollowUp::Nothing => NextStep::Settle,
        FollowUp::Restart => restart(job, verdict, tally.restarts),
        FollowUp::Replacement => replace(job, result, tally.lost_in_a_row),
    }
}

/// Runs the code again if the message asks for it.
fn restart(job: &Job, verdict: Verdict, restarts: u32) -> NextStep {
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

/// Begins another attempt if the run has one left.
fn replace(job: &Job, result: &ExecutionResult, lost_in_a_row: u32) -> NextStep {
    if !job.is_long_running && !may_retry(result.attempt, job.max_attempts) {
        return NextStep::Settle;
    }
    let in_a_row = if was_steady(result) { 0 } else { lost_in_a_row };
    let pause = REPLACE_PAUSE.saturating_mul(2_u32.saturating_pow(in_a_row));
    NextStep::Replace(pause.min(MAX_REPLACE_PAUSE))
}

fn restart_pause(policy: &RestartPolicy, restarts: u32) -> Duration {
    let doubled =
        Duration::from_secs(policy.backoff_seconds).saturating_mul(2_u32.saturating_pow(restarts));
    doubled.min(MAX_RESTART_PAUSE)
}

/// Whether a run is tried again after the infrastructure failed at this try. The first try is 1.
#[must_use]
pub(in crate::worker) fn may_retry(tries: u32, max_attempts: u32) -> bool {
    tries < max_attempts
}

/// The number of tries in a row after which a run, which our infrastructure failed, waits for its next
/// try; `None` if the run is given up. A bot that has run before is never given up.
#[must_use]
pub(in crate::worker) fn next_try(job: &Job, attempt: u32, first_try: u32) -> Option<u32> {
    let tries = tries(job.is_long_running, attempt, first_try);
    let has_run = job.is_long_running && first_try > 1;
    (has_run || may_retry(tries, job.max_attempts)).then_some(tries)
}

/// Which try in a row this attempt is. For a terminating run, all attempts count. For a
/// long-running job, they count from `first_try`, because an attempt before that ran. So a job that
/// was often replaced or restarted is not given up for a short fault.
#[must_use]
pub(in crate::worker) fn tries(is_long_running: bool, attempt: u32, first_try: u32) -> u32 {
    if is_long_running { attempt.saturating_sub(first_try).saturating_add(1) } else { attempt }
}
