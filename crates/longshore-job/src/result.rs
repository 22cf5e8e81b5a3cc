//! The result of a run: the payload of a result event.

use std::collections::BTreeMap;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::artifacts::Artifact;
use super::series::SeriesSummary;
use super::sweep::SweepSummary;
use super::{
    Entrypoint, JobId, JsonText, MessageError, ResultStatus, Run, RunId, Verdict, sentence,
};

/// Everything that is known about a run when it has ended.
///
/// `DockerRunner::start_container` also returns it, with status `running` and without a verdict,
/// for a long-running container that has just started.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(
    title = "Execution result",
    description = "Everything that is known about a run when it has ended."
)]
pub struct ExecutionResult {
    /// Coarse status.
    pub status: ResultStatus,
    /// How the run ended. Absent only while it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Verdict>,
    /// One sentence that says how the run ended, and where it failed.
    pub message: String,
    /// The last part of what the code wrote to stdout and stderr, in order of arrival.
    pub output: String,
    /// Why the run did not succeed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The exit code of the container. Absent when none ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i64>,
    /// Seconds from the container's start to its end.
    pub duration_seconds: f64,
    /// Further facts, such as the image that ran.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
    /// The engine's id of the container. Absent when none was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container_id: Option<String>,
    /// As the message said.
    pub is_long_running: bool,
    /// The code's result.json, unless it is too large for an event or was not written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Value>")]
    pub result: Option<JsonText>,
    /// The job. A refusal leaves it out if the message is too broken to name one, or if the named
    /// job is active: readers would take the refusal for the end of that job's run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<JobId>,
    /// The run. A refusal leaves it out, because the run that a refused message names may belong to
    /// another message, with a result of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_id: Option<RunId>,
    /// The kind of program.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entrypoint: Option<Entrypoint>,
    /// Which attempt ended like this; the first is 1. 0 if none began.
    pub attempt: u32,
    /// The segment that owned the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub segment: Option<u32>,
    /// The name of the worker.
    pub worker: String,
    /// When the container started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub started_at: Option<Timestamp>,
    /// When the run ended.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub finished_at: Timestamp,
    /// What the container used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<ResourceUse>,
    /// What came of a sweep.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sweep: Option<SweepSummary>,
    /// Where the whole result and the logs are.
    #[serde(default)]
    pub objects: StoredObjects,
}

impl ExecutionResult {
    /// The result of a run whose container is up.
    #[must_use]
    pub fn running(run: &Run, worker: &str, container: Option<String>) -> Self {
        Self {
            container_id: container,
            is_long_running: run.job.is_long_running,
            id: Some(run.job.id.clone()),
            run_id: Some(run.job.run_id.clone()),
            entrypoint: Some(run.job.entrypoint),
            attempt: run.attempt,
            segment: Some(run.segment),
            ..Self::blank(worker)
        }
    }

    /// The result of a run that did not get as far as its container's end.
    #[must_use]
    pub fn failed(run: &Run, worker: &str, verdict: Verdict, message: String) -> Self {
        Self::running(run, worker, None).conclude(verdict, message)
    }

    /// The result of a refused message. It names no run, because the message led to none: the run
    /// that it names may belong to another message.
    #[must_use]
    pub fn rejected(error: &MessageError, worker: &str, segment: Option<u32>) -> Self {
        let result = Self {
            id: error.id.clone(),
            entrypoint: error.entrypoint,
            segment,
            ..Self::blank(worker)
        };
        result.conclude(Verdict::Rejected, error.to_string())
    }

    /// The same result with another end: the verdict, and the sentence about it.
    #[must_use]
    pub fn conclude(mut self, verdict: Verdict, message: String) -> Self {
        self.status = verdict.status();
        self.verdict = Some(verdict);
        self.error = (self.status == ResultStatus::Error).then(|| message.clone());
        self.message = message;
        self
    }

    fn blank(worker: &str) -> Self {
        Self {
            status: ResultStatus::Running,
            verdict: None,
            message: sentence::RUNNING.to_owned(),
            output: String::new(),
            error: None,
            exit_code: None,
            duration_seconds: 0.0,
            metadata: BTreeMap::new(),
            container_id: None,
            is_long_running: false,
            result: None,
            id: None,
            run_id: None,
            entrypoint: None,
            attempt: 0,
            segment: None,
            worker: worker.to_owned(),
            started_at: None,
            finished_at: Timestamp::now(),
            resources: None,
            sweep: None,
            objects: StoredObjects::default(),
        }
    }

    /// Whether the message was refused before there was a run. Then this is no run's end, whatever
    /// run the message named.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        self.verdict.is_some_and(Verdict::is_rejection) && self.attempt == 0
    }
}

/// What a container used, as far as the engine could tell.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ResourceUse {
    /// Processor time in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_seconds: Option<f64>,
    /// The most memory it held, in bytes, cached files included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peak_memory_bytes: Option<u64>,
}

/// Where a run's objects are: keys in the buckets of the object store.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StoredObjects {
    /// The whole result.json, in the results bucket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result_key: Option<String>,
    /// The whole output of a terminating run, in the results bucket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_key: Option<String>,
    /// The daily logs, in the logs bucket.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub log_keys: Vec<String>,
    /// The rows of a sweep in the order of its configs, as JSON Lines, in the results bucket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows_key: Option<String>,
    /// The same as a table, in CSV: a column for each number or text of config and result.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub csv_key: Option<String>,
    /// The files that the program left as artifacts, in the results bucket.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub artifacts: Vec<Artifact>,
    /// The series that the program measured in its last attempt, in the results bucket: a line of JSON for each point.
    /// Those of earlier attempts are beside it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub series_key: Option<String>,
    /// These series in short.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub series: Vec<SeriesSummary>,
}
