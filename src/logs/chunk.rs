//! Cutting a container's lines into immutable chunks. Pure.

use std::collections::VecDeque;

use bytes::Bytes;
use jiff::Timestamp;

use super::key::{Day, FrameRange, Origin};
use super::line::{Line, write_stored};
use super::{Cursor, Stream};

/// An immutable piece of a log: the lines of the frames `range` on `day`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Chunk {
    /// The day that it belongs to.
    pub day: Day,
    /// Its frames.
    pub range: FrameRange,
    /// Its lines, as stored.
    pub bytes: Bytes,
    /// How many lines.
    pub lines: u64,
    /// When its first line was written.
    pub since: Timestamp,
}

/// Lines that end at the same frame boundary. They go into one chunk together.
#[derive(Debug, Default)]
struct Group {
    bytes: Vec<u8>,
    lines: u64,
    first_time: Option<Timestamp>,
}

/// Collects lines and seals them as chunks.
///
/// A chunk ends only where no line is open, and never spans two days. So the range in its name says
/// exactly which frames need not be read again.
#[derive(Debug)]
pub(super) struct Cutter {
    origin: Origin,
    /// A chunk is sealed before it grows beyond this, in bytes.
    max_chunk_bytes: usize,
    /// The first frame that is not in a sealed chunk.
    first: u64,
    /// The frame after the last one in `filling`, and the cursor at that last one.
    end: Option<(u64, Cursor)>,
    group: Group,
    filling: Group,
    day: Option<Day>,
    sealed: VecDeque<Chunk>,
}

impl Cutter {
    /// A cutter that begins with frame `first`.
    #[must_use]
    pub(super) fn new(origin: Origin, first: u64, max_chunk_bytes: usize) -> Self {
        Self {
            origin,
            max_chunk_bytes,
            first,
            end: None,
            group: Group::default(),
            filling: Group::default(),
            day: None,
            sealed: VecDeque::new(),
        }
    }

    /// Takes a line.
    pub(super) fn push(&mut self, line: &Line) {
        self.group.first_time.get_or_insert(line.time);
        self.group.lines += 1;
        line.store_into(&mut self.group.bytes);
    }

    /// Takes a line of our own.
    pub(super) fn notice(&mut self, time: Timestamp, text: &str) {
        self.group.first_time.get_or_insert(time);
        self.group.lines += 1;
        self.group.bytes.extend_from_slice(&notice_line(time, text));
    }

    /// Notes that `frames` frames were taken, the last of them at `cursor`, and that no line is
    /// open: a chunk may end here.
    pub(super) fn commit(&mut self, frames: u64, cursor: Cursor) {
        let group = std::mem::take(&mut self.group);
        if let Some(time) = group.first_time {
            let day = self.day_of(time);
            let too_large = self.filling.bytes.len() + group.bytes.len() > self.max_chunk_bytes;
            if self.day != Some(day) || too_large {
                self.seal();
            }
            self.day = Some(day);
            self.filling.first_time.get_or_insert(time);
            self.filling.bytes.extend_from_slice(&group.bytes);
            self.filling.lines += group.lines;
        }
        self.end = Some((frames, cursor));
        if self.filling.bytes.len() >= self.max_chunk_bytes {
            self.seal();
        }
    }

    /// Seals all lines that may be sealed.
    pub(super) fn seal(&mut self) {
        let (Some(day), Some((end, cursor)), Some(since)) =
            (self.day, self.end, self.filling.first_time)
        else {
            return;
        };
        let filling = std::mem::take(&mut self.filling);
        let last = end.max(self.first + 1) - 1;
        let origin = self.origin.clone();
        let range = FrameRange { origin, first: self.first, last, end: cursor };
        self.first = last + 1;
        // With its real size, not with reserved capacity.
        let (bytes, lines) = (filling.bytes.into_boxed_slice().into(), filling.lines);
        self.sealed.push_back(Chunk { day, range, bytes, lines, since });
    }

    /// The next sealed chunk. It never changes.
    pub(super) fn take(&mut self) -> Option<Chunk> {
        self.sealed.pop_front()
    }

    /// Bytes of lines that are not in a chunk yet.
    #[must_use]
    pub(super) fn unsealed_bytes(&self) -> usize {
        self.filling.bytes.len() + self.group.bytes.len()
    }

    /// Lines that are not in a chunk yet.
    #[must_use]
    pub(super) fn unsealed_lines(&self) -> u64 {
        self.filling.lines + self.group.lines
    }

    /// Whether lines wait because a line of the other output is still open, so a chunk cannot end.
    #[must_use]
    pub(super) fn is_waiting_for_a_line(&self) -> bool {
        self.group.lines > 0
    }

    /// Whether there are lines since the last place where a chunk may end.
    #[must_use]
    pub(super) fn is_held_up(&self) -> bool {
        self.group.bytes.len() >= self.max_chunk_bytes
    }

    /// The stamps of the two streams can go back a little. Around midnight such a line stays in the
    /// new day, so the days of a container's chunks only go forward.
    fn day_of(&self, time: Timestamp) -> Day {
        let day = Day::of(time);
        match self.day {
            Some(current) if day.next() == current => current,
            _ => day,
        }
    }
}

/// A line of our own in its stored form.
pub(super) fn notice_line(time: Timestamp, text: &str) -> Vec<u8> {
    let mut line = Vec::new();
    write_stored(&mut line, time, Stream::Stderr.as_str(), text);
    line
}

#[cfg(test)]
mod tests;
