//! One piece of a container's output, and a cursor that finds it again.

use std::fmt;
use std::str::FromStr;

use bytes::Bytes;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Which of its two outputs a container wrote to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

impl Stream {
    /// The stream's name in stored lines.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }

    /// The stream of a stored line.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Stdout, Self::Stderr].into_iter().find(|stream| stream.as_str() == word)
    }
}

/// What the engine delivered at once: a line, or a piece of a line (the engine cuts at 16 KiB).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Where it was written.
    pub stream: Stream,
    /// When the engine received it; the pieces of one line carry the stamp of the first.
    pub time: Timestamp,
    /// The bytes. Only the last piece of a line ends in `\n`.
    pub bytes: Bytes,
    /// Whether the engine had dropped unread output before this frame.
    pub after_gap: bool,
}

/// A position in a container's output, in terms of what the engine says about frames. So the
/// position is found again when the output is read again, also if its beginning was rotated away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cursor {
    /// Where the last frame was written.
    pub stream: Stream,
    /// When the engine received it.
    pub time: Timestamp,
    /// How many frames of this output had this stamp, up to this one: the pieces of a line share
    /// their stamp.
    pub count: u32,
    /// The latest stamp so far, of both outputs. They are stamped separately, and a clock may be
    /// set back.
    pub latest: Timestamp,
}

/// Where a frame is in relation to a cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Before it.
    Before,
    /// It is the frame at the cursor.
    Last,
    /// After it, and the frame at the cursor has not come: it is no longer in the output.
    Beyond,
}

impl Cursor {
    /// Where `frame` is, if the output is read from any position before the cursor. `seen` counts
    /// the frames with its stamp, and begins with 0.
    pub fn compare(&self, seen: &mut u32, frame: &Frame) -> Order {
        if frame.stream == self.stream && frame.time == self.time {
            *seen = seen.saturating_add(1);
            return if *seen >= self.count { Order::Last } else { Order::Before };
        }
        if frame.time > self.latest { Order::Beyond } else { Order::Before }
    }
}

/// Moves a cursor on with each frame of a container's output.
#[derive(Debug, Clone, Copy, Default)]
pub struct CursorTracker {
    /// The last stamp of each output, and how many frames had it.
    last: [Option<(Timestamp, u32)>; 2],
    latest: Option<Timestamp>,
    now: Option<Cursor>,
}

impl CursorTracker {
    /// Takes the next frame.
    pub fn advance(&mut self, frame: &Frame) {
        let (stream, time) = (frame.stream, frame.time);
        let last = &mut self.last[stream as usize];
        let before = last.filter(|(stamp, _)| *stamp == time).map_or(0, |(_, count)| count);
        let count = before.saturating_add(1);
        *last = Some((time, count));
        let latest = self.latest.map_or(time, |latest| latest.max(time));
        self.latest = Some(latest);
        self.now = Some(Cursor { stream, time, count, latest });
    }

    /// The cursor of the last frame.
    #[must_use]
    pub fn now(&self) -> Option<Cursor> {
        self.now
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let letter = match self.stream {
            Stream::Stdout => 'o',
            Stream::Stderr => 'e',
        };
        write!(f, "{letter}{}_{}", self.time.as_nanosecond(), self.count)?;
        if self.latest != self.time {
            write!(f, "_{}", self.latest.as_nanosecond())?;
        }
        Ok(())
    }
}

/// A text is not a cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotACursor;

impl FromStr for Cursor {
    type Err = NotACursor;

    /// Reads what [`Display`](fmt::Display) writes, and nothing else.
    fn from_str(text: &str) -> Result<Self, NotACursor> {
        let read = || {
            let (letter, rest) = text.split_at_checked(1)?;
            let stream = match letter {
                "o" => Stream::Stdout,
                "e" => Stream::Stderr,
                _ => return None,
            };
            let stamp = |text: &str| Timestamp::from_nanosecond(text.parse().ok()?).ok();
            let mut parts = rest.split('_');
            let (time, count) = (stamp(parts.next()?)?, parts.next()?.parse().ok()?);
            let latest = parts.next().map_or(Some(time), stamp)?;
            let cursor = Self { stream, time, count, latest };
            (cursor.to_string() == text).then_some(cursor)
        };
        read().ok_or(NotACursor)
    }
}
