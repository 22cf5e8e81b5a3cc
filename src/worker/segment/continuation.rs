//! How a run goes on after its segment has a new owner.

use crate::job::Job;
use crate::runner::orchestrator::ContainerState;
use crate::storage::{JobRecord, RecordState};

/// How a run goes on, given what is left of its container. Pure.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::worker) enum Continuation {
    Adopt { container: String, attempt: u32 },
    Launch { attempt: u32 },
    Lost,
}

/// The container that is left of a run.
#[derive(Debug, Clone, Copy)]
pub(in crate::worker) struct Left<'a> {
    pub(in crate::worker) id: &'a str,
    pub(in crate::worker) state: ContainerState,
    pub(in crate::worker) attempt: u32,
    /// Whether the attempt has begun in it.
    pub(in crate::worker) has_begun: bool,
}

pub(in crate::worker) fn continuation(
    job: &Job,
    record: &JobRecord,
    left: Option<Left<'_>>,
) -> Continuation {
    // A container of an earlier attempt is outdated: a later attempt began elsewhere.
    let left = left.filter(|left| left.attempt == record.attempt);
    if let Some(Left { id, state, attempt, has_begun: true }) = left
        && matches!(state, ContainerState::Running | ContainerState::Exited)
    {
        return Continuation::Adopt { container: id.to_owned(), attempt };
    }
    let attempt = match record.state {
        // It was only about to begin.
        RecordState::Active if left.is_some_and(|left| !left.has_begun) => record.attempt,
        // It was put back before its message reached the broker: this attempt has not begun.
        RecordState::Waiting => record.attempt,
        RecordState::Active | RecordState::Finished => record.attempt + 1,
    };
    if job.is_long_running || attempt <= job.max_attempts {
        Continuation::Launch { attempt }
    } else {
        Continuation::Lost
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worker::decide::tests::{a_job, record};

    #[test]
    fn the_latest_attempt_is_taken_up_and_what_is_lost_runs_again_while_it_may() {
        use ContainerState::{Created, Exited, Running};
        use RecordState::{Active, Waiting};
        let adopt = |attempt| Continuation::Adopt { container: "it".to_owned(), attempt };
        let launch = |attempt| Continuation::Launch { attempt };
        for (state, attempt, container, backtest, bot) in [
            (Active, 2, Some((Running, 2)), adopt(2), adopt(2)),
            (Active, 2, Some((Exited, 2)), adopt(2), adopt(2)),
            (Active, 2, Some((Created, 2)), launch(3), launch(3)),
            (Active, 2, None, launch(3), launch(3)),
            // A later attempt has begun elsewhere.
            (Active, 2, Some((Running, 1)), launch(3), launch(3)),
            (Active, 2, Some((Exited, 1)), launch(3), launch(3)),
            (Waiting, 2, Some((Exited, 1)), launch(2), launch(2)),
            (Waiting, 3, None, launch(3), launch(3)),
            (Active, 3, None, Continuation::Lost, launch(4)),
        ] {
            let record = JobRecord { attempt, ..record("r1", 0, state) };
            let left = container.map(|(state, attempt)| Left {
                id: "it",
                state,
                attempt,
                has_begun: true,
            });
            let what = format!("{state:?} {attempt} {container:?}");
            assert_eq!(continuation(&a_job(false), &record, left), backtest, "{what}");
            assert_eq!(continuation(&a_job(true), &record, left), bot, "{what}");
        }
    }

    #[test]
    fn an_attempt_that_had_not_begun_in_its_container_is_not_spent() {
        use ContainerState::{Exited, Running};
        for (attempt, state, of, expected) in [
            (3, Running, 3, Continuation::Launch { attempt: 3 }),
            (3, Exited, 3, Continuation::Launch { attempt: 3 }),
            (3, Running, 2, Continuation::Lost),
        ] {
            let record = JobRecord { attempt, ..record("r1", 0, RecordState::Active) };
            let left = Left { id: "it", state, attempt: of, has_begun: false };
            assert_eq!(continuation(&a_job(false), &record, Some(left)), expected);
        }
    }
}
