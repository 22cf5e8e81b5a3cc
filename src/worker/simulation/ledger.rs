//! What was seen of a history, and what must hold at each of its steps.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use serde::Deserialize;

use crate::broker::OutgoingMessage;
use crate::job::{JobId, Run, RunId};

/// How long after the ack of a stop a launch may still begin that was decided before.
const DECIDED_BEFORE: Duration = Duration::from_secs(1);

/// A start that was published and confirmed.
#[derive(Debug, Clone)]
pub(super) struct Start {
    pub(super) job: JobId,
    pub(super) run: RunId,
    pub(super) is_long_running: bool,
    /// Whether the message must be rejected.
    pub(super) is_broken: bool,
    /// How often the message was published.
    pub(super) copies: u32,
    /// The id of the event that says that no run came of the message.
    pub(super) refusal: String,
    pub(super) at: Duration,
}

/// A stop that was published and confirmed.
#[derive(Debug, Clone)]
pub(super) struct Stop {
    pub(super) job: JobId,
    pub(super) run: Option<RunId>,
    pub(super) at: Duration,
    /// When nothing of it was left with the broker.
    pub(super) settled: Option<Duration>,
}

impl Stop {
    /// Whether a run must not be there once this stop is settled.
    pub(super) fn covers(&self, start: &Start) -> bool {
        let is_named = self.run.as_ref().is_none_or(|run| *run == start.run);
        self.job == start.job && is_named && start.at <= self.at
    }
}

/// How many requests to the store there were.
#[derive(Debug, Default)]
pub(super) struct Requests {
    by_process: BTreeMap<String, (u64, u64)>,
}

impl Requests {
    pub(super) fn count(&mut self, process: &str, is_write: bool) {
        if let Some((reads, writes)) = self.by_process.get_mut(process) {
            *(if is_write { writes } else { reads }) += 1;
        } else {
            let first = (u64::from(!is_write), u64::from(is_write));
            self.by_process.insert(process.to_owned(), first);
        }
    }

    pub(super) fn all(&self) -> u64 {
        self.by_process.values().map(|(reads, writes)| reads + writes).sum()
    }
}

/// A container that runs.
#[derive(Debug, Clone)]
struct Running {
    container: String,
    run: RunId,
}

/// How often a message may be published: by its publisher, and as a copy that waits or is sent on.
const MOST_COPIES: u32 = 150;

/// What was seen.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// What should not have been.
    pub(super) violations: Vec<String>,
    pub(super) starts: BTreeMap<RunId, Start>,
    pub(super) stops: BTreeMap<String, Stop>,
    /// How many copies of a message the broker has, and how many it has had.
    copies: BTreeMap<String, (i64, u32)>,
    running: BTreeMap<JobId, Vec<Running>>,
    begun: BTreeMap<(RunId, u32), Duration>,
    /// The content of each result, by its event's id, and how often it was published.
    pub(super) results: BTreeMap<String, (Bytes, u32)>,
    /// The verdict of each run.
    pub(super) verdicts: BTreeMap<RunId, String>,
    /// Runs that were told as duplicates.
    pub(super) duplicates: BTreeSet<RunId>,
    /// Of which messages there are dead letters.
    pub(super) dead: Vec<String>,
    /// Launches, whether or not a container came of them.
    pub(super) launches: Vec<(RunId, u32)>,
    pub(super) sigterms: BTreeMap<String, Duration>,
    pub(super) requests: Requests,
}

/// What the ledger reads of an event.
#[derive(Deserialize)]
struct Seen {
    id: String,
    data: SeenData,
}

#[derive(Deserialize)]
struct SeenData {
    run_id: Option<RunId>,
    state: Option<String>,
    verdict: Option<String>,
}

impl Ledger {
    pub(super) fn blame(&mut self, at: Duration, what: &str) {
        self.violations.push(format!("at {:.3} s: {what}", at.as_secs_f64()));
    }

    /// An event was published.
    pub(super) fn event(&mut self, body: &Bytes, at: Duration) {
        let seen: Seen = match serde_json::from_slice(body) {
            Ok(seen) => seen,
            Err(error) => return self.blame(at, &format!("an event cannot be read: {error}")),
        };
        if seen.data.state.as_deref() == Some("duplicate")
            && let Some(run) = &seen.data.run_id
        {
            self.duplicates.insert(run.clone());
        }
        let Some(verdict) = seen.data.verdict.filter(|_| seen.data.state.is_none()) else { return };
        if let Some(run) = seen.data.run_id {
            self.verdicts.entry(run).or_insert(verdict);
        }
        if let Some((first, times)) = self.results.get_mut(&seen.id) {
            *times += 1;
            // A refusal is not kept while the store is away: each copy of its message gets one of its own.
            if first != body && !seen.id.starts_with("refused/") {
                let first = String::from_utf8_lossy(first).into_owned();
                let now = String::from_utf8_lossy(body);
                let what = format!("the result {} is contradicted:\n{first}\n{now}", seen.id);
                self.blame(at, &what);
            }
        } else {
            self.results.insert(seen.id, (body.clone(), 1));
        }
    }

