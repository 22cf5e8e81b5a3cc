//! A run's record in the journal, written under one tenure. Each write replaces only our own last
//! one. So we notice if another worker has taken over the run, and leave it alone.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use backon::{ExponentialBuilder, Retryable};
use tokio::sync::Mutex;

use super::execute::Keeper;
use crate::job::Run;
use crate::storage::{ETag, JobRecord, Journal, JournalError, Place};
use crate::worker::context::Tools;
use crate::worker::decide;
use crate::worker::drain::Drain;
use crate::worker::ownership::tenure::{Change, Tenure};

/// How often a record of ours may have been written by ourselves meanwhile.
const MAX_OWN_WRITES: usize = 4;

/// The longest pause between two attempts to write a record.
const MAX_WRITE_PAUSE: Duration = Duration::from_secs(30);

/// A job that is ours.
pub(in crate::worker) struct Claimed {
    /// What to run.
    pub(in crate::worker) run: Run,
    /// Under which tenure.
    pub(in crate::worker) tenure: Arc<Tenure>,
    /// Its record, as we wrote it.
    pub(in crate::worker) record: JobRecord,
    /// The record's version.
    pub(in crate::worker) etag: ETag,
}

/// The record of a run of ours, and its version as we know it.
pub(in crate::worker) struct Account {
    journal: Journal,
    place: Place,
    drain: Drain,
    tenure: Arc<Tenure>,
    known: Mutex<(JobRecord, ETag)>,
}

/// The outcome of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::worker) enum Written {
    /// It is in the journal.
    Yes,
    /// Another worker has written since: the run is theirs.
    TakenOver,
    /// The worker is releasing its runs.
    Detached,
}

impl Account {
    /// The account of a run whose record we wrote last.
    pub(in crate::worker) fn new(
        tools: &Tools,
        drain: &Drain,
        tenure: Arc<Tenure>,
        (record, etag): (JobRecord, ETag),
    ) -> Self {
        let (journal, place) = (tools.journal.clone(), tools.place.clone());
        Self { journal, place, drain: drain.clone(), tenure, known: Mutex::new((record, etag)) }
    }

    /// The record as we know it.
    pub(in crate::worker) async fn record(&self) -> JobRecord {
        self.known.lock().await.0.clone()
    }

    /// Under which tenure the run is ours.
    pub(in crate::worker) fn tenure(&self) -> &Arc<Tenure> {
        &self.tenure
    }

    /// Writes the record with a change, and waits as long as the store is away.
    pub(in crate::worker) async fn write(&self, change: impl FnOnce(&mut JobRecord)) -> Written {
        let mut known = self.known.lock().await;
        let mut record = known.0.clone();
        change(&mut record);
        let backoff = ExponentialBuilder::new()
            .with_jitter()
            .with_max_delay(MAX_WRITE_PAUSE)
            .without_max_times();
        let write = (|| write(&self.journal, &record, Some(&known.1)))
            .retry(backoff)
            .notify(|error, _| tracing::warn!(job.id = %record.id, %error, "could not write the journal; trying again"));
        let written = tokio::select! {
        biased;
               written = write => written,
               () = self.drain.detached().cancelled() => return Written::Detached,
           };
        if let Ok(Some(etag)) = written {
            *known = (record, etag);
            Written::Yes
        } else {
            tracing::warn!(job.id = %record.id, "left a run to the worker that took it over");
            // If the segment is still ours, the entry of our claim is to be removed.
            self.tenure.note(Change::Unfinished);
            Written::TakenOver
        }
    }
}

/// Writes a record that replaces the version `seen`, or is the first. If another record is there,
/// we may have written it ourselves, with a try that got no answer.
pub(in crate::worker) async fn write(
    journal: &Journal,
    record: &JobRecord,
    seen: Option<&ETag>,
) -> Result<Option<ETag>, JournalError> {
    let mut seen = seen.cloned();
    for _ in 0..MAX_OWN_WRITES {
        let written = match &seen {
            Some(seen) => journal.replace(record, seen).await?,
            None => journal.create(record).await?,
        };
        if written.is_some() {
            return Ok(written);
        }
        match journal.read(&record.id).await? {
            Some((found, etag)) if found == *record => return Ok(Some(etag)),
            // An earlier one of ours, whose answer nobody waited for: a stop may come while it is written.
            Some((found, etag)) if decide::follows(&found, record) => seen = Some(etag),
            _ => return Ok(None),
        }
    }
    Err(JournalError::Contended { id: record.id.clone() })
}

#[async_trait]
impl Keeper for Account {
    async fn begin_attempt(&self, attempt: u32) -> bool {
        if self.tenure.proven().await.is_err() {
            return false;
        }
        let place = &self.place;
        let is_noted = {
            let known = self.known.lock().await;
            known.0.attempt == attempt && known.0.place.as_ref() == Some(place)
        };
        is_noted
            || self
                .write(|record| {
                    record.attempt = attempt;
                    record.place = Some(place.clone());
                })
                .await
                == Written::Yes
    }
}
