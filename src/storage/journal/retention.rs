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
use crate::storage::turn::Turn;
use crate::storage::{Bucket, ETag, Listed, RecordState, probe};

/// How often a worker checks whether a new day has begun that no worker has taken.
const LOOK: Duration = Duration::from_hours(1);

/// How many keys are checked together.
const PAGE: usize = 1000;

/// Records in a row that may fail before a pass ends: it is the store then, and not a record.
const MAX_FAILED_IN_A_ROW: usize = 20;

/// How long records are kept that nobody needs any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordRetention {
    /// Their age, in days; at least 1.
    pub days: u32,
    /// How many keys are checked in one day.
    pub max_keys: usize,
}

/// What a pass did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Swept {
    /// Keys that were checked.
    pub seen: usize,
    /// Objects that were removed.
    pub removed: usize,
    /// Objects that failed. The next pass that comes to them tries them again.
    pub failed: usize,
}

/// What is removed because of its age alone, and what only if its run has ended.
enum Old<'a> {
    /// The end of an earlier run, stops that were noted, a refusal.
    Anyway,
    /// The latest run of a job.
    Job(&'a str),
}

impl Journal {
    /// Removes old records whenever a new day has begun that no worker has taken. Never ends.
    pub async fn keep_young(&self, retention: RecordRetention) -> std::convert::Infallible {
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
        retention: RecordRetention,
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
        let (mut swept, mut failed_in_a_row) = (Swept::default(), 0);
        while swept.seen < retention.max_keys {
            let most = PAGE.min(retention.max_keys - swept.seen);
            let page = self.store.list_page(Bucket::State, &prefix, turn.after(), most).await?;
            swept.seen += page.len();
            for object in &page {
                match self.remove_if_old(object, &prefix, oldest_kept).await {
                    Ok(is_removed) => {
                        swept.removed += usize::from(is_removed);
                        failed_in_a_row = 0;
                    }
                    Err(error) => {
                        tracing::warn!(object = object.key, %error, "could not remove an old record; left it for the next pass");
                        swept.failed += 1;
                        failed_in_a_row += 1;
                        if failed_in_a_row >= MAX_FAILED_IN_A_ROW {
                            return Err(error);
                        }
                    }
                }
            }
            let is_last = page.len() < most;
            let last = page.into_iter().next_back().filter(|_| !is_last);
            if !turn.advance(last.map(|object| object.key).unwrap_or_default()).await? {
                return Ok(None);
            }
            if is_last {
                break;
            }
        }
        Ok(Some(swept))
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
