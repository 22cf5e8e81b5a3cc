//! Compaction: the chunks of a day become the daily object, each line once.
//!
//! Data and record go in one conditional PUT. Every compaction appends the chunks and one line of
//! ours, `{time} longshore {ranges}`, that says which. So if a compaction ends between the PUT and
//! the deletes, the next one only cleans up. A marker `{range}.done` replaces deleted chunks, so
//! the keys alone say where a container's output goes on.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use jiff::Timestamp;

use super::key::{Day, FrameRange, LogKey, Origin, daily_key, last_stored, once_each, prefix};
use super::line::write_stored;
use crate::job::JobId;
use crate::storage::{Bucket, Condition, ObjectStore, StoreError};

/// The size up to which a daily object is filled, in bytes; more goes into the next part. Each
/// compaction holds one in memory, and rewrites it.
pub const MAX_DAILY_BYTES: usize = 8 << 20;

/// The most that is read of one log object, in bytes: a full one and one chunk of the largest size
/// that the settings allow.
pub(super) const MAX_READ_BYTES: u64 = 128 << 20;

/// How often a compaction begins again because another worker was writing.
const MAX_CONFLICTS: usize = 5;

/// The content type of log objects. It must be exactly this, because readers compare it.
pub(super) const LOG_TYPE: &str = "text/plain";

/// The second word of a line that records a compaction.
const RECORD_WORD: &str = "longshore";

/// The keys of a job's log objects, in ascending order.
pub(super) async fn list(store: &dyn ObjectStore, job: &JobId) -> Result<Vec<LogKey>, StoreError> {
    let keys = store.list(Bucket::Logs, &prefix(job)).await?;
    let mut keys: Vec<_> = keys.iter().filter_map(|key| LogKey::parse(job, key)).collect();
    keys.sort();
    Ok(keys)
}

/// The keys of a job's log objects, and the last stored range of `origin`.
///
/// Chunks and markers say it in their names. A log that was [written at once](store_whole) has
/// neither. It was the last thing that its run stored, and its record says it.
pub(super) async fn locate(
    store: &dyn ObjectStore,
    job: &JobId,
    origin: &Origin,
) -> Result<(Vec<LogKey>, Option<FrameRange>), StoreError> {
    let keys = list(store, job).await?;
    let last = last_stored(&keys, origin).cloned();
    let newest = keys.iter().rfind(|key| matches!(key, LogKey::Daily(..)));
    let (None, Some(newest)) = (&last, newest) else {
        return Ok((keys, last));
    };
    let mut covered = Covered::default();
    covered.read(&store.get(Bucket::Logs, &newest.key(job), MAX_READ_BYTES).await?.bytes);
    let last = covered.0.remove(origin);
    Ok((keys, last))
}

/// The chunks of `day` among `keys`, each attempt's in order of its frames.
pub(super) fn chunks_of(keys: &[LogKey], day: Day) -> Vec<FrameRange> {
    let of_day = keys.iter().filter_map(|key| match key {
        LogKey::Chunk(on, range) if *on == day => Some(range.clone()),
        _ => None,
    });
    of_day.collect()
}

/// The parts of `day`'s daily log among `keys`, ascending.
pub(super) fn parts_of(keys: &[LogKey], day: Day) -> Vec<u32> {
    let of_day = keys.iter().filter_map(|key| match key {
        LogKey::Daily(on, part) if *on == day => Some(*part),
        _ => None,
    });
    of_day.collect()
}

/// Which chunks a daily object has, according to its records: for each attempt, the range that goes
/// farthest.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Covered(BTreeMap<Origin, FrameRange>);

impl Covered {
    /// Adds the records in `daily`.
    pub(super) fn read(&mut self, daily: &[u8]) {
        for line in daily.split(|byte| *byte == b'\n') {
            for range in record(line).into_iter().flatten() {
                let farthest = self.0.entry(range.origin.clone()).or_insert_with(|| range.clone());
                if farthest.last < range.last {
                    *farthest = range;
                }
            }
        }
    }

    /// Whether a chunk is in it.
    pub(super) fn holds(&self, range: &FrameRange) -> bool {
        self.0.get(&range.origin).is_some_and(|farthest| range.last <= farthest.last)
    }
}

/// The ranges of a line that records a compaction; `None` for every other line.
pub(super) fn record(line: &[u8]) -> Option<Vec<FrameRange>> {
    let mut parts = line.splitn(3, |byte| *byte == b' ');
    let (_, word, ranges) = (parts.next()?, parts.next()?, parts.next()?);
    if word != RECORD_WORD.as_bytes() {
        return None;
    }
    let ranges: Option<Vec<_>> =
        std::str::from_utf8(ranges).ok()?.split(' ').map(FrameRange::parse).collect();
    ranges.filter(|ranges| !ranges.is_empty())
}

