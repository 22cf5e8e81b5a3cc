//! The jobs of the journal, one report each, without their messages and outputs.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use super::FactsError;
use super::story::result_of;
use crate::job::{JobId, ResultStatus, RunId, Verdict};
use crate::storage::{JobRecord, Journal, JournalError, Noted, RecordState};

/// How many records are listed at most. A store lists by key and not by time, so the newest are
/// only known when all are listed: with more, that would take minutes.
pub const MAX_LISTED: usize = 500_000;

/// How many records are read at a time: a store in the same building answers in some milliseconds,
/// one far away in some tenths of a second.
pub(super) const CONCURRENCY: usize = 16;

/// A job's latest run.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct JobReport {
    /// The job.
    pub id: JobId,
    /// Its latest run.
    pub run_id: RunId,
    /// Whether a worker has it, it waits for its next attempt, or it has ended.
    pub state: RecordState,
    /// How it ended.
    pub verdict: Option<Verdict>,
    /// How it ended, in one sentence.
    pub message: Option<String>,
    /// Which attempt; the first is 1.
    pub attempt: u32,
    /// The segment that owns it.
    pub segment: u32,
    /// Who runs it or ran it, if that is known.
    pub worker: Option<String>,
    /// When a worker took it.
    pub begun_at: Timestamp,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// How long its container ran, once it has ended.
    pub duration_seconds: Option<f64>,
}

impl JobReport {
    /// What a record says. It does not name the worker of a run that goes on.
    #[must_use]
    pub fn of(record: &JobRecord) -> Self {
        let result = result_of(record);
        Self {
            id: record.id.clone(),
            run_id: record.run_id.clone(),
            state: record.state,
            verdict: result.and_then(|result| result.verdict),
            message: result.map(|result| result.message.clone()),
            attempt: record.attempt,
            segment: record.segment,
            worker: result.map(|result| result.worker.clone()),
            begun_at: record.claimed_at,
            finished_at: record.finished_at,
            duration_seconds: result.map(|result| result.duration_seconds),
        }
    }

    /// Its verdict, or its state if it goes on.
    #[must_use]
    pub fn word(&self) -> &'static str {
        self.verdict.map_or_else(|| self.state.as_str(), Verdict::as_str)
    }
}

/// Whether a run ended, and neither as it should nor because somebody asked for it.
#[must_use]
pub fn has_failed(job: &JobReport) -> bool {
    job.verdict
        .is_some_and(|verdict| verdict.status() == ResultStatus::Error && !verdict.was_asked_for())
}

/// Which jobs.
#[derive(Debug, Clone, Default)]
pub struct JobsQuery {
    /// Only those that failed.
    pub failed: bool,
    /// Only those that a worker has.
    pub running: bool,
    /// Only those of this segment.
    pub segment: Option<u32>,
    /// So many at most.
    pub limit: usize,
    /// Read so many records at most.
    pub scan: usize,
}

impl JobsQuery {
    fn takes(&self, job: &JobReport) -> bool {
        (!self.failed || has_failed(job))
            && (!self.running || job.state == RecordState::Active)
            && self.segment.is_none_or(|segment| segment == job.segment)
    }
}

/// What was found.
#[derive(Debug, Default)]
pub struct Found {
    /// The jobs, the last to begin first.
    pub jobs: Vec<JobReport>,
    /// How many records were read for it.
    pub read: usize,
    /// What is wrong with records that could not be read.
    pub unreadable: Vec<String>,
}

/// Those that were written since a time, the newest first. A record that was not written since then
/// is of a run that neither began nor ended since then. So it need not be read.
#[must_use]
pub fn candidates(mut listed: Vec<Noted<JobId>>, since: Option<Timestamp>) -> Vec<Noted<JobId>> {
    // A listing knows whole seconds.
    let is_new = |at: Timestamp| since.is_none_or(|since| at.as_second() >= since.as_second());
    listed.retain(|job| job.written_at.is_none_or(is_new));
    listed.sort_by(|a, b| b.written_at.cmp(&a.written_at).then_with(|| a.id.cmp(&b.id)));
    // A job that moves to another segment may be in two indexes.
    let mut seen = HashSet::new();
    listed.retain(|job| seen.insert(job.id.clone()));
    listed
}

