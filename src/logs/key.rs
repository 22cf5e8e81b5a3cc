//! The names of log objects: days, chunks, markers. Pure.

use std::fmt;
use std::str::FromStr;

use jiff::{Timestamp, civil::Date, tz::Offset};

use super::Cursor;
use crate::job::{JobId, RunId};

/// A day in UTC, written `YYYYMMDD`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Day(Date);

/// A text is not a day.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a day: write it YYYYMMDD, for example 20261122")]
pub struct InvalidDay(String);

impl Day {
    /// The day of `time`.
    #[must_use]
    pub fn of(time: Timestamp) -> Self {
        Self(Offset::UTC.to_datetime(time).date())
    }

    /// The next day. The last possible day stays.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.tomorrow().unwrap_or(self.0))
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}{:02}{:02}", self.0.year(), self.0.month(), self.0.day())
    }
}

impl FromStr for Day {
    type Err = InvalidDay;

    fn from_str(text: &str) -> Result<Self, InvalidDay> {
        let parse = || {
            if text.len() != 8 || !text.bytes().all(|byte| byte.is_ascii_digit()) {
                return None;
            }
            let year = text[..4].parse().ok()?;
            Date::new(year, text[4..6].parse().ok()?, text[6..].parse().ok()?).ok()
        };
        parse().map(Self).ok_or_else(|| InvalidDay(text.to_owned()))
    }
}

/// One attempt of a run. The frames of its container are counted.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Origin {
    /// The run.
    pub run: RunId,
    /// The attempt; the first is 1.
    pub attempt: u32,
}

/// Frames `first` to `last` of one container, both included.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct FrameRange {
    /// The attempt.
    pub origin: Origin,
    /// The first frame.
    pub first: u64,
    /// The last frame.
    pub last: u64,
    /// The cursor at the last frame. It finds the frame in the engine's output.
    pub end: Cursor,
}

impl fmt::Display for FrameRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { origin: Origin { run, attempt }, first, last, end } = self;
        write!(f, "{run}.{attempt}.{first:012}-{last:012}.{end}")
    }
}

impl FrameRange {
    /// Reads what [`Display`](fmt::Display) writes; `None` for anything else.
    #[must_use]
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('.');
        let (run, attempt, frames) = (parts.next()?, parts.next()?, parts.next()?);
        let end = parts.next()?.parse().ok()?;
        let (first, last) = frames.split_once('-')?;
        let range = Self {
            origin: Origin { run: run.parse().ok()?, attempt: attempt.parse().ok()? },
            first: first.parse().ok()?,
            last: last.parse().ok()?,
            end,
        };
        (parts.next().is_none() && range.first <= range.last && range.to_string() == text)
            .then_some(range)
    }
}

/// What a key under `logs/{id}/` names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum LogKey {
    /// `{day}.log`, and `{day}.2.log`, … for what goes beyond the size of one object: part 1, 2, …
    Daily(Day, u32),
    /// `{day}/{range}.log`: an immutable chunk.
    Chunk(Day, FrameRange),
    /// `{day}/{range}.done`: chunks up to here were compacted and deleted. It says where to go on
    /// after an adoption.
    Done(Day, FrameRange),
}

impl LogKey {
    /// The key of a job's log object.
    #[must_use]
    pub(super) fn key(&self, job: &JobId) -> String {
        let prefix = prefix(job);
        match self {
            Self::Daily(day, 1) => format!("{prefix}{day}.log"),
            Self::Daily(day, part) => format!("{prefix}{day}.{part}.log"),
            Self::Chunk(day, range) => format!("{prefix}{day}/{range}.log"),
            Self::Done(day, range) => format!("{prefix}{day}/{range}.done"),
        }
    }

    /// Reads a key of `job`; `None` if it is not ours.
    #[must_use]
    pub(super) fn parse(job: &JobId, key: &str) -> Option<Self> {
        let name = key.strip_prefix(&prefix(job))?;
        if let Some((day, file)) = name.split_once('/') {
            let day = day.parse().ok()?;
            return match file.rsplit_once('.')? {
                (range, "log") => Some(Self::Chunk(day, FrameRange::parse(range)?)),
                (range, "done") => Some(Self::Done(day, FrameRange::parse(range)?)),
                _ => None,
            };
        }
        let name = name.strip_suffix(".log")?;
        match name.split_once('.') {
            None => Some(Self::Daily(name.parse().ok()?, 1)),
            Some((day, part)) => {
                let number: u32 = part.parse().ok().filter(|number| *number > 1)?;
                (part == number.to_string()).then_some(Self::Daily(day.parse().ok()?, number))
            }
        }
    }

