//! Removes orphans on our engine: containers and directories that no run needs any more, because
//! the run has ended or gone on elsewhere while they could not be reached.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::time::sleep;

use crate::job::{JobId, RunId};
use crate::runner::orchestrator::EngineError;
use crate::storage::{JobRecord, JournalError, Place, RecordState};
use crate::worker::active::ActiveRuns;
use crate::worker::context::{Context, Tools};

/// The pause between two sweeps.
const EVERY: Duration = Duration::from_secs(20);

/// How long the owner of an ended run may take to remove its traces by itself.
const OWN_TIME: SignedDuration = SignedDuration::from_secs(60);

/// What is left of an attempt.
pub(in crate::worker) struct Left<'a> {
    pub run: &'a RunId,
    pub attempt: u32,
    pub kind: Kind,
}

#[derive(Clone, Copy)]
pub(in crate::worker) enum Kind {
    /// On our engine, whoever made it.
    Container,
    /// In our directory of the jobs' directories.
    Directory,
}

/// Whether the traces of an attempt are orphans, according to its job's record. Nobody starts an
/// attempt that the journal does not know.
pub(in crate::worker) fn is_orphan(
    record: Option<&JobRecord>,
    left: &Left<'_>,
    ours: &Place,
    now: Timestamp,
) -> bool {
    let Some(record) = record else {
        return true;
    };
    if record.run_id != *left.run {
        return true;
    }
    match record.state {
        RecordState::Finished => {
            record.finished_at.is_none_or(|at| now.duration_since(at) > OWN_TIME)
        }
        // The worker that put it back has removed its traces.
        RecordState::Waiting => now.duration_since(record.claimed_at) > OWN_TIME,
        RecordState::Active => {
            let runs_here = record.place.as_ref().is_none_or(|place| match left.kind {
                Kind::Container => place.engine == ours.engine,
                Kind::Directory => place.engine == ours.engine && place.temp_dir == ours.temp_dir,
            });
            left.attempt < record.attempt || !runs_here
        }
    }
}

/// Why a sweep did not finish.
#[derive(Debug, thiserror::Error)]
enum SweepError {
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error(transparent)]
    Journal(#[from] JournalError),
}

/// Sweeps at intervals.
pub(in crate::worker) async fn sweep_now_and_then(ctx: Arc<Context>) {
    loop {
        if let Err(error) = sweep(&ctx.tools, &ctx.known.active).await {
            tracing::debug!(%error, "could not sweep orphans");
        }
        sleep(EVERY).await;
    }
}

async fn sweep(tools: &Tools, active: &ActiveRuns) -> Result<(), SweepError> {
    for (info, labels) in tools.runner.list_all_containers().await? {
        let left = Left { run: &labels.run_id, attempt: labels.attempt, kind: Kind::Container };
        if is_left_alone(tools, active, &labels.id, &left).await? {
            tracing::warn!(job.id = %labels.id, attempt = labels.attempt, container.id = %info.id, "removing an orphaned container");
            tools.runner.remove_leftover(&info.id).await;
        }
    }
    for found in tools.runner.list_directories().await {
        let left = Left { run: &found.run_id, attempt: found.attempt, kind: Kind::Directory };
        if is_left_alone(tools, active, &found.id, &left).await? {
            tracing::warn!(job.id = %found.id, attempt = found.attempt, "removing an orphaned directory");
            tools.runner.remove_directory(&found).await;
        }
    }
    Ok(())
}

async fn is_left_alone(
    tools: &Tools,
    active: &ActiveRuns,
    id: &JobId,
    left: &Left<'_>,
) -> Result<bool, JournalError> {
    if active.has(id) {
        return Ok(false);
    }
    let record = match tools.journal.read(id).await {
        // Nobody knows whose it is.
        Err(error) if error.is_corrupt() => return Ok(false),
        found => found?.map(|(record, _)| record),
    };
    // Check again: it may have been claimed, and its container started, since it was listed.
    Ok(is_orphan(record.as_ref(), left, &tools.place, tools.machine.now()) && !active.has(id))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worker::decide;

    fn place(engine: &str) -> Place {
        Place { host: "h".to_owned(), engine: engine.to_owned(), temp_dir: "/t".to_owned() }
    }

    fn record(state: RecordState, engine: &str) -> JobRecord {
        JobRecord {
            place: Some(place(engine)),
            attempt: 2,
            claimed_at: Timestamp::from_second(1_000).unwrap(),
            finished_at: Timestamp::from_second(1_000).ok(),
            ..decide::tests::record("r1", 0, state)
        }
    }

    #[test]
    fn what_a_run_still_needs_is_never_an_orphan() {
        use RecordState::{Active, Finished, Waiting};
        let (soon, late) = (Timestamp::from_second(1_010), Timestamp::from_second(1_070));
        for (record, run, attempt, now, expected) in [
            (None, "r1", 1, &soon, true),
            (Some(record(Active, "here")), "r1", 2, &late, false),
            (Some(record(Active, "here")), "r1", 3, &late, false),
            (Some(record(Active, "here")), "r1", 1, &soon, true),
            (Some(record(Active, "elsewhere")), "r1", 2, &soon, true),
            (Some(record(Active, "here")), "r0", 2, &soon, true),
            (Some(record(Finished, "here")), "r1", 2, &soon, false),
            (Some(record(Finished, "here")), "r1", 2, &late, true),
            (Some(record(Waiting, "here")), "r1", 2, &soon, false),
        ] {
            let run = run.parse().unwrap();
            let now = *now.as_ref().unwrap();
            for kind in [Kind::Container, Kind::Directory] {
                let left = Left { run: &run, attempt, kind };
                let is = is_orphan(record.as_ref(), &left, &place("here"), now);
                assert_eq!(is, expected, "{record:?} {attempt}");
            }
        }
    }
}