/// One range for each attempt, from the first to the last of the given chunks.
fn spans(chunks: &[FrameRange]) -> Vec<FrameRange> {
    let mut spans: BTreeMap<&Origin, FrameRange> = BTreeMap::new();
    for chunk in chunks {
        let span = spans.entry(&chunk.origin).or_insert_with(|| chunk.clone());
        span.first = span.first.min(chunk.first);
        if span.last < chunk.last {
            (span.last, span.end) = (chunk.last, chunk.end);
        }
    }
    spans.into_values().collect()
}

/// Sorts the chunks of a day by the time at which their attempts began in it.
pub(super) async fn in_order_of_time(
    store: &dyn ObjectStore,
    job: &JobId,
    day: Day,
    chunks: &mut [FrameRange],
) -> Result<(), StoreError> {
    let mut begins: BTreeMap<Origin, Vec<u8>> = BTreeMap::new();
    let origins: BTreeSet<_> = chunks.iter().map(|chunk| &chunk.origin).collect();
    if origins.len() < 2 {
        return Ok(());
    }
    for chunk in chunks.iter() {
        if !begins.contains_key(&chunk.origin) {
            let key = LogKey::Chunk(day, chunk.clone()).key(job);
            let bytes = store.get(Bucket::Logs, &key, MAX_READ_BYTES).await?.bytes;
            let time = bytes.split(|byte| *byte == b' ').next().unwrap_or_default();
            begins.insert(chunk.origin.clone(), time.to_vec());
        }
    }
    chunks.sort_by(|a, b| (begins.get(&a.origin), a).cmp(&(begins.get(&b.origin), b)));
    Ok(())
}

/// Puts the chunks of `day` into the daily log and deletes them. It can be repeated at any time,
/// also while more chunks of the same day are being stored.
///
/// # Errors
///
/// The store's errors. Only "no such object" counts as an empty log. A
/// [`StoreError::ConditionFailed`] means that another worker kept writing.
pub async fn compact(store: &dyn ObjectStore, job: &JobId, day: Day) -> Result<(), StoreError> {
    let mut conflicts = 0;
    loop {
        match compact_once(store, job, day).await {
            Ok(Progress::Done) => return Ok(()),
            Ok(Progress::More) => {}
            Err(StoreError::ConditionFailed { .. } | StoreError::NotFound { .. })
                if conflicts < MAX_CONFLICTS =>
            {
                conflicts += 1;
            }
            Err(error) => return Err(error),
        }
    }
}

