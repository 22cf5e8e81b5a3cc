//! What must hold once all faults are over.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use super::engine::Program;
use super::ledger::{Ledger, Start};
use super::plan::StartPlan;
use super::play::Stage;
use super::worker::NAMESPACE;
use crate::job::RunId;

/// How long bots may take to come back once there is room: a lease and its margin, a retry step, and their start.
const BOTS_ARE_BACK: Duration = Duration::from_secs(90);

/// How long everything may take to be told.
const TOLD: Duration = Duration::from_secs(240);

/// How long what is left of ended runs may stay: the time of their owners, and until the next sweep.
const SWEPT: Duration = Duration::from_secs(100);

/// How long a worker may take to drain.
const DRAINED: Duration = Duration::from_secs(90);

fn is_covered(ledger: &Ledger, start: &Start) -> bool {
    ledger.stops.values().any(|stop| stop.covers(start))
}

/// Messages that must be rejected and are no dead letters yet.
fn broken_without_letter(ledger: &Ledger) -> Vec<String> {
    let broken = ledger.starts.values().filter(|start| start.is_broken);
    let messages = broken.map(|start| format!("m-{}", start.run));
    messages.filter(|message| !ledger.dead.contains(message)).collect()
}

impl Stage {
    fn blame(&self, what: impl FnOnce() -> String) {
        self.world.see(|ledger, at| ledger.blame(at, &what()));
    }

    fn is_blamed(&self) -> bool {
        !self.world.ledger.lock().violations.is_empty()
    }

    /// Waits until nothing is said any more, for a while at most; then says what is.
    async fn until_nothing(&self, within: Duration, said: impl Fn() -> Vec<String>) -> Vec<String> {
        let end = self.world.elapsed() + within;
        loop {
            let left = said();
            if left.is_empty() || self.world.elapsed() >= end || self.is_blamed() {
                return left;
            }
            sleep(Duration::from_secs(2)).await;
        }
    }

    /// Lets everything settle, and says what should not be.
    pub(super) async fn reckon(self: &Arc<Self>) {
        if self.is_blamed() {
            return;
        }
        let missing = self.until_nothing(BOTS_ARE_BACK, || self.missing_bots()).await;
        if !missing.is_empty() {
            self.blame(|| format!("bots are not back: {missing:?}"));
        }
        let bots: Vec<_> = {
            let ledger = self.world.ledger.lock();
            let bots = ledger.starts.values().filter(|start| start.is_long_running);
            bots.map(|start| start.job.to_string()).collect()
        };
        for job in bots {
            self.publish_stop(&job, None);
        }
        let left = self.until_nothing(TOLD, || self.untold()).await;
        if !left.is_empty() {
            self.blame(|| format!("these starts have no end: {left:?}"));
        }
        self.until_nothing(TOLD, || broken_without_letter(&self.world.ledger.lock())).await;
        self.count_ends();
        self.start_again().await;
        self.leave_nothing().await;
    }

    /// Each start has one end. What must be rejected has a dead letter; more than one only where something went wrong.
    fn count_ends(&self) {
        let (starts, dead) = {
            let ledger = self.world.ledger.lock();
            let starts: Vec<_> =
                ledger.starts.values().map(|one| (one.clone(), ledger.ends(one))).collect();
            (starts, ledger.dead.clone())
        };
        for (start, ends) in starts {
            // One that comes again after it was refused may run: while the store is away nothing keeps a refusal, and
            // the ack of the message may be lost, or it may be published again.
            if ends > 1 && start.copies == 1 && self.is_calm() {
                self.blame(|| format!("{} has {ends} ends", start.run));
            }
            let message = format!("m-{}", start.run);
            let letters = dead.iter().filter(|id| **id == message).count();
            if start.is_broken && (letters == 0 || (letters > 1 && self.is_calm())) {
                self.blame(|| format!("{} has {letters} dead letters", start.run));
            }
        }
    }

    /// Starts without an end.
    fn untold(&self) -> Vec<String> {
        let ledger = self.world.ledger.lock();
        let starts = ledger.starts.values().filter(|start| !start.is_broken);
        let open = starts.filter(|start| !self.is_told(&ledger, start));
        open.map(|start| start.run.to_string()).collect()
    }

