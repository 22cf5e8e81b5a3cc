//! What events tell of runs that go on.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::broker::{Binding, Broker, Feed};
use crate::facts::JobReport;
use crate::job::{Entrypoint, EventData, JobId, RunId, RunProgress, State, Status};

/// Of how many jobs is kept what was told. Of others, only the journal is known.
const MAX_KEPT: usize = 5_000;

/// The last of each that was told of a run.
#[derive(Debug, Clone, Default)]
pub(super) struct Last {
    run: Option<RunId>,
    pub(super) kind: Option<Entrypoint>,
    pub(super) stage: Option<State>,
    pub(super) progress: Option<RunProgress>,
}

/// What was told.
#[derive(Clone, Default)]
pub(super) struct Told(Arc<Mutex<HashMap<JobId, Last>>>);

impl Told {
    /// Hears events, until `ends`.
    pub(super) fn hear(broker: Broker, tasks: &TaskTracker, ends: CancellationToken) -> Self {
        let told = Self::default();
        let keeps = told.clone();
        tasks.spawn(async move {
            let events = broker.subscribe(vec![Binding::all(Feed::Status)], ends).await;
            let mut events = match events {
                Ok(events) => events,
                Err(error) => {
                    tracing::debug!(%error, "could not hear how far runs are");
                    return;
                }
            };
            while let Some(event) = events.next().await {
                if let Ok(EventData::Status(status)) = event.map(|event| event.data) {
                    keeps.note(status);
                }
            }
        });
        told
    }

    fn note(&self, status: Status) {
        let mut told = self.0.lock();
        match status.state {
            // They are about a message, not about the run.
            State::Duplicate | State::NotRunning => {}
            State::Finished => {
                told.remove(&status.id);
            }
            stage => {
                if told.len() >= MAX_KEPT && !told.contains_key(&status.id) {
                    return;
                }
                let last = told.entry(status.id).or_default();
                if last.run != status.run_id || stage == State::Preparing {
                    // A new attempt begins from nothing.
                    *last = Last { run: status.run_id, ..Last::default() };
                }
                last.kind = status.entrypoint.or(last.kind);
                last.stage = Some(stage);
                last.progress = status.progress.or(last.progress.take());
            }
        }
    }

    /// What was told of the run of a job.
    pub(super) fn of(&self, job: &JobReport) -> Last {
        let told = self.0.lock();
        let last = told.get(&job.id).filter(|last| last.run.as_ref() == Some(&job.run_id));
        last.cloned().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(state: &str, run: &str, percent: Option<u8>) -> Status {
        let progress = percent.map(|percent| {
            serde_json::json!({
                "percent": percent, "done": percent, "failed": 0, "total": 100, "per_second": 0.0,
            })
        });
        serde_json::from_value(serde_json::json!({
            "id": "bot-1", "run_id": run, "state": state, "attempt": 1, "worker": "w",
            "entrypoint": "backtest", "progress": progress,
        }))
        .unwrap()
    }

    #[test]
    fn the_last_of_each_is_kept_until_the_run_ends() {
        let told = Told::default();
        let of = |run: &str| {
            let last = told.0.lock().get(&"bot-1".parse().unwrap()).cloned();
            last.filter(|last| last.run == Some(run.parse().unwrap()))
        };
        told.note(status("running", "r1", Some(40)));
        told.note(status("running", "r1", None));
        told.note(status("duplicate", "r2", None));
        let last = of("r1").unwrap();
        assert!(last.progress.is_some() && last.kind == Some(Entrypoint::Backtest));
        told.note(status("preparing", "r1", None));
        assert!(of("r1").unwrap().progress.is_none(), "a new attempt");
        told.note(status("running", "r3", None));
        assert!(of("r1").is_none() && of("r3").is_some());
        told.note(status("finished", "r3", None));
        assert!(told.0.lock().is_empty());
    }
}
