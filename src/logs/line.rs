//! From frames to lines. Pure.

use std::io::Write as _;

use jiff::Timestamp;

use super::{Frame, Stream};
use crate::job::mask::Mask;

/// The longest line, in bytes. A longer one becomes several lines; all but the last are marked.
pub const MAX_LINE_BYTES: usize = 1 << 20;

/// The end of a stored line whose text goes on in the next line of the same stream.
pub const CUT_MARK: &str = " [longshore] the line goes on";

/// How a line ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// By a newline.
    Newline,
    /// By us: it was too long, or had to be stored before its end. Its text goes on.
    Cut,
    /// By the end of the output.
    End,
}

/// One line of a container's output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Where it was written.
    pub stream: Stream,
    /// When the engine received its first piece.
    pub time: Timestamp,
    /// Its text without the newline; bytes that are not UTF-8 are replaced.
    pub text: String,
    /// How it ended.
    pub ending: Ending,
    /// The number of the frame that completed it; the container's first frame is 0.
    pub seq: u64,
}

impl Line {
    /// How many bytes of output this line covers.
    #[must_use]
    pub fn output_bytes(&self) -> u64 {
        self.text.len() as u64 + u64::from(self.ending == Ending::Newline)
    }

    /// Appends the line in its stored form: `{RFC 3339 time} {stdout|stderr} {text}\n`.
    pub fn store_into(&self, out: &mut Vec<u8>) {
        write_stored(out, self.time, self.stream.as_str(), &self.text);
        if self.ending == Ending::Cut {
            out.truncate(out.len() - 1);
            out.extend_from_slice(CUT_MARK.as_bytes());
            out.push(b'\n');
        }
    }
}

/// Appends `{time} {word} {text}\n`, the time in UTC with nanoseconds.
pub(super) fn write_stored(out: &mut Vec<u8>, time: Timestamp, word: &str, text: &str) {
    // Writing into a Vec cannot fail.
    let _infallible = writeln!(out, "{} {word} {text}", stored_time(time));
}

/// A time in the form of stored lines. The later of two is the greater text.
#[must_use]
pub(super) fn stored_time(time: Timestamp) -> String {
    format!("{time:.9}")
}

/// A line whose end has not come.
#[derive(Debug)]
struct Open {
    stream: Stream,
    time: Timestamp,
    bytes: Vec<u8>,
}

/// Puts the pieces of lines together, for each stream separately. Lines come out in the order of
/// their ends, with secrets masked.
#[derive(Debug, Default)]
pub(super) struct Assembler {
    mask: Mask,
    /// At most one for each stream, in the order in which they were opened.
    open: Vec<Open>,
    /// The end of a cut line that may be the beginning of a secret. It waits for the text that
    /// follows.
    kept: Vec<Open>,
    frames: u64,
}

impl Assembler {
    /// An assembler at the beginning of a container's output.
    #[must_use]
    pub(super) fn new(mask: Mask) -> Self {
        Self { mask, ..Self::default() }
    }

    /// How many frames were taken: the number of the next one.
    #[must_use]
    pub(super) fn frames(&self) -> u64 {
        self.frames
    }

    /// Sets the number of the next frame. The frames before were counted elsewhere.
    pub(super) fn count_on_from(&mut self, next: u64) {
        self.frames = next;
    }

    /// Bytes of lines whose end has not come.
    #[must_use]
    pub(super) fn open_bytes(&self) -> usize {
        self.open.iter().map(|open| open.bytes.len()).sum()
    }

    /// Whether no line is open: a chunk may end only here.
    #[must_use]
    pub(super) fn is_clean(&self) -> bool {
        self.open.is_empty()
    }

    /// Takes the next frame, and appends the lines that it completes to `out`.
    pub(super) fn push(&mut self, frame: &Frame, out: &mut Vec<Line>) {
        let seq = self.frames;
        self.frames += 1;
        let mut rest = frame.bytes.as_ref();
        while !rest.is_empty() {
            let end = rest.iter().position(|byte| *byte == b'\n');
            let piece = end.map_or(rest, |end| &rest[..end]);
            self.extend(frame, piece, seq, out);
            if end.is_some()
                && let Some(at) = self.position(frame.stream)
            {
                let open = self.open.remove(at);
                out.push(self.line(open, Ending::Newline, seq));
            }
            rest = end.map_or(&[], |end| &rest[end + 1..]);
        }
    }

    /// Ends every open line. Later output begins new lines.
    pub(super) fn cut(&mut self, out: &mut Vec<Line>) {
        self.end_all(Ending::Cut, out);
    }

