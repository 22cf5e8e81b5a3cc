//! Removes records of the journal that are older than a number of days. One worker of a namespace does it,
//! once a day, a bounded piece at a time.
//!
//! Each is removed only in the version that was looked at. So a job that is started again meanwhile keeps
//! its record.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::time::sleep;

use super::{Journal, JournalError, Seen, day_of};
use crate::job::JobId;
use crate::storage::turn::{Failures, Retention, Swept, Turn};
use crate::storage::{Bucket, ETag, Listed, RecordState, probe};

/// How often a worker checks whether a new day has begun that no worker has taken.
const LOOK: Duration = Duration::from_hours(1);

/// What is removed because of its age alone, and what only if its run has ended.
enum Old<'a> {
    /// The end of an earlier run, stops that were noted, a refusal.
    Anyway,
    /// The latest run of a job.
    Job(&'a str),
}

impl Journal {
    /// Removes old records whenever a new day has begun that no worker has taken. Never ends.
    pub async fn keep_young(&self, retention: Retention) -> std::convert::Infallible {
        loop {
            match self.sweep(retention, Timestamp::now()).await {
                Ok(None) => {}
                Ok(Some(Swept { seen, removed, failed })) => {
                    tracing::info!(seen, removed, failed, "removed old records of jobs");
                }
                Err(error) => {
                    tracing::warn!(%error, "could not remove old records of jobs; the next day goes on there");
                }
            }
            sleep(LOOK).await;
        }
    }

    /// Takes the turn of the day of `now`, if it is free, and removes what is too old. `None`: another
    /// worker has the turn, or takes it over.
    ///
    /// # Errors
    /// If the store fails again and again. The rest is left for the next day.
    pub async fn sweep(
        &self,
        retention: Retention,
        now: Timestamp,
    ) -> Result<Option<Swept>, JournalError> {
        let key = format!("{}/record-retention.json", self.namespace);
        let taken = Turn::take(&*self.store, key, day_of(now)).await?;
        let Some(mut turn) = taken else { return Ok(None) };
        if !probe::conditional_deletes(&*self.store, &self.namespace).await? {
            tracing::warn!(
                "RECORD_RETENTION_DAYS has no effect: the object store ignores If-Match when it deletes, so a job that \
                 is started again could lose its record"
            );
            return Ok(Some(Swept::default()));
        }
        let age = SignedDuration::from_hours(i64::from(retention.days).saturating_mul(24));
        let oldest_kept = now.checked_sub(age).unwrap_or(Timestamp::MIN);
        let prefix = format!("{}/", self.namespace);
        let (mut removed, mut failures) = (0, Failures::default());
        while let Some(page) = turn.next_page(Bucket::State, &prefix, retention.max_keys).await? {
            for object in &page {
                let done = self.remove_if_old(object, &prefix, oldest_kept).await;
                let done = failures.note("remove an old record", &object.key, done)?;
                removed += usize::from(done.unwrap_or(false));
            }
        }
        Ok(turn.ended(removed, failures.all))
    }

    async fn remove_if_old(
        &self,
        object: &Listed,
        prefix: &str,
        oldest_kept: Timestamp,
    ) -> Result<bool, JournalError> {
        let is_old = object.written_at.is_some_and(|at| at < oldest_kept);
        let (Some(old), true) = (old(&object.key, prefix), is_old) else { return Ok(false) };
        let version = match old {
            Old::Anyway => object.etag.clone(),
            Old::Job(id) => self.ended_version(id).await?,
        };
        let Some(version) = version else { return Ok(false) };
        Ok(self.store.delete_unchanged(Bucket::State, &object.key, &version).await?)
    }

    /// The version of a job's record, if its run has ended and nothing is left to do for it.
    async fn ended_version(&self, id: &str) -> Result<Option<ETag>, JournalError> {
        let Ok(id) = id.parse::<JobId>() else { return Ok(None) };
        Ok(match self.look(&id).await? {
            Seen::Nothing => None,
            Seen::Stopped(version) => Some(version),
            Seen::Record(record, version) => {
                let is_over =
                    record.state == RecordState::Finished && !self.is_entered(&record).await?;
                is_over.then_some(version)
            }
        })
    }
}

fn old<'a>(key: &'a str, prefix: &str) -> Option<Old<'a>> {
    let (folder, name) = key.strip_prefix(prefix)?.split_once('/')?;
    match folder {
        "ended" | "rejected" | "stops" => Some(Old::Anyway),
        "jobs" => name.strip_suffix(".json").map(Old::Job),
        _ => None,
    }
}
