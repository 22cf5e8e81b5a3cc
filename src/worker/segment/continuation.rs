//! How a run goes on whose segment is taken up.

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

pub(in crate::worker) fn continuation(
    job: &Job,
    record: &JobRecord,
    container: Option<(&str, ContainerState, u32)>,
) -> Continuation {
    // One of an earlier attempt is outdated: a later one began elsewhere.
    if let Some((id, ContainerState::Running | ContainerState::Exited, attempt)) = container
        && attempt == record.attempt
    {
        return Continuation::Adopt { container: id.to_owned(), attempt };
    }
    let attempt = match record.state {
        // It was put aside before it reached the broker: this attempt has not begun.
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
    use crate::worker::decide::tests::record;
    use crate::worker::life;

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
            // A later one has begun elsewhere.
            (Active, 2, Some((Running, 1)), launch(3), launch(3)),
            (Active, 2, Some((Exited, 1)), launch(3), launch(3)),
            (Waiting, 2, Some((Exited, 1)), launch(2), launch(2)),
            (Waiting, 3, None, launch(3), launch(3)),
            (Active, 3, None, Continuation::Lost, launch(4)),
        ] {
            let record = JobRecord { attempt, ..record("r1", 0, state) };
            let left = container.map(|(state, attempt)| ("it", state, attempt));
            let what = format!("{state:?} {attempt} {container:?}");
            assert_eq!(continuation(&life::job(false), &record, left), backtest, "{what}");
            assert_eq!(continuation(&life::job(true), &record, left), bot, "{what}");
        }
    }
}