    /// The output has ended: open lines are its last lines.
    pub(super) fn finish(&mut self, out: &mut Vec<Line>) {
        let of_no_open_line = |kept: &Open| self.open.iter().all(|open| open.stream != kept.stream);
        let kept: Vec<_> = self.kept.drain(..).filter(of_no_open_line).collect();
        self.open.extend(kept);
        self.end_all(Ending::End, out);
    }

    fn end_all(&mut self, ending: Ending, out: &mut Vec<Line>) {
        let seq = self.frames.saturating_sub(1);
        for open in std::mem::take(&mut self.open) {
            let line = self.line(open, ending, seq);
            // Only the beginning of a secret: all of it is kept back.
            if !(ending == Ending::Cut && line.text.is_empty()) {
                out.push(line);
            }
        }
    }

    /// Makes a line. If a line is cut, a possible beginning of a secret is kept for the next line.
    fn line(&mut self, mut open: Open, ending: Ending, seq: u64) -> Line {
        if ending == Ending::Cut {
            let kept = open.bytes.split_off(self.mask.safe_end(&open.bytes));
            if !kept.is_empty() {
                self.kept.push(Open { bytes: kept, ..open });
            }
        }
        open.bytes = self.mask.apply(open.bytes);
        open.into_line(ending, seq)
    }

    fn position(&self, stream: Stream) -> Option<usize> {
        self.open.iter().position(|open| open.stream == stream)
    }

    fn extend(&mut self, frame: &Frame, mut piece: &[u8], seq: u64, out: &mut Vec<Line>) {
        let at = self.position(frame.stream).unwrap_or_else(|| {
            let kept = self.kept.iter().position(|kept| kept.stream == frame.stream);
            self.open.push(match kept {
                Some(at) => self.kept.remove(at),
                None => Open { stream: frame.stream, time: frame.time, bytes: Vec::new() },
            });
            self.open.len() - 1
        });
        while self.open[at].bytes.len() + piece.len() > MAX_LINE_BYTES {
            let open = &mut self.open[at];
            let (head, tail) = piece.split_at(MAX_LINE_BYTES - open.bytes.len());
            open.bytes.extend_from_slice(head);
            let end = whole_chars(&open.bytes).min(self.mask.safe_end(&open.bytes));
            // A secret as long as a line does not delay the line.
            let kept = open.bytes.split_off(if end == 0 { open.bytes.len() } else { end });
            let bytes = std::mem::replace(&mut open.bytes, kept);
            let cut = Open { stream: open.stream, time: open.time, bytes: self.mask.apply(bytes) };
            open.time = frame.time;
            out.push(cut.into_line(Ending::Cut, seq));
            piece = tail;
        }
        self.open[at].bytes.extend_from_slice(piece);
    }
}

impl Open {
    fn into_line(self, ending: Ending, seq: u64) -> Line {
        let text = String::from_utf8(self.bytes)
            .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned());
        Line { stream: self.stream, time: self.time, text, ending, seq }
    }
}

/// How many of `bytes` can be taken without splitting a character at the end.
fn whole_chars(bytes: &[u8]) -> usize {
    const LONGEST_CHAR: usize = 4;
    let from = bytes.len().saturating_sub(LONGEST_CHAR);
    for start in (from..bytes.len()).rev() {
        if bytes[start] & 0b1100_0000 != 0b1000_0000 {
            let cut_through = matches!(
                std::str::from_utf8(&bytes[start..]),
                Err(error) if error.error_len().is_none()
            );
            return if cut_through { start } else { bytes.len() };
        }
    }
    bytes.len()
}

/// A line from the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredLine<'a> {
    /// When the engine received it, as stored; empty if the line is not in our form.
    pub time: &'a str,
    /// Where it was written; `None` for a line that is not in our form.
    pub stream: Option<Stream>,
    /// Its text.
    pub text: &'a str,
    /// The whole line without its newline.
    pub raw: &'a str,
}

impl<'a> StoredLine<'a> {
    /// Parses a stored line. A line that is not in our form (from an earlier log) is only text.
    #[must_use]
    pub fn parse(raw: &'a str) -> Self {
        let mut parts = raw.splitn(3, ' ');
        if let (Some(time), Some(word), Some(text)) = (parts.next(), parts.next(), parts.next())
            && let Some(stream) = Stream::from_word(word)
        {
            return Self { time, stream: Some(stream), text, raw };
        }
        Self { time: "", stream: None, text: raw, raw }
    }
}

#[cfg(test)]
mod tests;
