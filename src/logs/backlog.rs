//! The chunks of one container that wait to be stored: in memory, and beyond that on disk.
//!
//! Both are bounded, for one container and for all. If a chunk fits into neither, the reader waits
//! while the store works; while the store is away, the chunk is dropped and counted. The log
//! reports the drop, in a separate chunk whose range covers the missing frames. Until that chunk is
//! stored, the next worker can still read the frames again.

use std::collections::VecDeque;
use std::io;

use bytes::Bytes;
use jiff::Timestamp;
use tempfile::TempPath;
use tracing::warn;

use super::chunk::{Chunk, notice_line};
use super::key::{Day, FrameRange};
use super::room::{Hold, Room};
use super::spool::Spool;

/// What a backlog may use.
#[derive(Debug, Clone)]
pub(super) struct Space {
    /// Memory of all containers.
    pub memory: Room,
    /// Disk of all containers.
    pub disk: Room,
    /// Memory of this container, in bytes.
    pub own_memory: u64,
    /// Disk of this container, in bytes.
    pub own_disk: u64,
    /// Where the disk is.
    pub spool: Spool,
    /// The size of a full chunk, in bytes.
    pub chunk: u64,
}

/// Where a chunk's bytes are. They never change.
#[derive(Debug)]
enum Body {
    Memory(Bytes),
    Disk(TempPath),
}

/// A chunk that waits.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) day: Day,
    pub(super) range: FrameRange,
    lines: u64,
    body: Body,
    /// The memory or disk that it takes.
    hold: Hold,
}

impl Waiting {
    /// Its bytes, ready to be stored.
    pub(super) fn bytes(&self) -> impl Future<Output = io::Result<Bytes>> + Send + use<> {
        let body = match &self.body {
            Body::Memory(bytes) => Ok(bytes.clone()),
            Body::Disk(path) => Err(path.to_path_buf()),
        };
        async move {
            match body {
                Ok(bytes) => Ok(bytes),
                Err(path) => tokio::fs::read(path).await.map(Bytes::from),
            }
        }
    }

    /// How many bytes.
    pub(super) fn size(&self) -> u64 {
        self.hold.bytes()
    }
}

/// Lines that were dropped, and that the log has not reported yet.
#[derive(Debug)]
struct Gap {
    lines: u64,
    since: Timestamp,
    day: Day,
    range: FrameRange,
}

/// The chunks of one container that wait, oldest first.
#[derive(Debug)]
pub(super) struct Backlog {
    space: Space,
    waiting: VecDeque<Waiting>,
    memory: u64,
    disk: u64,
    gap: Option<Gap>,
    dropped: u64,
    is_disk_bad: bool,
}

impl Backlog {
    pub(super) fn new(space: Space) -> Self {
        let waiting = VecDeque::new();
        Self { space, waiting, memory: 0, disk: 0, gap: None, dropped: 0, is_disk_bad: false }
    }

    /// Takes a chunk. If there is no room, it is dropped if it `may_drop`, and else kept in memory
    /// anyway: then [`is_full`](Self::is_full) tells the reader to wait.
    pub(super) async fn push(&mut self, chunk: Chunk, may_drop: bool) {
        self.tell_gap(may_drop);
        if self.gap.is_some() {
            return self.drop_chunk(&chunk);
        }
        if let Some(chunk) = self.place(chunk).await {
            if may_drop {
                self.drop_chunk(&chunk);
            } else {
                let hold = self.space.memory.claim(size_of(&chunk));
                self.keep_in_memory(chunk, hold);
            }
        }
    }

    /// Reports dropped lines in the log, if there is room again.
    pub(super) fn tell_gap(&mut self, may_drop: bool) {
        let Some(gap) = &self.gap else { return };
        if may_drop && !self.has_room(self.space.chunk) {
            return;
        }
        let were = if gap.lines == 1 { "line was" } else { "lines were" };
        let text = format!(
            "[longshore] {} {were} dropped while the log store could not be reached",
            gap.lines
        );
        let bytes = Bytes::from(notice_line(gap.since, &text));
        let (day, range, since) = (gap.day, gap.range.clone(), gap.since);
        let notice = Chunk { day, range, bytes, lines: 0, since };
        // So small that it is not counted.
        let hold = self.space.memory.claim(0);
        self.keep_in_memory(notice, hold);
        self.gap = None;
    }

