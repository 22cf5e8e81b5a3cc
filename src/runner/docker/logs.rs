//! A container's output: frames as the engine delivers them, and the whole as text.

use std::collections::VecDeque;

use bollard::container::LogOutput;
use bollard::query_parameters::LogsOptionsBuilder;
use bytes::{Buf, Bytes};
use futures_util::TryStreamExt;
use jiff::Timestamp;

use super::engine::Engine;
use crate::logs::{Frame, Stream};
use crate::runner::orchestrator::EngineError;

/// The most that is read into one text, in bytes. Of a longer text, the last part is kept.
const MAX_TEXT_BYTES: usize = 16 * 1024 * 1024;

/// The longest stamp that the engine writes, with an offset instead of `Z`, and some room.
const MAX_STAMP_BYTES: usize = 48;

/// The first byte of a multiplexed frame that carries the engine's own error.
const ERROR_FRAME: u8 = 3;

/// The length of a multiplexed frame's header.
const HEADER_BYTES: usize = 8;

/// Where the engine cuts a line.
const PIECE_BYTES: usize = 16 * 1024;

pub(super) const READING: &str = "reading the logs of";

/// The last `tail` lines, or all, as text; at most `max_bytes` from the end.
pub(super) async fn text(
    engine: &Engine,
    container: &str,
    tail: Option<usize>,
    max_bytes: usize,
) -> Result<String, EngineError> {
    let tail = tail.map_or_else(|| "all".to_owned(), |lines| lines.to_string());
    let options = LogsOptionsBuilder::default().stdout(true).stderr(true).tail(&tail).build();
    let mut outputs = std::pin::pin!(engine.docker.logs(container, Some(options)));
    let mut kept = LastBytes::new(max_bytes.min(MAX_TEXT_BYTES));
    let mut pieces = Pieces::default();
    while let Some(output) = outputs.try_next().await.map_err(engine.failed(READING, container))? {
        let (stream, bytes) = piece(output).map_err(unreadable(container))?;
        kept.push(&pieces.restore(stream, bytes));
    }
    Ok(kept.into_text())
}

/// Turns a reason into the error of reading the logs of `container`.
pub(super) fn unreadable(container: &str) -> impl FnOnce(String) -> EngineError {
    move |reason| EngineError::Operation {
        operation: READING,
        container: container.to_owned(),
        reason,
    }
}

/// What the engine delivered at once, with the output to which it belongs.
fn piece(output: LogOutput) -> Result<(Stream, Bytes), String> {
    match output {
        LogOutput::StdOut { message } => Ok((Stream::Stdout, message)),
        LogOutput::StdErr { message } => Ok((Stream::Stderr, message)),
        LogOutput::Console { message } => Err(engine_error(message)),
        LogOutput::StdIn { .. } => Err("a frame of standard input came".to_owned()),
    }
}

/// One frame, without its stamp and with its bytes unchanged.
pub(super) fn frame(output: LogOutput) -> Result<Frame, String> {
    let (stream, mut bytes) = piece(output)?;
    let space = bytes.iter().take(MAX_STAMP_BYTES).position(|byte| *byte == b' ');
    let stamp = space.and_then(|end| std::str::from_utf8(&bytes[..end]).ok());
    let time: Option<Timestamp> = stamp.and_then(|stamp| stamp.parse().ok());
    let (Some(space), Some(time)) = (space, time) else {
        let start = String::from_utf8_lossy(&bytes[..bytes.len().min(MAX_STAMP_BYTES)]);
        return Err(format!("a frame came without a time: {start:?}"));
    };
    bytes.advance(space + 1);
    Ok(Frame { stream, time, bytes, after_gap: false })
}

/// The engine's own message, in a frame that belongs to neither output. For a container without a
/// terminal, such a frame is an error of the engine's reader, or the rest of a cut stream.
fn engine_error(mut message: Bytes) -> String {
    if message.first() == Some(&ERROR_FRAME) && message.len() >= HEADER_BYTES {
        message.advance(HEADER_BYTES);
    }
    String::from_utf8_lossy(&message).trim().to_owned()
}

/// Restores the ends of long lines.
///
/// The engine cuts lines into pieces of 16 KiB, and its `local` driver (seen on 20.10) drops the
/// newline of the last one. A piece that is not full cannot be in the middle of a line.
#[derive(Default)]
pub(super) struct Pieces {
    is_line_open: [bool; 2],
}

impl Pieces {
    /// Whether the next piece goes on with a line.
    pub(super) fn is_line_open(&self, stream: Stream) -> bool {
        self.is_line_open[stream as usize]
    }