/// Stores the whole log of a job that has none yet as its daily log: the same result as a chunk,
/// its compaction and its deletion. Returns `false` if there is a log already; that is not asked for a
/// job that `is_new`.
///
/// # Errors
///
/// The store's errors. Then nothing is stored, or the record says that it is.
pub(super) async fn store_whole(
    store: &dyn ObjectStore,
    job: &JobId,
    day: Day,
    range: &FrameRange,
    bytes: &[u8],
    is_new: bool,
) -> Result<bool, StoreError> {
    if !is_new && !list(store, job).await?.is_empty() {
        return Ok(false);
    }
    let mut body = bytes.to_vec();
    write_stored(&mut body, Timestamp::now(), RECORD_WORD, &range.to_string());
    let key = daily_key(job, day);
    match store.put(Bucket::Logs, &key, body.into(), LOG_TYPE, Condition::Absent).await {
        Ok(_) => Ok(true),
        Err(StoreError::ConditionFailed { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

enum Progress {
    Done,
    More,
}

async fn compact_once(
    store: &dyn ObjectStore,
    job: &JobId,
    day: Day,
) -> Result<Progress, StoreError> {
    let keys = list(store, job).await?;
    let mut chunks = chunks_of(&keys, day);
    if chunks.is_empty() {
        return Ok(Progress::Done);
    }
    let last = Part::open(store, job, day, &keys).await?;
    let (held, left): (Vec<_>, Vec<_>) =
        std::mem::take(&mut chunks).into_iter().partition(|chunk| last.covered.holds(chunk));
    let (all, mut left) = (left.len(), once_each(left));
    // Leftovers of an earlier compaction go first: a new part begins only when the last part alone
    // says which chunks are compacted.
    retire(store, job, day, &held, &keys).await?;
    if left.is_empty() {
        return Ok(Progress::Done);
    }
    in_order_of_time(store, job, day, &mut left).await?;
    let taken = last.append(store, job, day, &left).await?;
    retire(store, job, day, &left[..taken], &keys).await?;
    Ok(if taken == all { Progress::Done } else { Progress::More })
}

/// The part of a daily log that is being filled.
struct Part {
    number: u32,
    bytes: Bytes,
    condition: Condition,
    covered: Covered,
}

impl Part {
    async fn open(
        store: &dyn ObjectStore,
        job: &JobId,
        day: Day,
        keys: &[LogKey],
    ) -> Result<Self, StoreError> {
        let number = parts_of(keys, day).last().copied().unwrap_or(1);
        let fresh = |number| Self {
            number,
            bytes: Bytes::new(),
            condition: Condition::Absent,
            covered: Covered::default(),
        };
        let key = LogKey::Daily(day, number).key(job);
        match store.get(Bucket::Logs, &key, MAX_READ_BYTES).await {
            Ok(object) => {
                let mut covered = Covered::default();
                covered.read(&object.bytes);
                if object.bytes.len() >= MAX_DAILY_BYTES {
                    return Ok(Self { covered, ..fresh(number + 1) });
                }
                let condition = Condition::Unchanged(object.etag);
                Ok(Self { number, bytes: object.bytes, condition, covered })
            }
            // Only this means an empty log. After any other error, a write could erase the day.
            Err(StoreError::NotFound { .. }) => Ok(fresh(number)),
            // Not written by us, because our objects stay smaller.
            Err(StoreError::TooLarge { .. }) => Ok(fresh(number + 1)),
            Err(error) => Err(error),
        }
    }

    /// Rewrites the part with as many chunks as fit, at least one. Returns how many.
    async fn append(
        self,
        store: &dyn ObjectStore,
        job: &JobId,
        day: Day,
        chunks: &[FrameRange],
    ) -> Result<usize, StoreError> {
        let mut body = Vec::from(self.bytes);
        if body.last().is_some_and(|byte| *byte != b'\n') {
            body.push(b'\n');
        }
        let mut taken = 0;
        for chunk in chunks {
            let key = LogKey::Chunk(day, chunk.clone()).key(job);
            let bytes = store.get(Bucket::Logs, &key, MAX_READ_BYTES).await?.bytes;
            if taken > 0 && body.len() + bytes.len() > MAX_DAILY_BYTES {
                break;
            }
            body.extend_from_slice(&bytes);
            taken += 1;
        }
        let ranges: Vec<_> = spans(&chunks[..taken]).iter().map(ToString::to_string).collect();
        write_stored(&mut body, Timestamp::now(), RECORD_WORD, &ranges.join(" "));
        let key = LogKey::Daily(day, self.number).key(job);
        store.put(Bucket::Logs, &key, body.into(), LOG_TYPE, self.condition).await?;
        Ok(taken)
    }
}

/// Deletes compacted chunks after their markers are written, and then the markers that these
/// replace.
async fn retire(
    store: &dyn ObjectStore,
    job: &JobId,
    day: Day,
    chunks: &[FrameRange],
    keys: &[LogKey],
) -> Result<(), StoreError> {
    let spans = spans(chunks);
    for span in &spans {
        let key = LogKey::Done(day, span.clone()).key(job);
        let body = Bytes::from(format!("{span}\n"));
        store.put(Bucket::Logs, &key, body, LOG_TYPE, Condition::None).await?;
    }
    for chunk in chunks {
        store.delete(Bucket::Logs, &LogKey::Chunk(day, chunk.clone()).key(job)).await?;
    }
    for old in keys {
        let replaced = |range: &FrameRange| {
            spans.iter().any(|span| span.origin == range.origin && range.last < span.last)
        };
        if matches!(old, LogKey::Done(_, range) if replaced(range)) {
            store.delete(Bucket::Logs, &old.key(job)).await?;
        }
    }
    Ok(())
}

/// Compacts every day of a job that has chunks, and deletes the markers of its earlier attempts.
/// This is for the end of `run`, when no container of those attempts is adopted any more.
///
/// # Errors
///
/// As [`compact`].
pub(super) async fn compact_run(
    store: &dyn ObjectStore,
    job: &JobId,
    run: &Origin,
) -> Result<(), StoreError> {
    let keys = list(store, job).await?;
    let with_chunks: BTreeSet<_> =
        keys.iter().filter(|key| matches!(key, LogKey::Chunk(..))).map(LogKey::day).collect();
    for day in with_chunks {
        compact(store, job, day).await?;
    }
    for key in list(store, job).await? {
        if matches!(&key, LogKey::Done(_, range) if range.origin != *run) {
            store.delete(Bucket::Logs, &key.key(job)).await?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
