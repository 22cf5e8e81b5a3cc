//! Reading a job's log back: the daily log, then the chunks that are not in it yet, each line once.

use std::collections::VecDeque;
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use tempfile::TempDir;

use super::Stream;
use super::compact::{
    Covered, MAX_READ_BYTES, chunks_of, in_order_of_time, list, locate, parts_of, record,
};
use super::key::{Day, FrameRange, LogKey, Origin, once_each};
use super::line::{StoredLine, stored_time};
use crate::job::{JobId, RunId};
use crate::storage::{Bucket, ObjectStore, StoreError};

/// The most lines that a tail may ask for.
pub const MAX_TAIL_LINES: usize = 100_000;

/// How often a day is read again because it was being compacted.
const MAX_RESTARTS: usize = 5;

/// Which lines to read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogQuery {
    /// The first day; `None`: from the beginning.
    pub from: Option<Day>,
    /// The last day; `None`: to the end.
    pub to: Option<Day>,
    /// Only so many of the last lines, [`MAX_TAIL_LINES`] at most.
    pub tail: Option<usize>,
    /// Only what was written there.
    pub stream: Option<Stream>,
    /// Only lines that were written then or later. For lines that are not in our form, and so have
    /// no time, the day decides.
    pub since: Option<Timestamp>,
}

/// Which lines of an object are wanted.
#[derive(Debug, Clone, Default)]
struct Filter {
    stream: Option<Stream>,
    /// As stored lines write it.
    since: Option<String>,
}

impl Filter {
    fn of(query: &LogQuery) -> Self {
        Self { stream: query.stream, since: query.since.map(stored_time) }
    }

    fn takes(&self, line: &StoredLine<'_>) -> bool {
        let is_of_stream = self.stream.is_none() || self.stream == line.stream;
        let is_late_enough =
            self.since.as_deref().is_none_or(|since| line.time.is_empty() || line.time >= since);
        is_of_stream && is_late_enough
    }
}

/// Why a log could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The day was compacted by others again and again.
    #[error("the log of {day} kept changing while it was read")]
    KeptChanging {
        /// The day.
        day: Day,
    },
    /// A temporary file.
    #[error("a temporary file could not be used: {0}")]
    LocalFile(#[from] io::Error),
}