    pub(super) fn restore(&mut self, stream: Stream, bytes: Bytes) -> Bytes {
        let is_last = self.is_line_open(stream) && bytes.len() < PIECE_BYTES;
        self.is_line_open[stream as usize] = bytes.len() >= PIECE_BYTES && !bytes.ends_with(b"\n");
        if is_last && !bytes.ends_with(b"\n") {
            return [&bytes[..], b"\n"].concat().into();
        }
        bytes
    }
}

/// The last bytes of what is pushed, from the beginning of a line if something was left out.
struct LastBytes {
    max: usize,
    bytes: VecDeque<u8>,
    has_dropped: bool,
}

impl LastBytes {
    fn new(max: usize) -> Self {
        Self { max, bytes: VecDeque::new(), has_dropped: false }
    }

    fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend(bytes);
        let excess = self.bytes.len().saturating_sub(self.max);
        self.bytes.drain(..excess);
        self.has_dropped |= excess > 0;
    }

    fn into_text(self) -> String {
        let mut bytes = Vec::from(self.bytes);
        if self.has_dropped
            && let Some(newline) = bytes.iter().position(|byte| *byte == b'\n')
            && newline + 1 < bytes.len()
        {
            bytes.drain(..=newline);
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stdout(message: &'static [u8]) -> LogOutput {
        LogOutput::StdOut { message: Bytes::from_static(message) }
    }

    #[test]
    fn a_frame_keeps_its_bytes_whatever_they_are() {
        for (message, expected) in [
            (&b"2026-11-22T10:00:00.123456789Z hello\n"[..], &b"hello\n"[..]),
            (b"2026-11-22T10:00:00.123456789Z  two  spaces ", b" two  spaces "),
            (b"2026-11-22T10:00:00.123456789Z ", b""),
            (b"2026-11-22T10:00:00.123456789Z \n", b"\n"),
            (b"2026-11-22T11:00:00.123456789+01:00 \xff\xfe\0x\r\n", b"\xff\xfe\0x\r\n"),
        ] {
            let frame = frame(stdout(message)).unwrap();
            assert_eq!(frame.bytes, expected);
            assert_eq!(frame.time.to_string(), "2026-11-22T10:00:00.123456789Z");
        }
    }

    #[test]
    fn both_outputs_are_distinguished() {
        let message = Bytes::from_static(b"2026-11-22T10:00:00Z x");
        let err = frame(LogOutput::StdErr { message: message.clone() }).unwrap();
        let out = frame(LogOutput::StdOut { message }).unwrap();
        assert_eq!((err.stream, out.stream), (Stream::Stderr, Stream::Stdout));
    }

    #[test]
    fn an_error_of_the_engine_is_not_a_line() {
        let message = Bytes::from_static(b"\x03\0\0\0\0\0\0\x1eError grabbing logs: EOF\n");
        let error = frame(LogOutput::Console { message }).unwrap_err();
        assert_eq!(error, "Error grabbing logs: EOF");
    }

    #[test]
    fn a_frame_without_a_time_is_an_error_that_shows_it() {
        for message in [&b"no stamp here"[..], b"", b"nospace"] {
            let error = frame(stdout(message)).unwrap_err();
            assert!(error.starts_with("a frame came without a time"), "{error}");
        }
    }

    #[test]
    fn the_end_of_a_long_line_is_put_back_and_nothing_else() {
        let full = Bytes::from(vec![b'x'; PIECE_BYTES]);
        let mut pieces = Pieces::default();
        let mut restore = |stream, bytes: &Bytes| pieces.restore(stream, bytes.clone());
        let (rest, tail) = (Bytes::from("rest"), Bytes::from("tail"));
        assert_eq!(restore(Stream::Stdout, &full), full);
        assert_eq!(restore(Stream::Stderr, &tail), "tail", "another output's line is not open");
        assert_eq!(restore(Stream::Stdout, &full), full);
        assert_eq!(restore(Stream::Stdout, &rest), "rest\n");
        assert_eq!(restore(Stream::Stdout, &tail), "tail", "no line was open");
        assert_eq!(restore(Stream::Stdout, &full), full);
        assert_eq!(restore(Stream::Stdout, &Bytes::new()), "\n");
        assert_eq!(restore(Stream::Stdout, &full), full);
        assert_eq!(restore(Stream::Stdout, &Bytes::from("kept\n")), "kept\n");
    }

    #[test]
    fn the_last_bytes_begin_with_a_whole_line() {
        let mut last = LastBytes::new(10);
        for line in [&b"first\n"[..], b"second\n", b"third\n"] {
            last.push(line);
        }
        assert_eq!(last.into_text(), "third\n");
    }

    #[test]
    fn the_last_bytes_of_one_endless_line_are_kept_all_the_same() {
        let mut last = LastBytes::new(4);
        last.push(b"0123456789");
        assert_eq!(last.into_text(), "6789");
        let mut last = LastBytes::new(4);
        last.push(b"0123456789\n");
        assert_eq!(last.into_text(), "789\n");
    }
}