    /// The day.
    #[must_use]
    pub(super) fn day(&self) -> Day {
        match self {
            Self::Daily(day, _) | Self::Chunk(day, _) | Self::Done(day, _) => *day,
        }
    }
}

/// The prefix of the keys of a job's logs.
#[must_use]
pub(super) fn prefix(job: &JobId) -> String {
    format!("logs/{job}/")
}

/// The key of a job's log of one day.
#[must_use]
pub fn daily_key(job: &JobId, day: Day) -> String {
    LogKey::Daily(day, 1).key(job)
}

/// The last stored range of `origin`: where to go on after an adoption. Chunks are stored one after
/// another, so it is the greatest.
#[must_use]
pub(super) fn last_stored<'a>(
    keys: impl IntoIterator<Item = &'a LogKey>,
    origin: &Origin,
) -> Option<&'a FrameRange> {
    let stored = keys.into_iter().filter_map(|key| match key {
        LogKey::Chunk(_, range) | LogKey::Done(_, range) if range.origin == *origin => Some(range),
        _ => None,
    });
    stored.max_by_key(|range| range.last)
}

/// Chooses, from the chunks of one day in order of frames, those that have every frame once.
///
/// There is a choice only if two workers stored chunks of one container, for example a worker that
/// lost its segment during a PUT, and its successor. Then ranges overlap. The search goes back from
/// the last frame: after each chunk comes the one that ends just before it.
#[must_use]
pub(super) fn once_each(mut chunks: Vec<FrameRange>) -> Vec<FrameRange> {
    chunks.sort();
    let mut chosen: Vec<FrameRange> = Vec::new();
    while let Some(best) = before(&chunks, chosen.last()) {
        chosen.push(best.clone());
    }
    chosen.reverse();
    chosen
}