    /// Whether a run has had its one end, or was told that it has none. A copy of its message may have been told so,
    /// while another one runs.
    fn is_told(&self, ledger: &Ledger, start: &Start) -> bool {
        ledger.has_result(&start.run) || (ledger.is_refused(start) && !self.is_active(start))
    }

    /// Whether the journal has a run as one that is not over.
    fn is_active(&self, start: &Start) -> bool {
        let key = format!("{NAMESPACE}/jobs/{}.json", start.job);
        let objects = self.servers.objects.lock();
        let Some(text) = objects.has(&key).then(|| objects.text(&key)) else { return false };
        let record: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
        record["run_id"] == start.run.as_str() && record["state"] == "active"
    }

    /// Bots that should run and do not.
    fn missing_bots(&self) -> Vec<String> {
        let ledger = self.world.ledger.lock();
        let bots = ledger.starts.values().filter(|start| start.is_long_running && !start.is_broken);
        let missing = bots.filter(|start| {
            !self.is_told(&ledger, start)
                && !is_covered(&ledger, start)
                && !ledger.is_running(&start.run)
        });
        missing.map(|start| start.run.to_string()).collect()
    }

    /// A job whose result is out can be started again.
    async fn start_again(&self) {
        if self.is_blamed() {
            return;
        }
        sleep(Duration::from_secs(5)).await;
        let jobs: std::collections::BTreeSet<_> = {
            let ledger = self.world.ledger.lock();
            let starts = ledger.starts.values().filter(|start| !start.is_broken);
            starts.map(|start| start.job.to_string()).collect()
        };
        let mut runs = Vec::new();
        for job in jobs {
            let run = format!("{job}-again");
            runs.push(run.parse::<RunId>().unwrap());
            self.publish_start(&StartPlan {
                job,
                run,
                is_long_running: false,
                is_broken: false,
                program: Program {
                    ends_after: Some(Duration::from_secs(1)),
                    exit_code: 0,
                    reaction: Duration::from_millis(100),
                },
            });
        }
        let unsuccessful = || {
            let ledger = self.world.ledger.lock();
            let verdict = |run: &RunId| ledger.verdicts.get(run).map(String::as_str);
            let failed = runs.iter().filter(|run| verdict(run) != Some("succeeded"));
            failed.map(|run| format!("{run}: {:?}", verdict(run))).collect()
        };
        let left = self.until_nothing(TOLD, unsuccessful).await;
        if !left.is_empty() {
            self.blame(|| format!("these jobs cannot be started again: {left:?}"));
        }
    }

    /// Nothing is left, neither while the workers live nor when they have ended.
    async fn leave_nothing(&self) {
        if self.is_blamed() {
            return;
        }
        let left = self.until_nothing(SWEPT, || self.left()).await;
        if !left.is_empty() {
            self.blame(|| format!("this is left: {left:?}"));
        }
        if tokio::time::timeout(DRAINED, self.drain()).await.is_err() {
            self.blame(|| "a worker does not end when it is told to".to_owned());
        }
        sleep(Duration::from_secs(30)).await;
        let locked = self.servers.broker.contents().locked();
        if !locked.is_empty() {
            self.blame(|| format!("the locks of segments {locked:?} are left"));
        }
        let left = self.left();
        if !left.is_empty() {
            self.blame(|| format!("this is left after the drain: {left:?}"));
        }
    }

    fn left(&self) -> Vec<String> {
        let mut left = Vec::new();
        for site in &self.sites {
            left.extend(
                site.engine.all().iter().map(|container| format!("container {}", container.id)),
            );
            left.extend(
                site.engine.directories.lock().iter().map(|key| format!("directory {key:?}")),
            );
        }
        let objects = self.servers.objects.lock();
        left.extend(objects.keys(&format!("{NAMESPACE}/segments/")).into_iter().cloned());
        drop(objects);
        left.extend(self.servers.broker.left());
        left
    }
}
