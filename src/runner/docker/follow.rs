//! Follows a container's output to its true end.
//!
//! An engine's own follow stream may end before the output does. When the container ends, the last
//! lines can be missing, and so can everything after a rotation that the stream did not notice. So
//! the output is read again after the end, and frames that came already are skipped. After a
//! rotation that it did notice, the stream may begin the new file a second time, and these frames
//! are skipped, too. (All seen on 20.10.) The output of a container that ends soon is read once,
//! after its end. If the engine is away, the reader waits. If the last position no longer exists
//! when the output is read again, the next frame says that output is missing before it.

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use bollard::container::LogOutput;
use bollard::errors::Error;
use bollard::query_parameters::LogsOptionsBuilder;
use futures_util::stream::{self, BoxStream};
use futures_util::{FutureExt, StreamExt};
use jiff::Timestamp;
use tokio::time::sleep;

use super::ends::End;
use super::engine::Engine;
use super::lifecycle;
use super::logs::{Pieces, READING, frame, unreadable};
use crate::logs::{Cursor, CursorTracker, Frame, Order, Stream};
use crate::runner::orchestrator::{ContainerState, EngineError};

/// How long to wait for a container's end before its output is followed. If it ends in this time,
/// its output is read once, which saves the engine a watch on a file and a second reading.
pub(super) const FIRST_LOOK: Duration = Duration::from_millis(250);

/// How long the news of a container's end may take after the end of its stream.
const END_WORD: Duration = Duration::from_millis(200);

/// The pause before following again, if the stream ended and the container still runs.
const AGAIN_PAUSE: Duration = Duration::from_secs(1);

/// The pause before following again, if the engine could not be reached.
const AWAY_PAUSE: Duration = Duration::from_secs(2);

/// How many errors of the engine's reader in a row, without a new frame between them, are ignored.
const MAX_FAULTS: u32 = 3;

/// How far before the last frame a further pass begins, in seconds. The two outputs are stamped
/// separately, so stamps can go back.
const OVERLAP_SECONDS: i64 = 1;

/// How many frames are remembered to recognise a repetition: more than a program writes between a
/// rotation and the moment when the stream notices it.
const MAX_RECENT: usize = 8192;

/// The output from its beginning to its end. An error is the last item. It is first read when the container has
/// ended, or after `first_look`.
pub(super) fn follow(
    engine: &Engine,
    container: &str,
    first_look: Duration,
) -> BoxStream<'static, Result<Frame, EngineError>> {
    let (engine, container) = (engine.clone(), container.to_owned());
    let mut end = engine.ends.listen(&container);
    let begun = async move {
        let has_ended = end.comes_within(first_look).await;
        Follower {
            pass: Pass::begin(&engine, &container, None, has_ended),
            engine,
            container,
            end,
            read: CursorTracker::default(),
            recent: Recent::default(),
            faults: 0,
            is_over: false,
        }
    };
    let frames = begun.map(|follower| {
        stream::unfold(follower, |mut follower| async move {
            follower.next().await.map(|item| (item, follower))
        })
    });
    frames.flatten_stream().boxed()
}

struct Follower {
    engine: Engine,
    container: String,
    end: End,
    read: CursorTracker,
    recent: Recent,
    faults: u32,
    pass: Pass,
    is_over: bool,
}

/// One reading of the engine's stream.
struct Pass {
    outputs: BoxStream<'static, Result<LogOutput, Error>>,
    pieces: Pieces,
    /// The last known position, until this pass has reached it, and how many frames with its stamp
    /// this pass has returned.
    known: Option<(Cursor, u32)>,
    /// Whether the container had ended before this pass began, so that the pass is complete.
    is_final: bool,
}

impl Pass {
    fn begin(engine: &Engine, container: &str, known: Option<Cursor>, is_final: bool) -> Self {
        let since = known.map_or(0, since);
        let options = LogsOptionsBuilder::default()
            .follow(true)
            .stdout(true)
            .stderr(true)
            .timestamps(true)
            .since(since)
            .tail("all")
            .build();
        let outputs = engine.docker.logs(container, Some(options)).boxed();
        let known = known.map(|cursor| (cursor, 0));
        Self { outputs, pieces: Pieces::default(), known, is_final }
    }

