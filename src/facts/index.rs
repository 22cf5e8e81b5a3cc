//! The jobs, for many who look. They share one index in memory. It lists the journal at most every
//! few seconds, and reads only the records that have changed since.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use jiff::Timestamp;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::FactsError;
use super::jobs::{CONCURRENCY, JobReport, MAX_LISTED, candidates, name_workers, read_one};
use crate::job::JobId;
use crate::storage::{ETag, Journal};

/// The least time between two looks at the journal, however many viewers there are.
const LEAST_PAUSE: Duration = Duration::from_secs(2);

/// The pause is at least so many times as long as the last look took. So looking takes a small part
/// of the time, however many jobs there are.
const PAUSE_FACTOR: u32 = 10;

/// How many jobs are kept, the newest first. Each takes about 400 bytes.
const MAX_KEPT: usize = 20_000;

/// How many records one look reads. The first looks at a long journal read a part each.
const MAX_READ: usize = 2_000;

/// The jobs of the journal.
pub struct JobIndex {
    journal: Journal,
    held: tokio::sync::Mutex<Held>,
    looked: Mutex<Option<Arc<Looked>>>,
    /// Distinguishes the versions of this index from those of another process.
    epoch: String,
}

#[derive(Default)]
struct Held {
    entries: HashMap<JobId, Entry>,
    unreadable: HashMap<JobId, (Option<ETag>, String)>,
    version: u64,
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
    pub fn new(journal: Journal) -> Self {
        let epoch = uuid::Uuid::new_v4().simple().to_string();
        Self { journal, held: tokio::sync::Mutex::default(), looked: Mutex::default(), epoch }
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
        let begun = Instant::now();
        let unread = self.refresh(&mut held).await?;
        let took = begun.elapsed();
        let pause = if unread > 0 { Duration::ZERO } else { LEAST_PAUSE.max(took * PAUSE_FACTOR) };
        let mut jobs: Vec<_> =
            held.entries.values().map(|entry| (entry.changed, entry.job.clone())).collect();
        jobs.sort_by(|(_, a), (_, b)| b.begun_at.cmp(&a.begun_at).then_with(|| a.id.cmp(&b.id)));
        let looked = Arc::new(Looked {
            jobs,
            version: held.version,
            epoch: self.epoch.clone(),
            left_out: unread,
            unreadable: held.unreadable.values().map(|(_, why)| why.clone()).collect(),
            again_at: Instant::now() + pause,
        });
        *self.looked.lock() = Some(Arc::clone(&looked));
        Ok(looked)
    }

    /// Lists the journal, and reads what has changed. Returns how many jobs are not known yet.
    async fn refresh(&self, held: &mut Held) -> Result<usize, FactsError> {
        let mut listed = candidates(self.journal.jobs(MAX_LISTED).await?, None);
        let too_old = listed.len().saturating_sub(MAX_KEPT);
        listed.truncate(MAX_KEPT);
        let present: HashSet<&JobId> = listed.iter().map(|job| &job.id).collect();
        held.entries.retain(|id, _| present.contains(id));
        held.unreadable.retain(|id, _| present.contains(id));
        let is_new = |job: &&crate::storage::Noted<JobId>| match held.unreadable.get(&job.id) {
            Some((version, _)) => *version != job.version || version.is_none(),
            None => held.entries.get(&job.id).is_none_or(|entry| {
                entry.stamp.1.is_none() || entry.stamp != (job.written_at, job.version.clone())
            }),
        };
        let changed: Vec<_> = listed.iter().filter(is_new).collect();
        let unread = changed.len().saturating_sub(MAX_READ);
        let next = held.version + 1;
        let mut read = stream::iter(changed.into_iter().take(MAX_READ))
            .map(|job| async move { (job, read_one(&self.journal, &job.id).await) })
            .buffered(CONCURRENCY);
        while let Some((noted, read)) = read.next().await {
            match read {
                Ok(Some(job)) => {
                    held.unreadable.remove(&noted.id);
                    let stamp = (noted.written_at, noted.version.clone());
                    let before =
                        held.entries.get(&noted.id).map(|entry| (&entry.job, entry.changed));
                    let changed = match before {
                        Some((before, at)) if is_same(before, &job) => at,
                        _ => next,
                    };
                    held.version = held.version.max(changed);
                    held.entries.insert(noted.id.clone(), Entry { stamp, job, changed });
                }
                // It was removed a moment ago.
                Ok(None) => {}
                Err(error) if error.is_corrupt() => {
                    let why = (noted.version.clone(), error.to_string());
                    held.unreadable.insert(noted.id.clone(), why);
                }
                Err(error) => return Err(error.into()),
            }
        }
        drop(read);
        let named =
            name_workers(&self.journal, held.entries.values_mut().map(|entry| &mut entry.job))
                .await?;
        for id in named {
            if let Some(entry) = held.entries.get_mut(&id) {
                entry.changed = next;
                held.version = next;
            }
        }
        Ok(unread + too_old)
    }
}

/// Whether two reports say the same, apart from the worker of a run that goes on: that is asked
/// afterwards.
fn is_same(before: &JobReport, after: &JobReport) -> bool {
    let worker = after.worker.clone().or_else(|| before.worker.clone());
    *before == JobReport { worker, ..after.clone() }
}
