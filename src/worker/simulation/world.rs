//! What all of a simulation share: its chance, its clock, its trace and its ledger.

use std::time::Duration;

use fastrand::Rng;
use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use super::ledger::Ledger;

/// The time of day at which every history begins, in seconds since 1970: long ago, so that no machine takes a
/// message of a simulation for one from the future.
const BEGINNING: i64 = 1_704_067_200;

/// What a test breaks on purpose, to see that a history does not pass then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sabotage {
    /// The broker loses starts that it has confirmed.
    LosesStarts,
    /// The broker publishes each result a second time, with another content.
    ContradictsResults,
    /// The broker confirms dead letters, and keeps none.
    LosesDeadLetters,
    /// The broker keeps a copy of each message that was taken care of, and sends that.
    SendsAgain,
    /// The broker keeps locks whose connection is gone, and those that are freed.
    KeepsLocks,
    /// The store confirms stops, and keeps none.
    ForgetsStops,
    /// The store confirms the mark that only a stop of a job has come, and keeps none.
    ForgetsMarks,
    /// The store confirms the end of a run, and does not write it.
    ForgetsEnds,
    /// Bots run on without a lease.
    IgnoresLeases,
    /// The engine starts each container twice.
    StartsTwice,
    /// The engine runs an attempt beyond those that a run may have.
    RunsOnceMore,
    /// The store's listings do not tell versions.
    HidesVersions,
    /// A worker finds that it can run jobs, although its engine starts nothing.
    RehearsesNothing,
    /// The engine removes nothing.
    RemovesNothing,
    /// Once all faults are over, all containers are gone, and no start comes to its end.
    StartsNothing,
}

/// What all of a simulation share.
pub(super) struct World {
    rng: Mutex<Rng>,
    begun: Instant,
    trace: Option<Mutex<Vec<String>>>,
    /// What is broken on purpose.
    pub(super) sabotage: Option<Sabotage>,
    /// What has been seen so far.
    pub(super) ledger: Mutex<Ledger>,
    /// What goes on whoever lives: containers, messages in flight, connections that are noticed to be gone.
    pub(super) tasks: TaskTracker,
}

impl World {
    /// A world with this chance. With `is_traced` it keeps what happens.
    pub(super) fn new(seed: u64, is_traced: bool, sabotage: Option<Sabotage>) -> Self {
        Self {
            rng: Mutex::new(Rng::with_seed(seed)),
            begun: Instant::now(),
            trace: is_traced.then(Mutex::default),
            sabotage,
            ledger: Mutex::default(),
            tasks: TaskTracker::new(),
        }
    }

    /// How long the history has gone on.
    pub(super) fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }

    /// The time of day.
    pub(super) fn now(&self) -> Timestamp {
        let begun = Timestamp::from_second(BEGINNING).unwrap();
        begun + SignedDuration::try_from(self.elapsed()).unwrap()
    }

    /// Draws.
    pub(super) fn draw<T>(&self, from: impl FnOnce(&mut Rng) -> T) -> T {
        from(&mut self.rng.lock())
    }

    /// Whether something of this chance, in percent, comes about.
    pub(super) fn happens(&self, percent: u32) -> bool {
        self.draw(|rng| rng.u32(0..100)) < percent
    }

    /// A time between two numbers of milliseconds.
    pub(super) fn millis(&self, from: u64, to: u64) -> Duration {
        Duration::from_millis(self.draw(|rng| rng.u64(from..=to)))
    }

    /// Sleeps for a time between two numbers of milliseconds.
    pub(super) async fn pause(&self, from: u64, to: u64) {
        tokio::time::sleep(self.millis(from, to)).await;
    }

    /// Whether this is broken on purpose.
    pub(super) fn is(&self, sabotage: Sabotage) -> bool {
        self.sabotage == Some(sabotage)
    }

    /// Keeps a line of the trace: who did what.
    pub(super) fn note(&self, who: &str, what: impl FnOnce() -> String) {
        if let Some(trace) = &self.trace {
            let line = format!("{:>9.3} {who:<9} {}", self.elapsed().as_secs_f64(), what());
            trace.lock().push(line);
        }
    }

    /// The trace so far.
    pub(super) fn trace(&self) -> Vec<String> {
        self.trace.as_ref().map_or_else(Vec::new, |trace| trace.lock().clone())
    }

    /// Keeps in the ledger what was seen just now; what it says against that goes into the trace.
    pub(super) fn see(&self, seen: impl FnOnce(&mut Ledger, Duration)) {
        let mut ledger = self.ledger.lock();
        let before = ledger.violations.len();
        seen(&mut ledger, self.elapsed());
        for violation in &ledger.violations[before..] {
            self.note("ledger", || format!("VIOLATION: {violation}"));
        }
    }
}