    /// A worker begins an attempt.
    pub(super) fn launch(&mut self, run: &Run, at: Duration) {
        self.launches.push((run.job.run_id.clone(), run.attempt));
        let Some(start) = self.starts.get(&run.job.run_id) else { return };
        let is_settled =
            |stop: &Stop| stop.settled.is_some_and(|settled| settled + DECIDED_BEFORE < at);
        let stop = self.stops.values().find(|stop| stop.covers(start) && is_settled(stop));
        if let Some(stop) = stop {
            let (run, attempt) = (&run.job.run_id, run.attempt);
            let what = format!("attempt {attempt} of {run} begins, although {stop:?}");
            self.blame(at, &what);
        }
    }

    /// A container begins to run.
    pub(super) fn container_runs(&mut self, container: &str, run: &Run, at: Duration) {
        let (job, run_id, attempt) = (&run.job.id, &run.job.run_id, run.attempt);
        if self.has_result(run_id) {
            self.blame(at, &format!("{container} begins after the result of its run"));
        }
        if self.begun.insert((run_id.clone(), attempt), at).is_some() {
            self.blame(at, &format!("attempt {attempt} of {run_id} begins a second time"));
        }
        if !run.job.is_long_running && attempt > run.job.max_attempts {
            self.blame(at, &format!("{run_id} has attempt {attempt}, more than it may have"));
        }
        let others = self.running.entry(job.clone()).or_default();
        let one = Running { container: container.to_owned(), run: run_id.clone() };
        let beside = others.clone();
        others.push(one);
        if run.job.is_long_running && !beside.is_empty() {
            self.blame(at, &format!("the bot {container} begins beside {beside:?}"));
        }
    }

    /// A container has ended.
    pub(super) fn container_ends(&mut self, container: &str, _: Duration) {
        for running in self.running.values_mut() {
            running.retain(|one| one.container != container);
        }
        self.running.retain(|_, running| !running.is_empty());
    }

    /// A container is asked to end.
    pub(super) fn sigterm(&mut self, container: &str, at: Duration) {
        self.sigterms.entry(container.to_owned()).or_insert(at);
    }

    /// Whether a run has a container that runs.
    pub(super) fn is_running(&self, run: &RunId) -> bool {
        self.running.values().flatten().any(|one| one.run == *run)
    }

    /// The broker has one more copy of a message.
    pub(super) fn copy_came(&mut self, message: &str, at: Duration) {
        let (now, all) = self.copies.entry(message.to_owned()).or_default();
        *now += 1;
        *all += 1;
        if *all == MOST_COPIES {
            self.blame(at, &format!("{message} goes in circles"));
        }
    }

    /// The broker has one copy less of a message.
    pub(super) fn copy_went(&mut self, message: &str, at: Duration) {
        let (copies, _) = self.copies.entry(message.to_owned()).or_default();
        *copies -= 1;
        if *copies == 0
            && let Some(stop) = self.stops.get_mut(message)
        {
            stop.settled.get_or_insert(at);
        }
    }

    /// A message came to the dead letters.
    pub(super) fn dead_letter(&mut self, message: &OutgoingMessage, _: Duration) {
        self.dead.push(message.message_id.clone().unwrap_or_default());
    }

    /// How many ends a run has had: its result, and that no run came of its message.
    pub(super) fn ends(&self, start: &Start) -> usize {
        let ids = [format!("{}/result", start.run), start.refusal.clone()];
        ids.iter().filter(|id| self.results.contains_key(*id)).count()
    }

    /// Whether a run has had its result.
    pub(super) fn has_result(&self, run: &RunId) -> bool {
        self.results.contains_key(&format!("{run}/result"))
    }

    /// Whether it was said of a message that it leads to no run, and no copy of it is left that may.
    pub(super) fn is_refused(&self, start: &Start) -> bool {
        let left = self.copies.get(&format!("m-{}", start.run)).map_or(0, |(now, _)| *now);
        left == 0
            && (self.duplicates.contains(&start.run) || self.results.contains_key(&start.refusal))
    }
}
