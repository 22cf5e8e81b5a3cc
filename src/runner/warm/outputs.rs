//! The outputs of a container up to the word by which its helper ends them, so that nobody need wait for the
//! engine to see the container's end.

use std::collections::VecDeque;

use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};

use crate::logs::{Frame, Stream};
use crate::runner::orchestrator::EngineError;

type Frames = BoxStream<'static, Result<Frame, EngineError>>;

/// A word that ends outputs. No program knows it before, and hardly any begins a line with its first sign.
pub(super) fn new_word() -> String {
    format!("\u{1}{}", uuid::Uuid::new_v4().simple())
}

/// The frames up to the line `word` in both outputs, which is left out; without it, all of them.
pub(in crate::runner) fn until(word: &str, frames: Frames) -> Frames {
    let cut = Cut { tail: format!("{word}\n").into_bytes(), held: [None, None], ended: [false; 2] };
    let state = (frames, cut, VecDeque::new(), false);
    let frames =
        stream::unfold(state, |(mut frames, mut cut, mut ready, mut is_over)| async move {
            loop {
                if let Some(item) = ready.pop_front() {
                    return Some((item, (frames, cut, ready, is_over)));
                }
                if is_over || cut.ended == [true; 2] {
                    return None;
                }
                match frames.next().await {
                    Some(Ok(frame)) => ready.extend(cut.take(frame).map(Ok)),
                    Some(Err(error)) => {
                        ready.extend(cut.rest().map(Ok));
                        ready.push_back(Err(error));
                        is_over = true;
                    }
                    None => {
                        ready.extend(cut.rest().map(Ok));
                        is_over = true;
                    }
                }
            }
        });
    frames.boxed()
}

/// Cuts the last line off each output. Pure.
struct Cut {
    tail: Vec<u8>,
    /// The last frame of an output, if it may end with the beginning of the tail.
    held: [Option<Frame>; 2],
    ended: [bool; 2],
}

impl Cut {
    /// Takes a frame; gives what is known to be no part of the tail.
    fn take(&mut self, mut frame: Frame) -> impl Iterator<Item = Frame> + use<> {
        let output = match frame.stream {
            Stream::Stdout => 0,
            Stream::Stderr => 1,
        };
        let mut held = self.held[output].take();
        let before = held.as_ref().map_or(&b""[..], |held| &held.bytes);
        let joined = [before, &frame.bytes].concat();
        if joined.ends_with(&self.tail) {
            self.ended[output] = true;
            let left = joined.len() - self.tail.len();
            let of_held = left.min(before.len());
            if let Some(held) = &mut held {
                held.bytes.truncate(of_held);
            }
            frame.bytes.truncate(left - of_held);
        } else if self.may_begin_in(&frame.bytes) {
            self.held[output] = Some(frame);
            return held.into_iter().chain(None);
        }
        let has_bytes = |frame: &Frame| !frame.bytes.is_empty();
        held.filter(has_bytes).into_iter().chain(Some(frame).filter(has_bytes))
    }

    /// Whether the end of `bytes` is a beginning of the tail.
    fn may_begin_in(&self, bytes: &[u8]) -> bool {
        let most = self.tail.len().min(bytes.len());
        (1..=most).any(|length| bytes.ends_with(&self.tail[..length]))
    }

    /// What was held back, when no more comes.
    fn rest(&mut self) -> impl Iterator<Item = Frame> + use<> {
        std::mem::take(&mut self.held).into_iter().flatten()
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    const OUT: Stream = Stream::Stdout;
    const ERR: Stream = Stream::Stderr;

    fn frame(stream: Stream, text: &str) -> Frame {
        let time = jiff::Timestamp::UNIX_EPOCH;
        Frame { stream, time, bytes: Bytes::copy_from_slice(text.as_bytes()), after_gap: false }
    }

    async fn read(frames: &[(Stream, &str)]) -> (Vec<(Stream, String)>, usize) {
        let frames: Vec<_> = frames.iter().map(|(stream, text)| frame(*stream, text)).collect();
        let left = std::sync::Arc::new(parking_lot::Mutex::new(VecDeque::from(frames)));
        let source = std::sync::Arc::clone(&left);
        let frames = stream::iter(std::iter::from_fn(move || source.lock().pop_front())).map(Ok);
        let read: Vec<_> = until("\u{1}word", frames.boxed()).collect().await;
        let text = |frame: Frame| String::from_utf8(frame.bytes.to_vec()).unwrap();
        let read = read.into_iter().map(|frame| frame.map(|frame| (frame.stream, text(frame))));
        let unread = left.lock().len();
        (read.collect::<Result<_, _>>().unwrap(), unread)
    }

    fn expected(frames: &[(Stream, &str)]) -> Vec<(Stream, String)> {
        frames.iter().map(|(stream, text)| (*stream, (*text).to_owned())).collect()
    }

    #[tokio::test]
    async fn outputs_end_at_the_word_and_what_comes_later_is_not_waited_for() {
        let (out, err) = ((OUT, "\u{1}word\n"), (ERR, "\u{1}word\n"));
        for (frames, kept, unread) in [
            (
                vec![(OUT, "a\n"), (ERR, "b\n"), out, err, (OUT, "never")],
                vec![(OUT, "a\n"), (ERR, "b\n")],
                1,
            ),
            (vec![err, out, out], vec![], 1),
            // One output still goes on.
            (vec![out, (ERR, "b\n"), err], vec![(ERR, "b\n")], 0),
            // Without an end of line, and cut by the engine anywhere.
            (vec![(OUT, "half\u{1}word\n"), err], vec![(OUT, "half")], 0),
            (vec![(OUT, "x\u{1}wo"), (OUT, "rd\n"), err], vec![(OUT, "x")], 0),
            (vec![(OUT, "\u{1}word"), (OUT, "\n"), err], vec![], 0),
            // What only looks like it.
            (vec![(OUT, "x\u{1}wo"), (OUT, "rk\n")], vec![(OUT, "x\u{1}wo"), (OUT, "rk\n")], 0),
            (vec![(OUT, "x\u{1}"), (ERR, "b\n")], vec![(ERR, "b\n"), (OUT, "x\u{1}")], 0),
            // The helper said none, for nobody waited for it.
            (vec![(OUT, "a\n")], vec![(OUT, "a\n")], 0),
        ] {
            assert_eq!(read(&frames).await, (expected(&kept), unread), "{frames:?}");
        }
    }
}
