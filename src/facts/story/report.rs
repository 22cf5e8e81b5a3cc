//! A job's story, as it is shown to programs.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use super::super::series::LastProgress;
use super::super::states::StateReport;
use super::{Story, result_of};
use crate::job::series::SeriesSummary;
use crate::job::{EventData, ExecutionResult, JobId, RunId, StoredObjects, Verdict};
use crate::storage::{Bucket, EndRecord, ObjectStore, RecordState, Tombstone};

/// All about one job.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct StoryReport {
    /// The job.
    pub id: JobId,
    /// What became of it, or why it does not run.
    pub said: String,
    /// Its latest run: whether a worker has it, it waits for its next attempt, or it has ended.
    pub state: Option<RecordState>,
    /// Its latest run.
    pub run_id: Option<RunId>,
    /// Which attempt; the first is 1.
    pub attempt: Option<u32>,
    /// The segment that owns the run.
    pub segment: Option<u32>,
    /// Whether a worker holds that segment; only while the run goes on and the broker answers.
    pub is_held: Option<bool>,
    /// Who runs it or ran it.
    pub worker: Option<String>,
    /// When its start was published.
    pub published_at: Option<Timestamp>,
    /// When a worker took it.
    pub begun_at: Option<Timestamp>,
    /// What is kept of a bot for its next attempt or run, if anything is.
    pub kept_state: Option<StateReport>,
    /// How far the program of a run that goes on said that it is.
    pub progress: Option<LastProgress>,
    /// What the program of the latest run measured in its latest attempt.
    pub series: Vec<SeriesSummary>,
    /// The stops that were noted.
    pub stops: Vec<Tombstone>,
    /// How the latest run ended.
    pub end: Option<EndReport>,
    /// How earlier runs ended, the latest first.
    pub earlier_runs: Vec<EndReport>,
    /// How many earlier runs are not among them.
    pub earlier_runs_left_out: usize,
    /// Where the objects are that an end names.
    pub buckets: BucketNames,
}

/// The names of buckets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct BucketNames {
    /// Results, outputs and artifacts.
    pub results: String,
    /// Logs.
    pub logs: String,
}

/// How a run ended, without its output and its result.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct EndReport {
    /// The run.
    pub run_id: Option<RunId>,
    /// How it ended.
    pub verdict: Option<Verdict>,
    /// The same in one sentence.
    pub message: String,
    /// The exit code of its container.
    pub exit_code: Option<i64>,
    /// Which attempt ended like this; the first is 1.
    pub attempt: u32,
    /// Who ran it.
    pub worker: String,
    /// When its container started.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Timestamp,
    /// How long its container ran.
    pub duration_seconds: f64,
    /// Whether its code returned a result.
    pub has_result: bool,
    /// Where its result, output, logs and artifacts are.
    pub objects: StoredObjects,
}

impl StoryReport {
    /// What is known, with the names of the buckets of a store.
    #[must_use]
    pub fn of(story: &Story, buckets: &dyn ObjectStore) -> Self {
        let record = story.record.as_ref();
        let result = record.and_then(result_of);
        let owner = story.owner.as_ref();
        let worker = result.map(|result| &result.worker).or(owner.map(|owner| &owner.worker));
        Self {
            id: story.id.clone(),
            said: story.sentence(),
            state: record.map(|record| record.state),
            run_id: record.map(|record| record.run_id.clone()),
            attempt: record.map(|record| record.attempt),
            segment: record.map(|record| record.segment),
            is_held: story.queues.as_ref().and_then(|queues| queues.is_held),
            worker: record.and(worker).cloned(),
            published_at: record.and_then(|record| record.message.published_at),
            begun_at: record.map(|record| record.claimed_at),
            kept_state: story.kept.clone(),
            progress: story.progress.clone(),
            series: story.series.clone(),
            stops: story.stops.clone(),
            end: result.map(EndReport::of),
            earlier_runs: story.earlier.iter().filter_map(end_of).map(EndReport::of).collect(),
            earlier_runs_left_out: story.left_out,
            buckets: BucketNames {
                results: buckets.bucket_name(Bucket::Results).to_owned(),
                logs: buckets.bucket_name(Bucket::Logs).to_owned(),
            },
        }
    }
}

impl EndReport {
    fn of(result: &ExecutionResult) -> Self {
        Self {
            run_id: result.run_id.clone(),
            verdict: result.verdict,
            message: result.message.clone(),
            exit_code: result.exit_code,
            attempt: result.attempt,
            worker: result.worker.clone(),
            started_at: result.started_at,
            finished_at: result.finished_at,
            duration_seconds: result.duration_seconds,
            has_result: result.result.is_some() || result.objects.result_key.is_some(),
            objects: result.objects.clone(),
        }
    }
}

fn end_of(end: &EndRecord) -> Option<&ExecutionResult> {
    match &end.event.data {
        EventData::Result(result) => Some(result),
        EventData::Status(_) => None,
    }
}
