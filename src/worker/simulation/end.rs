//! How a simulated run has ended.

use super::engine::{Container, Ended};
use super::runner::Managed;
use crate::job::ExecutionResult;
use crate::job::judging::{EndCause, Ending, ResultFile, Said, judge};

fn cause(managed: &Managed, ended: Ended) -> EndCause {
    let unseen = managed.adopted_at.get().is_some_and(|adopted| ended.at < *adopted);
    if let Some(reason) = managed.reason.get() {
        EndCause::StopRequested(reason.clone())
    } else if ended.lease_expired {
        EndCause::LeaseExpired
    } else if unseen && [137, 143, 255].contains(&ended.exit_code) {
        EndCause::EngineLost
    } else {
        EndCause::Itself
    }
}

/// The result of a run whose container has ended, as a runner judges it.
pub(super) fn result(
    worker: &str,
    managed: &Managed,
    container: &Container,
    ended: Ended,
) -> ExecutionResult {
    let run = &managed.run;
    let is_well = !run.job.is_long_running && ended.exit_code == 0;
    let judgement = judge(&Ending {
        cause: cause(managed, ended),
        exit_code: Some(ended.exit_code),
        oom_killed: false,
        heap_was_full: false,
        memory_mb: run.job.limits.memory_mb,
        engine_error: None,
        result: if is_well { ResultFile::Valid(Said::default()) } else { ResultFile::NotExpected },
    });
    let mut result = ExecutionResult::running(run, worker, Some(container.id.clone()))
        .conclude(judgement.verdict, judgement.message);
    result.exit_code = Some(ended.exit_code);
    result.finished_at = ended.at;
    result.started_at = container.started_at();
    result.duration_seconds = result
        .started_at
        .map_or(0.0, |began| ended.at.duration_since(began).as_secs_f64().max(0.0));
    result
}
