//! Following a container's output to its true end.
//!
//! An engine's own follow stream may end before the output does: its last lines can be missing
//! when the container ends, and all after a rotation that it did not notice. So the output is read
//! once more after the end, and what came already is passed over. And after a rotation that it did
//! notice it may begin the new file a second time, which is passed over too. (All seen on 20.10.)

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use bollard::container::LogOutput;
use bollard::errors::Error;
use bollard::query_parameters::LogsOptionsBuilder;
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use jiff::Timestamp;
use tokio::time::sleep;

use super::engine::Engine;
use super::lifecycle;
use super::logs::{Pieces, READING, frame, unreadable};
use crate::logs::{Frame, Stream};
use crate::runner::orchestrator::{ContainerState, EngineError};

/// Before following again, where the stream ended and the container runs still.
const AGAIN_PAUSE: Duration = Duration::from_secs(1);

/// Errors of the engine's reader in a row, without a new frame between them, that are read over.
const MAX_FAULTS: u32 = 3;

/// How far before the last frame a further pass begins, in seconds: the two outputs are stamped
/// apart, so that stamps can go backwards.
const OVERLAP_SECONDS: i64 = 1;

/// Frames that are remembered to know a repetition by: more than a program writes in the moment
/// between a rotation and its notice.
const MAX_RECENT: usize = 8192;

/// The output from its beginning to its end. An error is the last item.
pub(super) fn follow(
    engine: &Engine,
    container: &str,
) -> BoxStream<'static, Result<Frame, EngineError>> {
    let follower = Follower {
        engine: engine.clone(),
        container: container.to_owned(),
        last: None,
        recent: Recent::default(),
        faults: 0,
        pass: Pass::begin(engine, container, None, false),
        is_over: false,
    };
    stream::unfold(follower, |mut follower| async move {
        follower.next().await.map(|item| (item, follower))
    })
    .boxed()
}

struct Follower {
    engine: Engine,
    container: String,
    last: Option<Place>,
    recent: Recent,
    faults: u32,
    pass: Pass,
    is_over: bool,
}

/// One reading of the engine's stream.
struct Pass {
    outputs: BoxStream<'static, Result<LogOutput, Error>>,
    pieces: Pieces,
    /// How far what came already goes, until this pass is there.
    known: Option<Place>,
    /// Whether the container had ended before this pass began, so that it gives everything.
    is_final: bool,
}

impl Pass {
    fn begin(engine: &Engine, container: &str, known: Option<Place>, is_final: bool) -> Self {
        let since = known.as_ref().map_or(0, Place::since);
        let options = LogsOptionsBuilder::default()
            .follow(true)
            .stdout(true)
            .stderr(true)
            .timestamps(true)
            .since(since)
            .tail("all")
            .build();
        let outputs = engine.docker.logs(container, Some(options)).boxed();
        Self { outputs, pieces: Pieces::default(), known, is_final }
    }

    /// Whether a frame has not come before.
    fn is_new(&mut self, frame: &Frame) -> bool {
        let Some(known) = &mut self.known else {
            return true;
        };
        let order = known.compare(frame);
        if order != Order::Before {
            self.known = None;
        }
        order == Order::Beyond
    }
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
        let output = output.map_err(self.engine.failed(READING, &self.container))?;
        let mut frame = match frame(output) {
            Ok(frame) => frame,
            Err(reason) => {
                self.read_again(reason).await?;
                return Ok(None);
            }
        };
        let begins_line =
            !self.pass.pieces.is_line_open(frame.stream) || !self.recent.goes_on(&frame);
        frame.bytes = self.pass.pieces.mend(frame.stream, frame.bytes);
        if begins_line && self.pass.known.is_none() && self.recent.holds(&frame) {
            self.pass.known.clone_from(&self.last);
        }
        if !self.pass.is_new(&frame) {
            return Ok(None);
        }
        self.faults = 0;
        self.recent.push(&frame);
        self.last = Some(Place::after(self.last.take(), &frame));
        Ok(Some(frame))
    }

    /// Begins another pass after an error of the engine's reader, as it makes when it reads a file
    /// that is just being rotated. One that comes again at the same place is final.
    async fn read_again(&mut self, reason: String) -> Result<(), EngineError> {
        self.faults += 1;
        if self.faults > MAX_FAULTS {
            return Err(unreadable(&self.container)(reason));
        }
        tracing::warn!(container.id = self.container, reason, "reading container logs again");
        sleep(AGAIN_PAUSE).await;
        let is_final = self.pass.is_final;
        self.pass = Pass::begin(&self.engine, &self.container, self.last.clone(), is_final);
        Ok(())
    }

    async fn end_pass(&mut self) -> Result<(), EngineError> {
        if self.pass.is_final {
            self.is_over = true;
            return Ok(());
        }
        let has_ended = match lifecycle::inspect(&self.engine, &self.container).await {
            Ok(status) => status.state != ContainerState::Running,
            Err(EngineError::NoContainer { .. }) => {
                // Removed: there is nothing left to read.
                self.is_over = true;
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        if !has_ended {
            sleep(AGAIN_PAUSE).await;
        }
        self.pass = Pass::begin(&self.engine, &self.container, self.last.clone(), has_ended);
        Ok(())
    }
}

/// How far the output has come: the last frame by its output and stamp, and how many of this
/// stamp there were, for the pieces of one line share theirs.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    stream: Stream,
    time: Timestamp,
    count: usize,
}