/// The chunk to read before `next`; without `next`, the first one to choose.
fn before<'a>(chunks: &'a [FrameRange], next: Option<&FrameRange>) -> Option<&'a FrameRange> {
    let Some(next) = next else {
        return chunks.iter().max_by_key(|chunk| (&chunk.origin, chunk.last, chunk.first));
    };
    let same = chunks.iter().filter(|chunk| chunk.origin == next.origin);
    let earlier: Vec<_> = same.filter(|chunk| chunk.first < next.first).collect();
    // An overlapping chunk repeats lines. That is better only if no other chunk has them.
    let adjoining = earlier.iter().filter(|chunk| chunk.last + 1 >= next.first);
    let chosen = adjoining.min_by_key(|chunk| (chunk.last, chunk.first)).or_else(|| {
        earlier.iter().max_by_key(|chunk| (chunk.last, std::cmp::Reverse(chunk.first)))
    });
    let of_others = || {
        let others = chunks.iter().filter(|chunk| chunk.origin < next.origin);
        others.max_by_key(|chunk| (&chunk.origin, chunk.last, chunk.first))
    };
    chosen.copied().or_else(of_others)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn range(run: &str, attempt: u32, first: u64, last: u64) -> FrameRange {
        let end = format!("o{last}_1").parse().unwrap();
        FrameRange { origin: Origin { run: run.parse().unwrap(), attempt }, first, last, end }
    }

    #[test]
    fn keys_are_the_documented_ones() {
        let job: JobId = "bot-1".parse().unwrap();
        let day: Day = "20261122".parse().unwrap();
        assert_eq!(daily_key(&job, day), "logs/bot-1/20261122.log");
        assert_eq!(
            LogKey::Chunk(day, range("r", 1, 0, 41)).key(&job),
            "logs/bot-1/20261122/r.1.000000000000-000000000041.o41_1.log"
        );
    }

    #[test]
    fn foreign_keys_are_not_ours() {
        let job: JobId = "a".parse().unwrap();
        for key in [
            "logs/ab/20261122.log",
            "logs/a/20261322.log",
            "logs/a/20261122.1.log",
            "logs/a/20261122.02.log",
            "logs/a/20261122/r.1.0-41.o1_1.log",
            "logs/a/20261122/r.1.000000000000-000000000041.log",
            "logs/a/20261122/r.1.000000000000-000000000041.x1_1.log",
            "logs/a/20261122/r.1.000000000000-000000000041.o1_1_1.log",
            "logs/a/20261122/r.1.000000000009-000000000001.o1_1.log",
            "logs/a/readme.txt",
        ] {
            assert_eq!(LogKey::parse(&job, key), None, "{key}");
        }
    }

    #[test]
    fn a_day_is_a_day_in_utc() {
        let late: Timestamp = "2026-11-22T23:59:59.999999999Z".parse().unwrap();
        assert_eq!(Day::of(late).to_string(), "20261122");
        assert_eq!(Day::of(late).next().to_string(), "20261123");
    }

    #[test]
    fn the_place_to_go_on_is_found_among_chunks_and_markers_of_the_same_attempt_only() {
        let day: Day = "20261122".parse().unwrap();
        let keys = [
            LogKey::Done(day, range("r", 2, 0, 9)),
            LogKey::Chunk(day.next(), range("r", 2, 10, 14)),
            LogKey::Chunk(day, range("r", 1, 0, 99)),
            LogKey::Chunk(day, range("other", 2, 0, 999)),
        ];
        let origin = range("r", 2, 0, 0).origin;
        let last = |keys: &[LogKey]| last_stored(keys, &origin).map(|range| range.last);
        assert_eq!(last(&keys), Some(14));
        assert_eq!(last(&keys[..1]), Some(9));
        assert_eq!(last(&keys[2..]), None);
    }

    #[test]
    fn of_overlapping_chunks_those_are_read_that_hold_every_frame_once() {
        let chosen = |ranges: &[(u64, u64)]| -> Vec<_> {
            let chunks = ranges.iter().map(|(first, last)| range("r", 1, *first, *last)).collect();
            once_each(chunks).iter().map(|chunk| (chunk.first, chunk.last)).collect()
        };
        assert_eq!(chosen(&[(0, 4), (5, 9)]), [(0, 4), (5, 9)]);
        // A late PUT of a former worker, and the chunks of its successor.
        assert_eq!(chosen(&[(0, 7), (0, 4), (5, 9)]), [(0, 4), (5, 9)]);
        assert_eq!(chosen(&[(0, 4), (0, 7)]), [(0, 7)]);
        // Two workers at the same time, each with its own cuts.
        let both = [(0, 3), (4, 8), (9, 12), (0, 5), (6, 12), (13, 20)];
        assert_eq!(chosen(&both), [(0, 5), (6, 12), (13, 20)]);
        // Lines that only an overlapping chunk has are better repeated than lost, and a gap stays a
        // gap.
        assert_eq!(chosen(&[(0, 5), (3, 9)]), [(0, 5), (3, 9)]);
        assert_eq!(chosen(&[(0, 5), (8, 9)]), [(0, 5), (8, 9)]);
    }

    #[test]
    fn chunks_of_several_attempts_are_chosen_each_for_itself() {
        let chunks = vec![range("r", 2, 0, 3), range("r", 1, 0, 9), range("a", 1, 0, 1)];
        let chosen = once_each(chunks);
        let origins: Vec<_> = chosen.iter().map(|chunk| chunk.origin.clone()).collect();
        assert_eq!(origins.len(), 3);
        assert!(origins.is_sorted());
    }

    proptest! {
        #[test]
        fn keys_round_trip(
            job in "[A-Za-z0-9][A-Za-z0-9_-]{0,20}",
            run in "[A-Za-z0-9][A-Za-z0-9_-]{0,20}",
            (attempt, first, frames) in (1u32.., 0u64..1 << 50, 0u64..1 << 50),
            seconds in -60_000_000_000i64..253_000_000_000,
            part in 1u32..,
            (is_error, count, later) in (any::<bool>(), 1u32.., 0i64..1000),
        ) {
            let job: JobId = job.parse().unwrap();
            let day = Day::of(Timestamp::from_second(seconds).unwrap());
            let time = Timestamp::from_second(seconds).unwrap();
            let end = Cursor {
                stream: if is_error { crate::logs::Stream::Stderr } else { crate::logs::Stream::Stdout },
                time,
                count,
                latest: time + jiff::SignedDuration::from_nanos(later),
            };
            let range = FrameRange { end, ..range(&run, attempt, first, first + frames) };
            for key in [
                LogKey::Daily(day, part),
                LogKey::Chunk(day, range.clone()),
                LogKey::Done(day, range),
            ] {
                prop_assert_eq!(LogKey::parse(&job, &key.key(&job)), Some(key));
            }
        }
    }
}
