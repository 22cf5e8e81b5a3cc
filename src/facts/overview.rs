//! Fleet and jobs at one moment, for somebody who goes on looking.
//!
//! What costs a request for each segment or job is not asked each time: the jobs come from an index that events
//! keep, and the segments are looked at the more rarely, the longer that takes.

mod told;

use std::collections::HashMap;
use std::time::Duration;

use jiff::Timestamp;
use parking_lot::Mutex;
use serde::Serialize;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::told::Told;
use super::jobs::{JobsQuery, MAX_LISTED, candidates, find};
use super::workers::by_worker;
use super::{
    FactsError, JobIndex, JobReport, QueuesReport, WorkerReport, look_at_queues, look_at_segments,
};
use crate::broker::Broker;
use crate::job::{Entrypoint, RunId, RunProgress, State, parse_executable};
use crate::storage::{Journal, RecordState};

/// The segments are looked at again after so many times as long as the last look at them took.
const PAUSE_FACTOR: u32 = 10;

/// How many records are read for one look without an index.
const MAX_READ: usize = 1_000;

/// Everything at one moment.
#[derive(Debug, Serialize)]
pub struct Overview {
    /// When.
    pub at: Timestamp,
    /// What is wrong with the fleet, or that nothing is, in one sentence, and the queues.
    #[serde(flatten)]
    pub queues: QueuesReport,
    /// The workers that hold a segment.
    pub fleet: Vec<WorkerReport>,
    /// The jobs that go on, the last to begin first.
    pub jobs: Vec<LiveJob>,
    /// How many more there are.
    pub more: usize,
}

/// A job that goes on.
#[derive(Debug, Serialize)]
pub struct LiveJob {
    /// What the journal says.
    #[serde(flatten)]
    pub job: JobReport,
    /// What its program is.
    pub kind: Option<Entrypoint>,
    /// The last state that was told, if one was since somebody looks.
    pub stage: Option<State>,
    /// How far its program said it is, likewise.
    pub progress: Option<RunProgress>,
}

/// Looks at fleet and jobs, once or again and again.
pub struct Lookout {
    broker: Broker,
    journal: Journal,
    /// Only for those who go on looking.
    index: Option<JobIndex>,
    told: Told,
    fleet: tokio::sync::Mutex<Option<Fleet>>,
    /// What the programs of runs are. It has only runs of the last look.
    kinds: Mutex<HashMap<RunId, Option<Entrypoint>>>,
}

struct Fleet {
    workers: Vec<WorkerReport>,
    at: Instant,
    took: Duration,
}

impl Lookout {
    /// For one look.
    #[must_use]
    pub fn once(broker: Broker, journal: Journal) -> Self {
        let (index, told) = (None, Told::default());
        let (fleet, kinds) = (tokio::sync::Mutex::default(), Mutex::default());
        Self { broker, journal, index, told, fleet, kinds }
    }

    /// For somebody who goes on looking, until `closing`.
    #[must_use]
    pub fn lasting(
        broker: Broker,
        journal: Journal,
        tasks: &TaskTracker,
        closing: &CancellationToken,
    ) -> Self {
        let index = JobIndex::new(journal.clone(), broker.clone(), tasks.clone(), closing.clone());
        let told = Told::hear(broker.clone(), tasks, closing.child_token());
        Self { index: Some(index), told, ..Self::once(broker, journal) }
    }

    /// What there is now; of the jobs, at most `max_jobs` whose id or worker has `text` in it.
    ///
    /// # Errors
    /// When broker or journal cannot be asked.
    pub async fn look(&self, max_jobs: usize, text: &str) -> Result<Overview, FactsError> {
        let (queues, fleet, jobs) =
            tokio::try_join!(look_at_queues(&self.broker), self.fleet(), self.active())?;
        let has = |name: &str| name.contains(text);
        let is_wanted =
            |job: &JobReport| has(job.id.as_str()) || job.worker.as_deref().is_some_and(has);
        let mut jobs: Vec<_> = jobs.into_iter().filter(is_wanted).collect();
        let more = jobs.len().saturating_sub(max_jobs);
        jobs.truncate(max_jobs);
        let mut live = Vec::new();
        for job in jobs {
            live.push(self.with_what_was_told(job).await?);
        }
        let is_shown = |run: &RunId| live.iter().any(|one| one.job.run_id == *run);
        self.kinds.lock().retain(|run, _| is_shown(run));
        Ok(Overview { at: Timestamp::now(), queues: queues.1, fleet, jobs: live, more })
    }

    async fn fleet(&self) -> Result<Vec<WorkerReport>, FactsError> {
        let mut held = self.fleet.lock().await;
        if let Some(known) = &*held
            && known.at.elapsed() < known.took * PAUSE_FACTOR
        {
            return Ok(known.workers.clone());
        }
        let begun = Instant::now();
        let workers = by_worker(look_at_segments(&self.broker, &self.journal).await?);
        let fleet = Fleet { workers: workers.clone(), at: Instant::now(), took: begun.elapsed() };
        *held = Some(fleet);
        Ok(workers)
    }

    /// The jobs that go on.
    async fn active(&self) -> Result<Vec<JobReport>, FactsError> {
        if let Some(index) = &self.index {
            let looked = index.look().await?;
            let jobs = looked.jobs.iter().map(|(_, job)| job);
            return Ok(jobs.filter(|job| job.state != RecordState::Finished).cloned().collect());
        }
        let listed = candidates(self.journal.unsettled(None, MAX_LISTED).await?, None);
        let query = JobsQuery { limit: MAX_READ, scan: MAX_READ, ..JobsQuery::default() };
        let found = find(&self.journal, &query, &listed).await?;
        let is_active = |job: &JobReport| job.state != RecordState::Finished;
        Ok(found.jobs.into_iter().filter(is_active).collect())
    }

    async fn with_what_was_told(&self, job: JobReport) -> Result<LiveJob, FactsError> {
        let told = self.told.of(&job);
        let known = self.kinds.lock().get(&job.run_id).copied();
        let kind = match (told.kind, known) {
            (Some(kind), _) => Some(kind),
            (None, Some(kind)) => kind,
            (None, None) => self.kind_of(&job).await?,
        };
        self.kinds.lock().insert(job.run_id.clone(), kind);
        Ok(LiveJob { job, kind, stage: told.stage, progress: told.progress })
    }

    /// What the program of a run is, as its message says.
    async fn kind_of(&self, job: &JobReport) -> Result<Option<Entrypoint>, FactsError> {
        let known = self.journal.read(&job.id).await?;
        let record = known.map(|(record, _)| record).filter(|record| record.run_id == job.run_id);
        let start = record.and_then(|record| parse_executable(record.message.body.as_bytes()).ok());
        Ok(start.map(|start| start.entrypoint))
    }
}