/// Reads records until enough jobs are found.
///
/// # Errors
/// When the journal cannot be read.
pub async fn find(
    journal: &Journal,
    query: &JobsQuery,
    candidates: &[Noted<JobId>],
) -> Result<Found, FactsError> {
    let mut found = Found::default();
    // Each record is reduced at once: a whole one may have many megabytes.
    let mut read = stream::iter(candidates.iter().take(query.scan).cloned())
        .map(|job| async move { read_one(journal, &job.id).await })
        .buffered(CONCURRENCY);
    while found.jobs.len() < query.limit {
        let Some(job) = read.next().await else { break };
        found.read += 1;
        match job {
            Ok(Some(job)) if query.takes(&job) => found.jobs.push(job),
            // It was removed a moment ago.
            Ok(_) => {}
            Err(error) if error.is_corrupt() => found.unreadable.push(error.to_string()),
            Err(error) => return Err(error.into()),
        }
    }
    drop(read);
    name_workers(journal, found.jobs.iter_mut()).await?;
    found.jobs.sort_by_key(|job| std::cmp::Reverse(job.begun_at));
    Ok(found)
}

pub(super) async fn read_one(
    journal: &Journal,
    id: &JobId,
) -> Result<Option<JobReport>, JournalError> {
    Ok(journal.read(id).await?.map(|(record, _)| JobReport::of(&record)))
}

/// A run that goes on has the worker that owns its segment. Returns whether any name is new.
pub(super) async fn name_workers(
    journal: &Journal,
    jobs: impl Iterator<Item = &mut JobReport>,
) -> Result<Vec<JobId>, JournalError> {
    let active: Vec<_> = jobs.filter(|job| job.state == RecordState::Active).collect();
    let segments: BTreeSet<_> = active.iter().map(|job| job.segment).collect();
    let owners: BTreeMap<u32, String> = stream::iter(segments)
        .map(|number| async move {
            let owner = journal.owner(number).await?;
            Ok::<_, JournalError>(owner.map(|(owner, _)| (number, owner.worker)))
        })
        .buffered(CONCURRENCY)
        .try_filter_map(|owner| async move { Ok(owner) })
        .try_collect()
        .await?;
    let mut named = Vec::new();
    for job in active {
        let owner = owners.get(&job.segment);
        if job.worker.as_ref() != owner {
            job.worker = owner.cloned();
            named.push(job.id.clone());
        }
    }
    Ok(named)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

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
    fn what_was_not_written_since_is_not_read_and_each_job_is_read_once() {
        let at = |second: &str| format!("2026-03-02T09:15:{second}Z").parse().unwrap();
        let noted = |id: &str, second: &str| Noted {
            id: id.parse().unwrap(),
            written_at: Some(at(second)),
            version: None,
        };
        let listed = [noted("a", "01"), noted("b", "03"), noted("c", "02"), noted("b", "01")];
        let order = |since| {
            let jobs = candidates(listed.to_vec(), since);
            jobs.iter().map(|job| job.id.to_string()).collect::<Vec<_>>().concat()
        };
        assert_eq!(order(None), "bca");
        // The listing has lost the part of a second.
        assert_eq!(order(Some(at("02.9"))), "bc");
        assert_eq!(order(Some(at("04"))), "");
    }

    #[test]
    fn a_report_says_how_a_run_ended_or_that_it_goes_on() {
        let active = JobReport::of(&record(None));
        assert_eq!((active.word(), active.verdict), ("active", None));
        let failed = JobReport::of(&record(Some("result.failed")));
        assert_eq!(failed.word(), "failed");
        assert!(failed.message.is_some());
    }

    #[test]
    fn what_somebody_asked_for_has_not_failed() {
        let failed = |example: &str| has_failed(&JobReport::of(&record(Some(example))));
        for bad in ["failed", "timed-out", "out-of-memory", "rejected", "unavailable", "lost"] {
            assert!(failed(&format!("result.{bad}")), "{bad}");
        }
        for good in ["succeeded", "stopped", "cancelled"] {
            assert!(!failed(&format!("result.{good}")), "{good}");
        }
        assert!(!has_failed(&JobReport::of(&record(None))));
    }
}