    /// The chunk to store next. It does not change until it is stored.
    pub(super) fn front(&self) -> Option<&Waiting> {
        self.waiting.front()
    }

    /// The chunk to store next is stored.
    pub(super) fn stored(&mut self) -> Option<Waiting> {
        let chunk = self.waiting.pop_front()?;
        match chunk.body {
            Body::Memory(_) => self.memory -= chunk.size(),
            Body::Disk(_) => self.disk -= chunk.size(),
        }
        Some(chunk)
    }

    /// The only chunk, if it is in memory and nothing was dropped.
    pub(super) fn only(&self) -> Option<(&Waiting, &Bytes)> {
        let only = self.waiting.front().filter(|_| self.waiting.len() == 1 && self.dropped == 0)?;
        match &only.body {
            Body::Memory(bytes) => Some((only, bytes)),
            Body::Disk(_) => None,
        }
    }

    /// Whether there is nothing left to store.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.gap.is_none()
    }

    /// Whether there is no room for one more chunk. One chunk can always wait, whatever other
    /// containers use.
    pub(super) fn is_full(&self) -> bool {
        !self.waiting.is_empty() && !self.has_room(self.space.chunk)
    }

    /// Whether the memory of all containers has no room for one more chunk.
    pub(super) fn is_memory_short(&self) -> bool {
        !self.space.memory.has(self.space.chunk)
    }

    /// Lines dropped so far.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Lines that wait.
    pub(super) fn lines(&self) -> u64 {
        self.waiting.iter().map(|chunk| chunk.lines).sum()
    }

    fn has_room(&self, bytes: u64) -> bool {
        let Space { memory, disk, own_memory, own_disk, .. } = &self.space;
        let in_memory = self.memory + bytes <= *own_memory && memory.has(bytes);
        let on_disk = !self.is_disk_bad && self.disk + bytes <= *own_disk && disk.has(bytes);
        in_memory || on_disk
    }

    /// Keeps a chunk in memory or on disk. Returns it if it fits into neither.
    async fn place(&mut self, chunk: Chunk) -> Option<Chunk> {
        let size = size_of(&chunk);
        if self.memory + size <= self.space.own_memory
            && let Some(hold) = self.space.memory.take(size)
        {
            self.keep_in_memory(chunk, hold);
            return None;
        }
        if self.disk + size > self.space.own_disk {
            return Some(chunk);
        }
        let Some(hold) = self.space.disk.take(size) else { return Some(chunk) };
        match self.space.spool.write(chunk.bytes.clone()).await {
            Ok(path) => {
                self.is_disk_bad = false;
                self.disk += size;
                self.keep(chunk, Body::Disk(path), hold);
                None
            }
            Err(error) => {
                if !self.is_disk_bad {
                    warn!(run.id = %chunk.range.origin.run, %error, "could not write waiting log lines to disk");
                }
                self.is_disk_bad = true;
                Some(chunk)
            }
        }
    }

    fn keep_in_memory(&mut self, chunk: Chunk, hold: Hold) {
        self.memory += hold.bytes();
        let bytes = chunk.bytes.clone();
        self.keep(chunk, Body::Memory(bytes), hold);
    }

    fn keep(&mut self, chunk: Chunk, body: Body, hold: Hold) {
        let Chunk { day, range, lines, .. } = chunk;
        self.waiting.push_back(Waiting { day, range, lines, body, hold });
    }

    fn drop_chunk(&mut self, chunk: &Chunk) {
        self.dropped += chunk.lines;
        if let Some(gap) = &mut self.gap {
            gap.lines += chunk.lines;
            (gap.range.last, gap.range.end) = (chunk.range.last, chunk.range.end);
        } else {
            let (range, day) = (chunk.range.clone(), chunk.day);
            self.gap = Some(Gap { lines: chunk.lines, since: chunk.since, day, range });
        }
    }
}

fn size_of(chunk: &Chunk) -> u64 {
    chunk.bytes.len() as u64
}

#[cfg(test)]
mod tests;