/// Receives the lines, one after another. It may say that it has enough.
pub type Sink<'a> = &'a mut (dyn FnMut(StoredLine<'_>) -> ControlFlow<()> + Send);

/// The days for which a job has log lines, ascending.
///
/// # Errors
///
/// Whatever the store says.
pub async fn list_days(store: &dyn ObjectStore, job: &JobId) -> Result<Vec<Day>, StoreError> {
    let keys = list(store, job).await?;
    let with_lines = keys.iter().filter(|key| !matches!(key, LogKey::Done(..)));
    let mut days: Vec<_> = with_lines.map(LogKey::day).collect();
    days.sort_unstable();
    days.dedup();
    Ok(days)
}

/// Passes the lines that `query` wants to `sink`, in order. Chunks wait in temporary files. Only
/// one object at a time, and the lines of a tail, are in memory.
///
/// # Errors
///
/// See [`ReadError`]. Some lines may have been passed before.
pub async fn read(
    store: &dyn ObjectStore,
    job: &JobId,
    query: &LogQuery,
    sink: Sink<'_>,
) -> Result<(), ReadError> {
    let filter = &Filter::of(query);
    let mut days = list_days(store, job).await?;
    // A line may be in the day after its own, because the two outputs are stamped separately.
    days.retain(|day| query.since.is_none_or(|since| Day::of(since) <= *day));
    days.retain(|day| query.from.is_none_or(|from| from <= *day));
    days.retain(|day| query.to.is_none_or(|to| *day <= to));
    let Some(tail) = query.tail else {
        for day in days {
            let pieces = Pieces::fetch(store, job, day, filter, None).await?;
            if pieces.each_line(filter, sink).await?.is_break() {
                break;
            }
        }
        return Ok(());
    };
    let mut wanted = tail.min(MAX_TAIL_LINES);
    let mut newest_first = Vec::new();
    for day in days.into_iter().rev() {
        if wanted == 0 {
            break;
        }
        let pieces = Pieces::fetch(store, job, day, filter, Some(wanted)).await?;
        let lines = pieces.last_lines(filter, wanted).await?;
        wanted -= lines.len();
        newest_first.push(lines);
    }
    for raw in newest_first.iter().rev().flatten() {
        if sink(StoredLine::parse(raw)).is_break() {
            break;
        }
    }
    Ok(())
}

/// How far the log of one attempt is stored: the number of the first frame that is not stored.
///
/// # Errors
///
/// Whatever the store says.
pub async fn stored_up_to(
    store: &dyn ObjectStore,
    job: &JobId,
    run: &RunId,
    attempt: u32,
) -> Result<u64, StoreError> {
    let origin = Origin { run: run.clone(), attempt };
    let (_, last) = locate(store, job, &origin).await?;
    Ok(last.map_or(0, |last| last.last.saturating_add(1)))
}

/// One day's log as files, in order, each line once.
struct Pieces {
    files: Vec<PathBuf>,
    _dir: TempDir,
}

impl Pieces {
    /// Fetches a day. If the newest chunks have `enough` lines, fetches only these.
    async fn fetch(
        store: &dyn ObjectStore,
        job: &JobId,
        day: Day,
        filter: &Filter,
        enough: Option<usize>,
    ) -> Result<Self, ReadError> {
        for _ in 0..=MAX_RESTARTS {
            match Self::try_fetch(store, job, day, filter, enough).await {
                // A listed chunk has gone into the daily log.
                Err(ReadError::Store(StoreError::NotFound { .. })) => {}
                fetched => return fetched,
            }
        }
        Err(ReadError::KeptChanging { day })
    }

    async fn try_fetch(
        store: &dyn ObjectStore,
        job: &JobId,
        day: Day,
        filter: &Filter,
        enough: Option<usize>,
    ) -> Result<Self, ReadError> {
        let dir = tempfile::Builder::new().prefix("longshore-logs-").tempdir()?;
        let keys = list(store, job).await?;
        let mut chunks = once_each(chunks_of(&keys, day));
        in_order_of_time(store, job, day, &mut chunks).await?;

        // Chunks first, then the daily log. The log's record shows what was compacted in between,
        // and a missing chunk makes the read begin again before a line was passed on.
        let (mut held, mut lines): (VecDeque<(FrameRange, PathBuf)>, usize) = Default::default();
        for (number, chunk) in chunks.into_iter().enumerate().rev() {
            let to = dir.path().join(format!("chunk-{number}"));
            let key = LogKey::Chunk(day, chunk.clone()).key(job);
            store.download(Bucket::Logs, &key, &to, MAX_READ_BYTES).await?;
            if let Some(enough) = enough {
                lines += count(&to, filter).await?;
                if lines >= enough {
                    held.push_front((chunk, to));
                    let files = held.into_iter().map(|(_, file)| file).collect();
                    return Ok(Self { files, _dir: dir });
                }
            }
            held.push_front((chunk, to));
        }
        let (mut files, mut covered) = (Vec::new(), Covered::default());
        // Listed again, because the daily log may have a new part.
        for part in parts_of(&list(store, job).await?, day) {
            let to = dir.path().join(format!("part-{part}"));
            let key = LogKey::Daily(day, part).key(job);
            store.download(Bucket::Logs, &key, &to, MAX_READ_BYTES).await?;
            covered.read(&tokio::fs::read(&to).await?);
            files.push(to);
        }
        let missing = held.into_iter().filter(|(chunk, _)| !covered.holds(chunk));
        files.extend(missing.map(|(_, file)| file));
        Ok(Self { files, _dir: dir })
    }

    async fn each_line(
        &self,
        filter: &Filter,
        sink: Sink<'_>,
    ) -> Result<ControlFlow<()>, ReadError> {
        for file in &self.files {
            if lines_of(file, filter, sink).await?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    async fn last_lines(
        &self,
        filter: &Filter,
        most: usize,
    ) -> Result<VecDeque<String>, ReadError> {
        let mut last = VecDeque::new();
        let keep = &mut |line: StoredLine<'_>| {
            if last.len() == most {
                last.pop_front();
            }
            last.push_back(line.raw.to_owned());
            ControlFlow::Continue(())
        };
        for file in &self.files {
            // It never says that it has enough.
            let _goes_on = lines_of(file, filter, keep).await?;
        }
        Ok(last)
    }
}

async fn count(file: &Path, filter: &Filter) -> io::Result<usize> {
    let mut lines = 0;
    let counter = &mut |_: StoredLine<'_>| {
        lines += 1;
        ControlFlow::Continue(())
    };
    // It never says that it has enough.
    let _goes_on = lines_of(file, filter, counter).await?;
    Ok(lines)
}

/// Passes on the lines of a file, without our records.
async fn lines_of(file: &Path, filter: &Filter, sink: Sink<'_>) -> io::Result<ControlFlow<()>> {
    let bytes = tokio::fs::read(file).await?;
    for raw in bytes.split(|byte| *byte == b'\n').filter(|raw| !raw.is_empty()) {
        let text = String::from_utf8_lossy(raw);
        let line = StoredLine::parse(&text);
        if record(raw).is_some() || !filter.takes(&line) {
            continue;
        }
        if sink(line).is_break() {
            return Ok(ControlFlow::Break(()));
        }
    }
    Ok(ControlFlow::Continue(()))
}

#[cfg(test)]
mod tests;
