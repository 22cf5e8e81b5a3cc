//! Retention: removes logs that are older than a number of days. One worker of a namespace does it,
//! once a day, a bounded piece at a time.
//!
//! The pass also compacts chunks of past days that a dead host left.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::{Timestamp, ToSpan as _};
use tokio::time::sleep;
use tracing::{info, warn};

use super::compact::compact;
use super::key::{Day, LogKey};
use crate::job::JobId;
use crate::storage::{
    Bucket, Failures, Journal, JournalError, Listed, ObjectStore, RecordState, Retention,
    StoreError, Swept, Turn,
};

/// How often a worker checks whether a new day has begun that no worker has taken.
const LOOK: Duration = Duration::from_hours(1);

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

/// Takes a turn whenever a new day has begun that no worker has taken. Never ends.
pub async fn keep(
    store: &dyn ObjectStore,
    journal: &Journal,
    namespace: &str,
    retention: Retention,
) -> std::convert::Infallible {
    loop {
        match sweep(store, journal, namespace, retention, Timestamp::now()).await {
            Ok(None) => {}
            Ok(Some(Swept { seen, removed, failed })) => {
                info!(seen, removed, failed, "removed old logs");
            }
            Err(error) => warn!(%error, "could not remove old logs; the next day goes on there"),
        }
        sleep(LOOK).await;
    }
}

/// Takes the turn of the day of `now`, where it is free: removes what is older than `retention`
/// allows. Gives `None` where another one has it, or takes it over.
///
/// # Errors
///
/// Whatever the store says where it fails again and again. The rest is for the next day then.
pub async fn sweep(
    store: &dyn ObjectStore,
    journal: &Journal,
    namespace: &str,
    retention: Retention,
    now: Timestamp,
) -> Result<Option<Swept>, RetentionError> {
    let today = Day::of(now);
    let key = format!("{namespace}/log-retention.json");
    let Some(mut turn) = Turn::take(store, key, today.to_string()).await? else {
        return Ok(None);
    };
    let (mut removed, mut failed) = (0, 0);
    while let Some(page) = turn.next_page(Bucket::Logs, "logs/", retention.max_keys).await? {
        let done = sweep_page(store, journal, &page, retention.days, now).await?;
        removed += done.0;
        failed += done.1;
    }
    Ok(turn.ended(removed, failed))
}

/// Returns how many objects it removed, and how many it left because they failed.
async fn sweep_page(
    store: &dyn ObjectStore,
    journal: &Journal,
    page: &[Listed],
    days: u32,
    now: Timestamp,
) -> Result<(usize, usize), RetentionError> {
    let ago = |days: u32| {
        let hours = i64::from(days).saturating_mul(24);
        Day::of(now.checked_sub(hours.hours()).unwrap_or(Timestamp::MIN))
    };
    // For all workers, a day is over only some time after its end.
    let (oldest_kept, past) = (ago(days), ago(1));
    let mut failures = Failures::default();
    let mut removed = 0;
    let mut left_behind = BTreeSet::new();
    for Listed { key, .. } in page {
        let Some((job, parsed)) = parse(key) else { continue };
        if parsed.day() < oldest_kept {
            let is_marker = matches!(parsed, LogKey::Done(..));
            let deleted = delete_old(store, journal, key, is_marker.then_some(&job)).await;
            removed += usize::from(failures.note(DOING, key, deleted)?.unwrap_or(false));
        } else if parsed.day() < past && matches!(parsed, LogKey::Chunk(..)) {
            left_behind.insert((job, parsed.day()));
        }
    }
    for (job, day) in left_behind {
        let compacted = compact(store, &job, day).await.map_err(RetentionError::from);
        failures.note(DOING, &format!("{job} {day}"), compacted)?;
    }
    Ok((removed, failures.all))
}

/// Removes an object that is too old; one that is the marker of a job that may run stays. Returns whether it
/// is removed.
async fn delete_old(
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
    store.delete(Bucket::Logs, key).await?;
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