/// Where a frame is in relation to a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    Before,
    Last,
    Beyond,
}

impl Place {
    fn after(last: Option<Self>, frame: &Frame) -> Self {
        let (stream, time) = (frame.stream, frame.time);
        let same = last.filter(|last| last.stream == stream && last.time == time);
        Self { stream, time, count: same.map_or(1, |last| last.count + 1) }
    }

    fn since(&self) -> i32 {
        let seconds = self.time.as_second().saturating_sub(OVERLAP_SECONDS);
        i32::try_from(seconds.max(0)).unwrap_or(i32::MAX)
    }

    /// Where `frame` is; counts down to the last of those with its stamp. The stamps of one output
    /// do not go backwards, so that a later one is beyond, where the place itself was rotated away.
    fn compare(&mut self, frame: &Frame) -> Order {
        if frame.stream != self.stream || frame.time < self.time {
            return Order::Before;
        }
        if frame.time > self.time {
            return Order::Beyond;
        }
        self.count = self.count.saturating_sub(1);
        if self.count == 0 { Order::Last } else { Order::Before }
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

    /// Whether the frame that begins a line came before: stamps are in nanoseconds, and nobody
    /// writes the same line twice in one.
    fn holds(&self, frame: &Frame) -> bool {
        Some(frame.time) <= self.latest && self.frames.contains(&Self::key(frame))
    }

    /// Whether the frame has the stamp of the one before it, as the pieces of a line have.
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
        Frame { stream, time, bytes: Bytes::from_static(b"x\n") }
    }

    fn place(frames: &[Frame]) -> Option<Place> {
        frames.iter().fold(None, |last, frame| Some(Place::after(last, frame)))
    }

    fn what_is_new<'a>(known: &[Frame], again: &'a [Frame]) -> Vec<&'a Frame> {
        let outputs = stream::empty().boxed();
        let known = place(known);
        let mut pass = Pass { outputs, pieces: Pieces::default(), known, is_final: true };
        again.iter().filter(|frame| pass.is_new(frame)).collect()
    }

    #[test]
    fn a_second_pass_gives_what_the_first_did_not() {
        use Stream::{Stderr, Stdout};
        let all = [
            frame(Stdout, 1),
            frame(Stderr, 5),
            frame(Stderr, 5),
            // Stamped apart: backwards in order of arrival.
            frame(Stdout, 4),
            frame(Stdout, 4),
            frame(Stdout, 4),
            frame(Stderr, 9),
        ];
        for come in 0..=all.len() {
            let rest: Vec<_> = all[come..].iter().collect();
            assert_eq!(what_is_new(&all[..come], &all), rest, "after {come}");
        }
        let rest: Vec<_> = all[3..].iter().collect();
        assert_eq!(what_is_new(&all[..1], &all[3..]), rest, "the place was rotated away");
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
        assert_eq!(place(&[frame(Stream::Stdout, 7)]).unwrap().since(), 99);
        let long_ago = Place { stream: Stream::Stdout, time: Timestamp::MIN, count: 1 };
        assert_eq!(long_ago.since(), 0);
    }
}
