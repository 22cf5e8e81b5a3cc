//! The jobs, for many who look. They share one index in memory. Events say which records to read
//! again. The journal is listed when events were missed, and now and then to be sure.

mod hearing;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use jiff::Timestamp;
use parking_lot::Mutex;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::hearing::Hearing;
use super::FactsError;
use super::jobs::{CONCURRENCY, JobReport, MAX_LISTED, candidates, name_workers, read_one};
use crate::broker::Broker;
use crate::job::JobId;
use crate::storage::{ETag, Journal, Noted, RecordState};

/// The least time between two looks, however many viewers there are.
const LEAST_PAUSE: Duration = Duration::from_secs(1);

/// The time between two listings of the journal while events are heard.
const LIST_PAUSE: Duration = Duration::from_mins(1);

/// The same while they are not heard.
const DEAF_LIST_PAUSE: Duration = Duration::from_secs(5);

/// The pause is at least so many times as long as the last listing took. So listing takes a small
/// part of the time, however many jobs there are.
const PAUSE_FACTOR: u32 = 10;

/// How many jobs are kept, the newest first. Each takes about 400 bytes.
const MAX_KEPT: usize = 20_000;

/// How many records one look reads. The first looks at a long journal read a part each.
const MAX_READ: usize = 2_000;

/// The jobs of the journal.
pub struct JobIndex {
    journal: Journal,
    hearing: Hearing,
    held: tokio::sync::Mutex<Held>,
    looked: Mutex<Option<Arc<Looked>>>,
    /// Distinguishes the versions of this index from those of another process.
    epoch: String,
}

#[derive(Default)]
struct Held {
    entries: HashMap<JobId, Entry>,
    unreadable: HashMap<JobId, (Option<ETag>, String)>,
    /// Jobs that are listed and have no record: only a stop of them has come.
    recordless: HashMap<JobId, Option<ETag>>,
    version: u64,
    listed: Option<Listing>,
    /// Whether the journal must be listed, as soon as that may be.
    is_behind: bool,
    /// How many jobs of the last listing are not known.
    left_out: usize,
}

/// The last listing of the journal.
struct Listing {
    at: Instant,
    took: Duration,
    /// Whether every record was read that had changed.
    is_whole: bool,
}

struct Entry {
    stamp: (Option<Timestamp>, Option<ETag>),
    job: JobReport,
    changed: u64,
}

/// What the last look found.
pub struct Looked {
    /// The jobs, the last to begin first, and the version in which each changed last.
    pub jobs: Vec<(u64, JobReport)>,
    /// Increases with each change.
    pub version: u64,
    /// See [`JobIndex::version_of`].
    pub epoch: String,
    /// How many older jobs are not among them.
    pub left_out: usize,
    /// What is wrong with records that could not be read.
    pub unreadable: Vec<String>,
    again_at: Instant,
}

impl Looked {
    /// This version, as a viewer keeps it.
    #[must_use]
    pub fn version(&self) -> String {
        format!("{}-{}", self.epoch, self.version)
    }

    /// The number of a version that a viewer has, if it is one of this index.
    #[must_use]
    pub fn number_of(&self, version: &str) -> Option<u64> {
        let (epoch, number) = version.rsplit_once('-')?;
        let number = number.parse().ok()?;
        (epoch == self.epoch && number <= self.version).then_some(number)
    }
}

impl JobIndex {
    /// An index of a journal. It reads nothing until somebody looks.
    #[must_use]
    pub fn new(
        journal: Journal,
        broker: Broker,
        tasks: TaskTracker,
        closing: CancellationToken,
    ) -> Self {
        let epoch = uuid::Uuid::new_v4().simple().to_string();
        let hearing = Hearing::new(broker, tasks, closing);
        Self {
            journal,
            hearing,
            held: tokio::sync::Mutex::default(),
            looked: Mutex::default(),
            epoch,
        }
    }

