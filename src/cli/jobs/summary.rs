//! One job of a list. Pure.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::cli::time::{ago, took};
use crate::job::{EventData, ExecutionResult, JobId, ResultStatus, RunId, Verdict};
use crate::storage::{JobRecord, RecordState};

/// A job's latest run, without its message and its output.
pub(super) struct Summary {
    id: JobId,
    run: RunId,
    pub(super) state: RecordState,
    pub(super) segment: u32,
    attempt: u32,
    /// Who runs it or ran it, if that is known.
    pub(super) worker: Option<String>,
    pub(super) begun_at: Timestamp,
    finished_at: Option<Timestamp>,
    ended: Option<Ended>,
}

/// How a run ended.
struct Ended {
    verdict: Option<Verdict>,
    message: String,
    seconds: f64,
}

/// The longest name of a worker in a row, in characters: a table has room for 80.
const WORKER_WIDTH: usize = 16;

impl Summary {
    pub(super) fn of(record: &JobRecord) -> Self {
        let result = record.result.as_ref().and_then(|event| match &event.data {
            EventData::Result(result) => Some(result),
            EventData::Status(_) => None,
        });
        let ended = |result: &ExecutionResult| Ended {
            verdict: result.verdict,
            message: result.message.clone(),
            seconds: result.duration_seconds,
        };
        Self {
            id: record.id.clone(),
            run: record.run_id.clone(),
            state: record.state,
            segment: record.segment,
            attempt: record.attempt,
            worker: result.map(|result| result.worker.clone()),
            begun_at: record.claimed_at,
            finished_at: record.finished_at,
            ended: result.map(ended),
        }
    }

    /// Whether it ended, and neither as it should nor because somebody asked for it.
    pub(super) fn has_failed(&self) -> bool {
        let verdict = self.ended.as_ref().and_then(|ended| ended.verdict);
        verdict.is_some_and(|verdict| {
            verdict.status() == ResultStatus::Error && !verdict.was_asked_for()
        })
    }

    fn state(&self) -> &'static str {
        match self.state {
            RecordState::Active => "active",
            RecordState::Waiting => "waiting",
            RecordState::Finished => "finished",
        }
    }

    fn verdict(&self) -> Option<&'static str> {
        self.ended.as_ref().and_then(|ended| ended.verdict).map(Verdict::as_str)
    }

    pub(super) fn row(&self, now: Timestamp) -> [String; 6] {
        let so_far = now.duration_since(self.begun_at).as_secs_f64().max(0.0);
        let seconds = self.ended.as_ref().map_or(so_far, |ended| ended.seconds);
        [
            self.id.to_string(),
            self.verdict().unwrap_or_else(|| self.state()).to_owned(),
            self.attempt.to_string(),
            ago(self.begun_at, now),
            took(seconds),
            shortened(self.worker.as_deref().unwrap_or("-")),
        ]
    }

    pub(super) fn object(&self) -> Value {
        json!({
            "id": self.id,
            "run_id": self.run,
            "state": self.state(),
            "verdict": self.verdict(),
            "message": self.ended.as_ref().map(|ended| &ended.message),
            "attempt": self.attempt,
            "segment": self.segment,
            "worker": self.worker,
            "begun_at": self.begun_at,
            "finished_at": self.finished_at,
            "duration_seconds": self.ended.as_ref().map(|ended| ended.seconds),
        })
    }
}

fn shortened(worker: &str) -> String {
    if worker.chars().count() <= WORKER_WIDTH {
        return worker.to_owned();
    }
    worker.chars().take(WORKER_WIDTH - 1).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A record of a run that ended like an example of a result event, or goes on.
    fn record(example: Option<&str>) -> JobRecord {
        let mut record: JobRecord = serde_json::from_value(json!({
            "id": "sma-1", "run_id": "r1", "segment": 3, "state": "active", "attempt": 2,
            "claimed_at": "2026-03-02T09:15:03.5Z", "message": { "body": "{}" },
        }))
        .unwrap();
        if let Some(name) = example {
            let path = format!("{}/schemas/examples/{name}.json", env!("CARGO_MANIFEST_DIR"));
            record.result = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
            record.state = RecordState::Finished;
        }
        record
    }

    #[test]
    fn a_row_says_how_a_run_ended_or_how_long_it_has_been_going_on() {
        let now = "2026-03-02T09:17:08.5Z".parse().unwrap();
        let mut active = Summary::of(&record(None));
        active.worker = Some("worker-with-a-long-name".to_owned());
        assert_eq!(active.row(now).join("|"), "sma-1|active|2|2m ago|2m 5s|worker-with-a-l…");
        let failed = Summary::of(&record(Some("result.failed")));
        let row = failed.row(now);
        assert_eq!((row[1].as_str(), row[3].as_str()), ("failed", "2m ago"));
        assert_eq!(failed.object()["verdict"], "failed");
        assert!(failed.object()["message"].is_string());
    }

    #[test]
    fn what_somebody_asked_for_has_not_failed() {
        let has_failed = |example: &str| Summary::of(&record(Some(example))).has_failed();
        for bad in ["failed", "timed-out", "out-of-memory", "rejected", "unavailable", "lost"] {
            assert!(has_failed(&format!("result.{bad}")), "{bad}");
        }
        for good in ["succeeded", "stopped", "cancelled"] {
            assert!(!has_failed(&format!("result.{good}")), "{good}");
        }
        assert!(!Summary::of(&record(None)).has_failed());
    }
}
