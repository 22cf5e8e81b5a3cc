//! Questions that change nothing.

use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::response::IntoResponse;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::error::ApiError;
use super::sources::{Body, Sources};
use crate::facts::{
    self, DeadEntry, DeadReport, JobReport, Key, Looked, StoryReport, WorkerReport,
};
use crate::job::{JobId, Verdict};
use crate::storage::RecordState;

/// How many jobs a list has if the request does not say it, and at most.
const USUAL_JOBS: usize = 100;
const MAX_JOBS: usize = 20_000;

/// The largest object of series that is read, in bytes.
pub(super) const MAX_SERIES_BYTES: u64 = 16 << 20;

/// How many dead letters a list has if the request does not say it, and at most.
const USUAL_DEAD: usize = 50;
const MAX_DEAD: usize = 200;

/// The longest text that jobs are searched for, in bytes.
const MAX_TEXT: usize = 200;

/// The workers that are connected.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct WorkerList {
    /// What is wrong with the fleet, or that nothing is, in one sentence.
    pub(super) said: String,
    /// How many workers are connected. One that waits for a segment is not in the list.
    pub(super) connected: u32,
    /// How many of them have a free slot for a terminating run.
    pub(super) free_for_terminating: u32,
    /// The same for long-running jobs.
    pub(super) free_for_long_running: u32,
    /// Those that hold a segment.
    pub(super) workers: Vec<WorkerReport>,
}

pub(super) async fn workers(State(sources): State<Sources>) -> Result<Body, ApiError> {
    let ask = async {
        let (broker, journal) = (sources.broker()?, sources.journal()?);
        let (_, queues) = facts::look_at_queues(&broker).await?;
        let segments = facts::look_at_segments(&broker, &journal).await?;
        Body::of(&WorkerList {
            said: queues.said,
            connected: queues.workers,
            free_for_terminating: queues.free_for_terminating,
            free_for_long_running: queues.free_for_long_running,
            workers: facts::by_worker(segments),
        })
    };
    sources.fleet().get(&"workers", ask).await
}

pub(super) async fn segments(State(sources): State<Sources>) -> Result<Body, ApiError> {
    let ask = async {
        let (broker, journal) = (sources.broker()?, sources.journal()?);
        Body::of(&facts::look_at_segments(&broker, &journal).await?)
    };
    sources.fleet().get(&"segments", ask).await
}

pub(super) async fn queues(State(sources): State<Sources>) -> Result<Body, ApiError> {
    let ask = async { Body::of(&facts::look_at_queues(&sources.broker()?).await?.1) };
    sources.fleet().get(&"queues", ask).await
}

/// Which jobs.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    /// Only those in this state.
    state: Option<RecordState>,
    /// Only those that ended like this.
    verdict: Option<Verdict>,
    /// Only those that failed: neither succeeded, stopped nor cancelled.
    #[serde(default)]
    failed: bool,
    /// Only those of this segment.
    segment: Option<u32>,
    /// Only those whose id, worker or message has this text in it.
    text: Option<String>,
    /// So many at most.
    limit: Option<usize>,
    /// Only those that have changed since this version, if it is known.
    since_version: Option<String>,
}

/// A list of jobs.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct JobList {
    /// The jobs, the last to begin first.
    pub(super) jobs: Vec<JobReport>,
    /// How many jobs fit, those beyond the limit included.
    pub(super) matching: usize,
    /// How many jobs are known.
    pub(super) known: usize,
    /// How many older jobs of the journal are not known here, or not yet.
    pub(super) left_out: usize,
    /// What is wrong with records that could not be read.
    pub(super) unreadable: Vec<String>,
    /// The version of this list, for `since_version`.
    pub(super) version: String,
    /// Whether only jobs are listed that have changed since the version that was asked for.
    pub(super) is_partial: bool,
}

impl Wanted {
    fn takes(&self, job: &JobReport, text: Option<&str>) -> bool {
        self.state.is_none_or(|state| state == job.state)
            && self.verdict.is_none_or(|verdict| Some(verdict) == job.verdict)
            && (!self.failed || facts::has_failed(job))
            && self.segment.is_none_or(|segment| segment == job.segment)
            && text.is_none_or(|text| {
                let has = |one: &str| one.to_lowercase().contains(text);
                has(job.id.as_str())
                    || job.worker.as_deref().is_some_and(has)
                    || job.message.as_deref().is_some_and(has)
            })
    }