    /// Whether a frame is new. If the last known frame no longer exists, a frame after it comes
    /// after a gap.
    fn is_new(&mut self, frame: &mut Frame) -> bool {
        let Some((known, seen)) = &mut self.known else {
            return true;
        };
        let order = known.compare(seen, frame);
        if order != Order::Before {
            self.known = None;
        }
        frame.after_gap = order == Order::Beyond;
        frame.after_gap
    }
}

/// From which second on the engine must read again, so that `cursor` is included.
fn since(cursor: Cursor) -> i32 {
    let seconds = cursor.time.as_second().saturating_sub(OVERLAP_SECONDS);
    i32::try_from(seconds.max(0)).unwrap_or(i32::MAX)
}

impl Follower {
    async fn next(&mut self) -> Option<Result<Frame, EngineError>> {
        while !self.is_over {
            match self.step().await {
                Ok(None) => {}
                Ok(Some(frame)) => return Some(Ok(frame)),
                Err(error) => {
                    self.is_over = true;
                    return Some(Err(error));
                }
            }
        }
        None
    }

    async fn step(&mut self) -> Result<Option<Frame>, EngineError> {
        let Some(output) = self.pass.outputs.next().await else {
            self.end_pass().await?;
            return Ok(None);
        };
        let output = match output.map_err(self.engine.failed(READING, &self.container)) {
            Ok(output) => output,
            Err(error) => {
                self.wait_out(error).await?;
                return Ok(None);
            }
        };
        let mut frame = match frame(output) {
            Ok(frame) => frame,
            Err(reason) => {
                self.read_again(reason).await?;
                return Ok(None);
            }
        };
        let begins_line =
            !self.pass.pieces.is_line_open(frame.stream) || !self.recent.goes_on(&frame);
        frame.bytes = self.pass.pieces.restore(frame.stream, frame.bytes);
        if begins_line && self.pass.known.is_none() && self.recent.holds(&frame) {
            self.pass.known = self.read.now().map(|cursor| (cursor, 0));
        }
        if !self.pass.is_new(&mut frame) {
            return Ok(None);
        }
        self.faults = 0;
        self.recent.push(&frame);
        self.read.advance(&frame);
        Ok(Some(frame))
    }

    /// Begins another pass after an error of the engine's reader, which can happen while a file is
    /// rotated. An error that repeats at the same position is final.
    async fn read_again(&mut self, reason: String) -> Result<(), EngineError> {
        self.faults += 1;
        if self.faults > MAX_FAULTS {
            return Err(unreadable(&self.container)(reason));
        }
        tracing::warn!(container.id = self.container, reason, "reading a container's logs again");
        sleep(AGAIN_PAUSE).await;
        self.begin_again(self.pass.is_final);
        Ok(())
    }

    /// Begins another pass when an engine that cannot be reached may be back. An error in an answer
    /// is final if it comes again and again.
    async fn wait_out(&mut self, error: EngineError) -> Result<(), EngineError> {
        if !matches!(error, EngineError::Unreachable { .. }) {
            self.faults += 1;
            if !error.is_transient() || self.faults > MAX_FAULTS {
                return Err(error);
            }
        }
        tracing::debug!(container.id = self.container, %error, "could not reach the engine; trying again");
        sleep(AWAY_PAUSE).await;
        self.begin_again(false);
        Ok(())
    }

    fn begin_again(&mut self, is_final: bool) {
        self.pass = Pass::begin(&self.engine, &self.container, self.read.now(), is_final);
    }

    async fn end_pass(&mut self) -> Result<(), EngineError> {
        if self.pass.is_final {
            self.is_over = true;
            return Ok(());
        }
        let has_ended = self.end.comes_within(END_WORD).await
            || match lifecycle::inspect(&self.engine, &self.container).await {
                Ok(status) => status.state != ContainerState::Running,
                Err(EngineError::NoContainer { .. }) => {
                    // Removed: there is nothing left to read.
                    self.is_over = true;
                    return Ok(());
                }
                Err(error) => return self.wait_out(error).await,
            };
        if !has_ended {
            sleep(AGAIN_PAUSE).await;
        }
        self.begin_again(has_ended);
        Ok(())
    }
}

/// The frames that came last.
#[derive(Default)]
struct Recent {
    frames: VecDeque<(Stream, Timestamp, u64)>,
    latest: Option<Timestamp>,
}

