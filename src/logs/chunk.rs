//! Cutting a container's lines into immutable chunks. Pure.

use std::collections::VecDeque;

use bytes::Bytes;
use jiff::Timestamp;

use super::Stream;
use super::key::{Day, FrameRange, Origin};
use super::line::{Line, write_stored};

/// An immutable piece of a log: what frames `range` gave on `day`.
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
}

/// The sizes that the [`Cutter`] keeps to, in bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct CutterLimits {
    /// A chunk is sealed before it grows beyond this.
    pub chunk: usize,
    /// All that waits.
    pub buffer: usize,
}

/// Lines that end at the same frame boundary and so go into a chunk together or not at all.
#[derive(Debug, Default)]
struct Group {
    bytes: Vec<u8>,
    lines: u64,
    first_time: Option<Timestamp>,
}

/// Lines that were dropped and are not yet written into the log.
#[derive(Debug, Default)]
struct Gap {
    lines: u64,
    since: Timestamp,
    /// Whether a chunk could have ended since: only then it may say so.
    committed: bool,
}

/// Collects lines and seals them as chunks.
///
/// A chunk ends only where every line that was begun is complete, and never spans two days: so the
/// range in its name says exactly which frames need not be read again.
#[derive(Debug)]
pub(super) struct Cutter {
    origin: Origin,
    limits: CutterLimits,
    /// The first frame that is in no sealed chunk.
    first: u64,
    /// The frame after the last one that was committed.
    end: u64,
    group: Group,
    filling: Group,
    /// The frame after the last one that `filling` speaks for; a gap is not in it.
    filling_end: u64,
    day: Option<Day>,
    gap: Gap,
    dropped: u64,
    sealed: VecDeque<Chunk>,
    sealed_bytes: usize,
}

impl Cutter {
    /// A cutter that begins with frame `first`.
    #[must_use]
    pub(super) fn new(origin: Origin, first: u64, limits: CutterLimits) -> Self {
        Self {
            origin,
            limits,
            first,
            end: first,
            group: Group::default(),
            filling: Group::default(),
            filling_end: first,
            day: None,
            gap: Gap::default(),
            dropped: 0,
            sealed: VecDeque::new(),
            sealed_bytes: 0,
        }
    }

    /// Takes a line. Where `may_drop`, it is dropped and counted when the buffer is full.
    pub(super) fn push(&mut self, line: &Line, may_drop: bool) {
        if may_drop && self.is_full() {
            if self.gap.lines == 0 {
                self.gap.since = line.time;
            }
            self.gap.lines += 1;
            self.dropped += 1;
            return;
        }
        self.note_gap();
        self.group.first_time.get_or_insert(line.time);
        self.group.lines += 1;
        line.store_into(&mut self.group.bytes);
    }

    /// Takes a line of our own, which is never dropped.
    pub(super) fn notice(&mut self, time: Timestamp, text: &str) {
        self.group.first_time.get_or_insert(time);
        self.group.lines += 1;
        write_stored(&mut self.group.bytes, time, Stream::Stderr.as_str(), text);
    }

    /// Says that `frames` frames were taken and that no line is open: a chunk may end here.
    pub(super) fn commit(&mut self, frames: u64) {
        let group = std::mem::take(&mut self.group);
        if let Some(time) = group.first_time {
            let day = self.day_of(time);
            let too_large = self.filling.bytes.len() + group.bytes.len() > self.limits.chunk;
            if self.day != Some(day) || too_large {
                self.seal_filling();
            }
            self.day = Some(day);
            self.filling.bytes.extend_from_slice(&group.bytes);
            self.filling.lines += group.lines;
        }
        self.end = frames;
        if self.gap.lines == 0 {
            self.filling_end = frames;
        }
        self.gap.committed = self.gap.lines > 0;
        if self.filling.bytes.len() >= self.limits.chunk {
            self.seal_filling();
        }
    }

    /// Seals what may be sealed.
    pub(super) fn seal(&mut self) {
        if self.group.lines == 0 && self.gap.committed {
            self.note_gap();
            self.commit(self.end);
        }
        self.seal_filling();
    }

    /// The chunk to store next. It does not change until it is stored.
    #[must_use]
    pub(super) fn front(&self) -> Option<&Chunk> {
        self.sealed.front()
    }

    /// The chunk that all lines so far are in, where there is just one and nothing was dropped.
    #[must_use]
    pub(super) fn only(&self) -> Option<&Chunk> {
        let is_all = self.filling.lines == 0 && self.group.lines == 0 && self.dropped == 0;
        self.sealed.front().filter(|_| is_all && self.sealed.len() == 1)
    }

    /// The chunk to store next is stored.
    pub(super) fn stored(&mut self) -> Option<Chunk> {
        let chunk = self.sealed.pop_front()?;
        self.sealed_bytes -= chunk.bytes.len();
        Some(chunk)
    }

    /// Whether nothing waits but, perhaps, lines after the last place where a chunk may end.
    #[must_use]
    pub(super) fn is_idle(&self) -> bool {
        self.sealed.is_empty() && self.filling.lines == 0 && self.gap.lines == 0
    }

    /// Whether the buffer has no room.
    #[must_use]
    pub(super) fn is_full(&self) -> bool {
        self.sealed_bytes + self.filling.bytes.len() + self.group.bytes.len() >= self.limits.buffer
    }

    /// Whether lines have piled up since the last place where a chunk may end.
    #[must_use]
    pub(super) fn is_held_up(&self) -> bool {
        self.group.bytes.len() >= self.limits.chunk
    }

    /// Lines dropped so far.
    #[must_use]
    pub(super) fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Lines that are not stored yet.
    #[must_use]
    pub(super) fn waiting(&self) -> u64 {
        let sealed: u64 = self.sealed.iter().map(|chunk| chunk.lines).sum();
        sealed + self.filling.lines + self.group.lines
    }

    /// The stamps of the two streams can go backwards a little: around midnight such a line stays
    /// in the day that has begun, so that the days of a container's chunks go forward.
    fn day_of(&self, time: Timestamp) -> Day {
        let day = Day::of(time);
        match self.day {
            Some(current) if day.next() == current => current,
            _ => day,
        }
    }

    fn note_gap(&mut self) {
        let Gap { lines, since, .. } = std::mem::take(&mut self.gap);
        let were = if lines == 1 { "line was" } else { "lines were" };
        if lines > 0 {
            let text = format!(
                "[longshore] {lines} {were} dropped while the log store could not be reached"
            );
            self.notice(since, &text);
        }
    }

    fn seal_filling(&mut self) {
        let filling = std::mem::take(&mut self.filling);
        if let Some(day) = self.day
            && filling.lines > 0
        {
            let last = self.filling_end.max(self.first + 1) - 1;
            let range = FrameRange { origin: self.origin.clone(), first: self.first, last };
            self.first = last + 1;
            self.sealed_bytes += filling.bytes.len();
            self.sealed.push_back(Chunk {
                day,
                range,
                bytes: filling.bytes.into(),
                lines: filling.lines,
            });
        }
    }
}

#[cfg(test)]
mod tests;
