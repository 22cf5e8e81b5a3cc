//! Retention: removes logs that are older than a number of days. One worker of a namespace does it,
//! once a day, a bounded piece at a time.
//!
//! The pass also compacts chunks of past days that a dead host left.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::compact::compact;
use super::key::{Day, LogKey};
use crate::job::JobId;
use crate::storage::{
    Bucket, Failures, Journal, JournalError, Listed, ObjectStore, Pass, RecordState, Retention,
    StoreError, Swept, Turn, oldest_kept,
};

/// What a pass does to an object, for the log of its failures.
const DOING: &str = "remove or compact an old log";

/// Why a pass ended before its end.
#[derive(Debug, thiserror::Error)]
pub enum RetentionError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The journal.
    #[error(transparent)]
    Journal(#[from] JournalError),
}

/// Removes what is older than `retention` allows. For a daily pass, it takes the turn of the day of `now`,
/// where it is free. Gives `None` where another one has it, or takes it over.
///
/// # Errors
///
/// Whatever the store says where it fails again and again. The rest is for the next pass then.
pub async fn sweep(
    pass: Pass,
    store: &dyn ObjectStore,
    journal: &Journal,
    namespace: &str,
    retention: Retention,
    now: Timestamp,
) -> Result<Option<Swept>, RetentionError> {
    let today = Day::of(now);
    let key = format!("{namespace}/log-retention.json");
    let Some(mut turn) = Turn::begin(pass, store, key, today.to_string()).await? else {
        return Ok(None);
    };
    let mut swept = Swept::default();
    while let Some(page) = turn.next_page(Bucket::Logs, "logs/", retention.max_keys).await? {
        sweep_page(pass, store, journal, &page, retention.days, now, &mut swept).await?;
    }
    Ok(turn.ended(swept))
}

async fn sweep_page(
    pass: Pass,
    store: &dyn ObjectStore,
    journal: &Journal,
    page: &[Listed],
    days: u32,
    now: Timestamp,
    swept: &mut Swept,
) -> Result<(), RetentionError> {
    let ago = |days: u32| Day::of(oldest_kept(now, days));
    // For all workers, a day is over only some time after its end.
    let (oldest, over) = (ago(days), ago(1));
    let mut failures = Failures::default();
    let mut left_behind = BTreeSet::new();
    for object in page {
        let mut is_removed = false;
        if let Some((job, parsed)) = parse(&object.key) {
            if parsed.day() < oldest {
                let marker_of = matches!(parsed, LogKey::Done(..)).then_some(&job);
                let deleted = delete_old(pass, store, journal, &object.key, marker_of).await;
                is_removed = failures.note(DOING, &object.key, deleted)?.unwrap_or(false);
            } else if parsed.day() < over && matches!(parsed, LogKey::Chunk(..)) {
                left_behind.insert((job, parsed.day()));
            }
        }
        swept.count(object, is_removed);
    }
    for (job, day) in left_behind.into_iter().filter(|_| pass.removes()) {
        let compacted = compact(store, &job, day).await.map_err(RetentionError::from);
        failures.note(DOING, &format!("{job} {day}"), compacted)?;
    }
    swept.failed += failures.all;
    Ok(())
}

/// Removes an object that is too old; one that is the marker of a job that may run stays. Returns whether it
/// is removed.
async fn delete_old(
    pass: Pass,
    store: &dyn ObjectStore,
    journal: &Journal,
    key: &str,
    marker_of: Option<&JobId>,
) -> Result<bool, RetentionError> {
    if let Some(job) = marker_of
        && !is_finished(journal, job).await?
    {
        return Ok(false);
    }
    if pass.removes() {
        store.delete(Bucket::Logs, key).await?;
    }
    Ok(true)
}

fn parse(key: &str) -> Option<(JobId, LogKey)> {
    let job: JobId = key.strip_prefix("logs/")?.split('/').next()?.parse().ok()?;
    let parsed = LogKey::parse(&job, key)?;
    Some((job, parsed))
}

/// Whether a job runs no more, as far as this namespace knows. The marker of one that does tells
/// where its log goes on, however long it has been silent.
async fn is_finished(journal: &Journal, job: &JobId) -> Result<bool, JournalError> {
    let known = journal.read(job).await?;
    Ok(known.is_some_and(|(record, _)| record.state == RecordState::Finished))
}

#[cfg(test)]
mod tests;