    /// What the last look found, or a new look if it is time for one. While one viewer waits for a
    /// look, the others get the last one.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub async fn look(&self) -> Result<Arc<Looked>, FactsError> {
        let last = self.looked.lock().clone();
        if let Some(last) = &last
            && Instant::now() < last.again_at
        {
            return Ok(Arc::clone(last));
        }
        let mut held = match (self.held.try_lock(), last) {
            (Ok(held), _) => held,
            (Err(_), Some(last)) => return Ok(last),
            (Err(_), None) => self.held.lock().await,
        };
        if let Some(last) = self.looked.lock().clone()
            && Instant::now() < last.again_at
        {
            return Ok(last);
        }
        self.refresh(&mut held).await?;
        let mut jobs: Vec<_> =
            held.entries.values().map(|entry| (entry.changed, entry.job.clone())).collect();
        jobs.sort_by(|(_, a), (_, b)| b.begun_at.cmp(&a.begun_at).then_with(|| a.id.cmp(&b.id)));
        let looked = Arc::new(Looked {
            jobs,
            version: held.version,
            epoch: self.epoch.clone(),
            left_out: held.left_out,
            unreadable: held.unreadable.values().map(|(_, why)| why.clone()).collect(),
            again_at: Instant::now() + LEAST_PAUSE,
        });
        *self.looked.lock() = Some(Arc::clone(&looked));
        Ok(looked)
    }

    /// Reads what has changed.
    async fn refresh(&self, held: &mut Held) -> Result<(), FactsError> {
        let changes = self.hearing.take();
        held.is_behind |= changes.may_be_more;
        if held.is_time_to_list(changes.is_heard) {
            return self.list(held).await;
        }
        let noted = changes.ids.into_iter().map(|id| Noted { id, written_at: None, version: None });
        self.read(held, noted.collect(), false).await
    }

    /// Lists the journal, and reads the records that have changed since the last time.
    async fn list(&self, held: &mut Held) -> Result<(), FactsError> {
        let begun = Instant::now();
        held.is_behind = false;
        let listed = self.journal.jobs(MAX_LISTED).await.inspect_err(|_| held.is_behind = true)?;
        let mut listed = candidates(listed, None);
        let too_old = listed.len().saturating_sub(MAX_KEPT);
        listed.truncate(MAX_KEPT);
        let present: HashSet<&JobId> = listed.iter().map(|job| &job.id).collect();
        held.entries.retain(|id, _| present.contains(id));
        held.unreadable.retain(|id, _| present.contains(id));
        held.recordless.retain(|id, _| present.contains(id));
        // Owned, because a stream of references could not be sent between threads.
        let mut changed: Vec<_> = listed.iter().filter(|job| held.is_new(job)).cloned().collect();
        let unread = changed.len().saturating_sub(MAX_READ);
        changed.truncate(MAX_READ);
        let took = begun.elapsed();
        let read = self.read(held, changed, true).await;
        held.is_behind |= read.is_err();
        held.left_out = unread + too_old;
        held.listed = Some(Listing { at: Instant::now(), took, is_whole: unread == 0 });
        read
    }

    /// Reads these records, and names the workers of those runs that go on; with `all`, of all runs.
    async fn read(
        &self,
        held: &mut Held,
        changed: Vec<Noted<JobId>>,
        all: bool,
    ) -> Result<(), FactsError> {
        let next = held.version + 1;
        let ids: HashSet<_> = changed.iter().map(|job| job.id.clone()).collect();
        let mut read = stream::iter(changed)
            .map(|job| async move {
                let read = read_one(&self.journal, &job.id).await;
                (job, read)
            })
            .buffered(CONCURRENCY);
        while let Some((noted, read)) = read.next().await {
            match read {
                Ok(Some(job)) => held.keep(noted, job, next),
                Ok(None) => {
                    held.recordless.insert(noted.id, noted.version);
                }
                Err(error) if error.is_corrupt() => {
                    held.unreadable.insert(noted.id, (noted.version, error.to_string()));
                }
                Err(error) => {
                    held.is_behind = true;
                    return Err(error.into());
                }
            }
        }
        drop(read);
        let jobs = held.entries.values_mut().map(|entry| &mut entry.job);
        let jobs = jobs.filter(|job| all || ids.contains(&job.id));
        for id in name_workers(&self.journal, jobs).await? {
            if let Some(entry) = held.entries.get_mut(&id) {
                entry.changed = next;
                held.version = next;
            }
        }
        Ok(())
    }
}

impl Held {
    fn is_time_to_list(&self, is_heard: bool) -> bool {
        let Some(last) = &self.listed else { return true };
        let usual = if is_heard { LIST_PAUSE } else { DEAF_LIST_PAUSE };
        let shortest = (last.took * PAUSE_FACTOR).max(LEAST_PAUSE);
        let pause = if self.is_behind && is_heard { shortest } else { usual.max(shortest) };
        !last.is_whole || last.at.elapsed() >= pause
    }

    /// Whether a record in a listing is another one than that which was read.
    fn is_new(&self, job: &Noted<JobId>) -> bool {
        if let Some((version, _)) = self.unreadable.get(&job.id) {
            return version.is_none() || *version != job.version;
        }
        if let Some(version) = self.recordless.get(&job.id) {
            return version.is_none() || *version != job.version;
        }
        self.entries.get(&job.id).is_none_or(|entry| {
            job.version.is_none() || entry.stamp != (job.written_at, job.version.clone())
        })
    }

    /// Keeps what was read. It counts as changed only if it says something else than before.
    fn keep(&mut self, noted: Noted<JobId>, job: JobReport, next: u64) {
        self.unreadable.remove(&noted.id);
        self.recordless.remove(&noted.id);
        let before = self.entries.get(&noted.id);
        // The worker of a run that goes on is asked for afterwards.
        let worker = before.filter(|_| job.state == RecordState::Active);
        let worker = job.worker.clone().or_else(|| worker?.job.worker.clone());
        let job = JobReport { worker, ..job };
        let same = before.filter(|entry| entry.job == job);
        let changed = same.map_or(next, |entry| entry.changed);
        self.version = self.version.max(changed);
        let stamp = (noted.written_at, noted.version);
        self.entries.insert(noted.id, Entry { stamp, job, changed });
    }
}
