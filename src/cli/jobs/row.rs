//! One job of a list, for people. Pure.

use jiff::Timestamp;

use crate::cli::time::{ago, took};
use crate::facts::JobReport;

/// The longest name of a worker in a row, in characters: a table has room for 80.
const WORKER_WIDTH: usize = 16;

pub(super) fn row(job: &JobReport, now: Timestamp) -> [String; 6] {
    let so_far = now.duration_since(job.begun_at).as_secs_f64().max(0.0);
    [
        job.id.to_string(),
        job.word().to_owned(),
        job.attempt.to_string(),
        ago(job.begun_at, now),
        took(job.duration_seconds.unwrap_or(so_far)),
        shortened(job.worker.as_deref().unwrap_or("-")),
    ]
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
    use crate::storage::RecordState;

    #[test]
    fn a_row_says_how_long_a_run_has_been_going_on() {
        let now = "2026-03-02T09:17:08.5Z".parse().unwrap();
        let active = JobReport {
            id: "sma-1".parse().unwrap(),
            run_id: "r1".parse().unwrap(),
            state: RecordState::Active,
            verdict: None,
            message: None,
            attempt: 2,
            segment: 3,
            worker: Some("worker-with-a-long-name".to_owned()),
            begun_at: "2026-03-02T09:15:03.5Z".parse().unwrap(),
            finished_at: None,
            duration_seconds: None,
        };
        assert_eq!(row(&active, now).join("|"), "sma-1|active|2|2m ago|2m 5s|worker-with-a-l…");
    }
}
