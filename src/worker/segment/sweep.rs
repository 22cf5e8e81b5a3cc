//! Removes orphans on our engine: containers and directories that no run needs any more, because
//! the run has ended or gone on elsewhere while they could not be reached.

use std::collections::{HashMap, HashSet};
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

/// How many sweeps lie between two looks at the same attempt at most: an hour.
const MAX_PAUSE: u64 = 180;

/// A container of this age is some worker's that has just made it.
const YOUNG: SignedDuration = SignedDuration::from_secs(20);

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

/// What earlier sweeps found to be needed: traces of runs that other workers have on this engine. They
/// are looked at less and less often. Otherwise each bot beside this worker would cost a request a sweep.
#[derive(Debug, Default)]
struct Needed {
    sweeps: u64,
    looks: HashMap<(RunId, u32), Look>,
}

#[derive(Debug)]
struct Look {
    /// The sweep that looks again.
    next: u64,
    /// After how many sweeps that is.
    pause: u64,
}

impl Needed {
    /// Begins a sweep.
    fn begin(&mut self) {
        self.sweeps += 1;
    }

    /// Whether this sweep looks at an attempt.
    fn is_due(&self, run: &RunId, attempt: u32) -> bool {
        let look = self.looks.get(&(run.clone(), attempt));
        look.is_none_or(|look| look.next <= self.sweeps)
    }

    /// Keeps that an attempt's traces are needed.
    fn keep(&mut self, run: &RunId, attempt: u32) {
        let look = self.looks.entry((run.clone(), attempt)).or_insert(Look { next: 0, pause: 0 });
        look.pause = (look.pause * 2).clamp(1, MAX_PAUSE);
        look.next = self.sweeps + look.pause;
    }

    /// Forgets attempts that have no traces any more.
    fn end(&mut self, there: &HashSet<(RunId, u32)>) {
        self.looks.retain(|attempt, _| there.contains(attempt));
    }
}

/// Sweeps at intervals.
pub(in crate::worker) async fn sweep_now_and_then(ctx: Arc<Context>) {
    let mut needed = Needed::default();
    loop {
        if let Err(error) = sweep(&ctx.tools, &ctx.known.active, &mut needed).await {
            tracing::debug!(%error, "could not sweep orphans");
        }
        sleep(EVERY).await;
    }
}

async fn sweep(tools: &Tools, active: &ActiveRuns, needed: &mut Needed) -> Result<(), SweepError> {
    needed.begin();
    let mut there = HashSet::new();
    for (info, labels) in tools.runner.list_all_containers().await? {
        let (run, attempt) = (&labels.run_id, labels.attempt);
        there.insert((run.clone(), attempt));
        let age = info.created_at.map(|at| tools.machine.now().duration_since(at));
        if age.is_some_and(|age| age < YOUNG) {
            needed.keep(run, attempt);
            continue;
        }
        let left = Left { run, attempt, kind: Kind::Container };
        if is_left_alone(tools, active, needed, &labels.id, &left).await? {
            tracing::warn!(job.id = %labels.id, attempt, container.id = %info.id, "removing an orphaned container");
            tools.runner.remove_leftover(&info.id).await;
        }
    }
    for found in tools.runner.list_directories().await {
        let (run, attempt) = (&found.run_id, found.attempt);
        there.insert((run.clone(), attempt));
        let left = Left { run, attempt, kind: Kind::Directory };
        if is_left_alone(tools, active, needed, &found.id, &left).await? {
            tracing::warn!(job.id = %found.id, attempt, "removing an orphaned directory");
            tools.runner.remove_directory(&found).await;
        }
    }
    needed.end(&there);
    Ok(())
}

async fn is_left_alone(
    tools: &Tools,
    active: &ActiveRuns,
    needed: &mut Needed,
    id: &JobId,
    left: &Left<'_>,
) -> Result<bool, JournalError> {
    if active.has(id) || !needed.is_due(left.run, left.attempt) {
        return Ok(false);
    }
    let record = match tools.journal.read(id).await {
        // Nobody knows whose it is.
        Err(error) if error.is_corrupt() => return Ok(false),
        found => found?.map(|(record, _)| record),
    };
    // Check again: it may have been claimed, and its container started, since it was listed.
    let is_orphan = is_orphan(record.as_ref(), left, &tools.place, tools.machine.now());
    if !is_orphan {
        needed.keep(left.run, left.attempt);
    }
    Ok(is_orphan && !active.has(id))
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

    #[test]
    fn what_is_needed_is_looked_at_less_and_less_often() {
        let (mut needed, run): (_, RunId) = (Needed::default(), "r1".parse().unwrap());
        let there = HashSet::from([(run.clone(), 1)]);
        let mut looks = Vec::new();
        for sweep in 1..=600 {
            needed.begin();
            if needed.is_due(&run, 1) {
                looks.push(sweep);
                needed.keep(&run, 1);
            }
            needed.end(&there);
        }
        assert_eq!(looks, [1, 2, 4, 8, 16, 32, 64, 128, 256, 436]);
        assert!(needed.is_due(&run, 2), "another attempt is another question");
        needed.end(&HashSet::new());
        needed.begin();
        assert!(needed.is_due(&run, 1), "it was gone in between");
    }
}