impl Recent {
    fn push(&mut self, frame: &Frame) {
        if self.frames.len() == MAX_RECENT {
            self.frames.pop_front();
        }
        self.frames.push_back(Self::key(frame));
        self.latest = self.latest.max(Some(frame.time));
    }

    /// Whether the first frame of a line came before. Stamps are in nanoseconds, and no program
    /// writes the same line twice in one.
    fn holds(&self, frame: &Frame) -> bool {
        Some(frame.time) <= self.latest && self.frames.contains(&Self::key(frame))
    }

    /// Whether the frame has the same stamp as the one before it, like the pieces of a line.
    fn goes_on(&self, frame: &Frame) -> bool {
        let before = self.frames.iter().rev().find(|(stream, ..)| *stream == frame.stream);
        before.is_some_and(|(_, time, _)| *time == frame.time)
    }

    fn key(frame: &Frame) -> (Stream, Timestamp, u64) {
        let mut hasher = DefaultHasher::new();
        frame.bytes.hash(&mut hasher);
        (frame.stream, frame.time, hasher.finish())
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use jiff::SignedDuration;

    use super::*;

    fn frame(stream: Stream, nanosecond: i64) -> Frame {
        let time = Timestamp::new(100, 0).unwrap() + SignedDuration::from_nanos(nanosecond);
        Frame { stream, time, bytes: Bytes::from_static(b"x\n"), after_gap: false }
    }

    fn cursor(frames: &[Frame]) -> Option<Cursor> {
        let mut tracker = CursorTracker::default();
        for frame in frames {
            tracker.advance(frame);
        }
        tracker.now()
    }

    fn what_is_new(known: &[Frame], again: &[Frame]) -> Vec<Frame> {
        let outputs = stream::empty().boxed();
        let known = cursor(known).map(|cursor| (cursor, 0));
        let mut pass = Pass { outputs, pieces: Pieces::default(), known, is_final: true };
        again.iter().cloned().filter_map(|mut f| pass.is_new(&mut f).then_some(f)).collect()
    }

    #[test]
    fn a_second_pass_returns_what_the_first_did_not() {
        use Stream::{Stderr, Stdout};
        let all = [
            frame(Stdout, 1),
            frame(Stderr, 5),
            frame(Stderr, 5),
            // Stamped separately, so they go back in order of arrival.
            frame(Stdout, 4),
            frame(Stdout, 4),
            frame(Stdout, 4),
            frame(Stderr, 9),
            // Pieces of one line with the other output between them.
            frame(Stdout, 10),
            frame(Stderr, 11),
            frame(Stdout, 10),
        ];
        for come in 0..=all.len() {
            assert_eq!(what_is_new(&all[..come], &all), all[come..], "after {come}");
        }
    }

    #[test]
    fn a_place_that_was_rotated_away_leaves_a_gap_before_the_next_frame() {
        let all: Vec<_> = (1..6).map(|nanosecond| frame(Stream::Stdout, nanosecond)).collect();
        let mut rest = all[3..].to_vec();
        rest[0].after_gap = true;
        assert_eq!(what_is_new(&all[..2], &all[3..]), rest);
    }

    #[test]
    fn a_repetition_is_known_by_stamp_and_bytes_for_a_while() {
        let mut recent = Recent::default();
        let came = frame(Stream::Stdout, 1);
        recent.push(&came);
        assert!(recent.holds(&came));
        assert!(!recent.holds(&Frame { bytes: Bytes::from_static(b"y\n"), ..came.clone() }));
        assert!(!recent.holds(&frame(Stream::Stderr, 1)));
        assert!(!recent.holds(&frame(Stream::Stdout, 2)));
        assert!(!recent.holds(&frame(Stream::Stdout, 0)), "a clock that was set back");
        for nanosecond in 2..=i64::try_from(MAX_RECENT).unwrap() {
            recent.push(&frame(Stream::Stdout, nanosecond));
        }
        assert!(recent.holds(&came));
        recent.push(&frame(Stream::Stderr, 9));
        assert!(!recent.holds(&came));
        assert_eq!(recent.frames.len(), MAX_RECENT);
    }

    #[test]
    fn a_second_pass_begins_a_little_before_the_place() {
        assert_eq!(since(cursor(&[frame(Stream::Stdout, 7)]).unwrap()), 99);
        let time = Timestamp::MIN;
        let long_ago = Cursor { stream: Stream::Stdout, time, count: 1, latest: time };
        assert_eq!(since(long_ago), 0);
    }
}
