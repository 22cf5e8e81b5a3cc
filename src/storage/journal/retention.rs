//! Removes records of the journal that are older than a number of days. One worker of a namespace does it,
//! once a day, a bounded piece at a time.
//!
//! Each is removed only in the version that was looked at. So a job that is started again meanwhile keeps
//! its record.

use jiff::Timestamp;

use super::{Journal, JournalError, Seen, day_of};
use crate::job::JobId;
use crate::storage::turn::{Failures, Pass, Retention, Swept, Turn, oldest_kept};
use crate::storage::{Bucket, ETag, Listed, RecordState, probe};

/// What is removed because of its age alone, and what only if its run has ended.
enum Old<'a> {
    /// The end of an earlier run, stops that were noted, a refusal.
    Anyway,
    /// The latest run of a job.
    Job(&'a str),
}

impl Journal {
    /// Removes what is too old. For a daily pass, it takes the turn of the day of `now`, if it is free.
    /// `None`: another worker has the turn, or takes it over.
    ///
    /// # Errors
    /// If the store fails again and again. The rest is left for the next pass.
    pub async fn sweep(
        &self,
        pass: Pass,
        retention: Retention,
        now: Timestamp,
    ) -> Result<Option<Swept>, JournalError> {
        let key = format!("{}/record-retention.json", self.namespace);
        let begun = Turn::begin(pass, &*self.store, key, day_of(now)).await?;
        let Some(mut turn) = begun else { return Ok(None) };
        let goes = retention.days != Retention::FOR_EVER && pass.removes();
        if goes && !probe::conditional_deletes(&*self.store, &self.namespace).await? {
            tracing::warn!(
                "RECORD_RETENTION_DAYS has no effect: the object store ignores If-Match when it deletes, so a job that \
                 is started again could lose its record"
            );
            return Ok(Some(Swept::default()));
        }
        let oldest_kept = oldest_kept(now, retention.days);
        let prefix = format!("{}/", self.namespace);
        let (mut swept, mut failures) = (Swept::default(), Failures::default());
        while let Some(page) = turn.next_page(Bucket::State, &prefix, retention.max_keys).await? {
            for object in &page {
                let done = self.remove_if_old(pass, object, &prefix, oldest_kept).await;
                let done = failures.note("remove an old record", &object.key, done)?;
                swept.count(object, done.unwrap_or(false));
            }
        }
        Ok(turn.ended(Swept { failed: failures.all, ..swept }))
    }

    async fn remove_if_old(
        &self,
        pass: Pass,
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
        if !pass.removes() {
            return Ok(true);
        }
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