    /// The part of a look that is wanted.
    fn of(&self, looked: &Looked) -> JobList {
        let text = self.text.as_deref().map(str::to_lowercase);
        let since = self.since_version.as_deref().and_then(|version| looked.number_of(version));
        let fitting = looked
            .jobs
            .iter()
            .filter(|(changed, _)| since.is_none_or(|since| *changed > since))
            .map(|(_, job)| job)
            .filter(|job| self.takes(job, text.as_deref()));
        let limit = self.limit.unwrap_or(USUAL_JOBS).min(MAX_JOBS);
        let (mut jobs, mut matching) = (Vec::new(), 0);
        for job in fitting {
            matching += 1;
            if jobs.len() < limit {
                jobs.push(job.clone());
            }
        }
        JobList {
            jobs,
            matching,
            known: looked.jobs.len(),
            left_out: looked.left_out,
            unreadable: looked.unreadable.clone(),
            version: looked.version(),
            is_partial: since.is_some(),
        }
    }
}

pub(super) async fn jobs(
    State(sources): State<Sources>,
    wanted: Result<Query<Wanted>, axum::extract::rejection::QueryRejection>,
) -> Result<Body, ApiError> {
    let Query(wanted) = wanted.map_err(|error| ApiError::wrong(error.body_text()))?;
    if wanted.text.as_ref().is_some_and(|text| text.len() > MAX_TEXT) {
        return Err(ApiError::wrong(format!("text has more than {MAX_TEXT} bytes")));
    }
    let looked: Arc<Looked> = sources.index()?.look().await?;
    Body::of(&wanted.of(&looked))
}

/// A job's id in a path.
pub(super) fn id_of(text: &str) -> Result<JobId, ApiError> {
    text.parse().map_err(|error| ApiError::wrong(format!("this is no id of a job: {error}")))
}

/// A letter's key in a path or a body.
pub(super) fn key_of(text: &str) -> Result<Key, ApiError> {
    text.parse()
        .map_err(|error| ApiError::wrong(format!("this is no key of a dead letter: {error}")))
}

pub(super) async fn job(
    State(sources): State<Sources>,
    Path(id): Path<String>,
) -> Result<Body, ApiError> {
    let id = id_of(&id)?;
    let ask = async {
        let mut story = facts::read_story(&sources.journal()?, &id).await?;
        // Without the broker, the story says what the journal says.
        if let Ok(broker) = sources.broker() {
            story.queues = facts::ask(&broker, story.segment_that_matters()).await.ok();
        }
        let buckets = sources.store()?;
        facts::complete_story(&*buckets, &mut story, MAX_SERIES_BYTES).await;
        Body::of(&StoryReport::of(&story, &*buckets))
    };
    sources.jobs().get(&id, ask).await
}

/// How many dead letters.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct HowMany {
    /// So many at most.
    limit: Option<usize>,
}

/// A list of dead letters.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Dead {
    /// The letters, the oldest first.
    pub(super) letters: Vec<DeadEntry>,
    /// How many there are.
    pub(super) waiting: u32,
}

pub(super) async fn dead(
    State(sources): State<Sources>,
    many: Result<Query<HowMany>, axum::extract::rejection::QueryRejection>,
) -> Result<Body, ApiError> {
    let Query(many) = many.map_err(|error| ApiError::wrong(error.body_text()))?;
    let limit = many.limit.unwrap_or(USUAL_DEAD).min(MAX_DEAD);
    let ask = async {
        let broker = sources.broker()?;
        let _only_one = sources.letters().await;
        let mut letters = facts::open_letters(&broker).await?;
        let listed = facts::list_letters(&mut letters, limit).await;
        let waiting = letters.waiting();
        let back = letters.put_back().await.map_err(facts::FactsError::from);
        let letters = listed?;
        back?;
        Body::of(&Dead { letters, waiting })
    };
    sources.dead().get(&limit, ask).await
}

pub(super) async fn letter(
    State(sources): State<Sources>,
    Path(key): Path<String>,
) -> Result<impl IntoResponse, ApiError> {
    let key = key_of(&key)?;
    let broker = sources.broker()?;
    let _only_one = sources.letters().await;
    let mut letters = facts::open_letters(&broker).await?;
    let found = facts::find_letter(&mut letters, &key).await.map(|letter| {
        let goes_to = facts::goes_to(broker.topology(), &letter);
        let report = DeadReport::of(&letter, &goes_to).cut();
        letters.hold(letter);
        report
    });
    let back = letters.put_back().await.map_err(facts::FactsError::from);
    let report = found?;
    back?;
    Body::of(&report)
}
