//! A container's frames on their way in: to lines, and from there to chunks, output and tap.

use jiff::Timestamp;
use tracing::warn;

use super::line::{Ending, Line};
use super::output::Kept;
use super::shipper::{Batch, Position, Shipper};
use super::{Frame, Order, Stream};

/// What the log says if the engine dropped output before it was read.
pub const LOST_NOTICE: &str =
    "[longshore] output is missing here: the engine threw it away before it was read";

/// If memory is short, lines of one container are sealed and moved to disk from this size on, in
/// bytes.
const SHORT_BYTES: usize = 64 << 10;

impl Shipper {
    pub(super) async fn take(&mut self, batch: Batch) {
        self.hear_listeners();
        let first = self.assembler.frames();
        for frame in batch {
            if self.ended {
                return;
            }
            match frame {
                Ok(frame) => self.take_frame(&frame).await,
                Err(error) => {
                    warn!(job.id = %self.source.job, run.id = %self.source.run, error, "could not read the output");
                    let reason = format!("reading the output failed: {error}");
                    self.end_of_output(Some(reason)).await;
                }
            }
        }
        let unsealed = self.cutter.unsealed_bytes() + self.assembler.open_bytes();
        self.unsealed.resize(unsealed as u64);
        let is_short = unsealed >= SHORT_BYTES && self.backlog.is_memory_short();
        if self.cutter.is_held_up() || is_short {
            self.cut().await;
        }
        if is_short {
            self.cutter.seal();
        }
        self.stow(self.store_failure.is_some()).await;
        if self.store_failure.is_none() {
            self.launch();
        }
        if self.is_new() {
            // What an adopted container said earlier is told only as far as nothing newer follows.
            self.heard.pass_on();
        }
        self.tell(first);
    }

    /// Finds out whether a client listens to this job.
    pub(super) fn hear_listeners(&mut self) {
        let feed = self.shared.feed.as_ref();
        self.told.is_heard = feed.is_some_and(|feed| feed.is_listened_to(&self.source.job));
    }

    /// Sends the new lines to listeners. `first` is the number of their first frame.
    pub(super) fn tell(&mut self, first: u64) {
        let Some(feed) = self.shared.feed.as_ref().filter(|_| self.told.is_heard) else {
            return self.told.forget();
        };
        // The output of an adopted container is sent only from beyond the stored part.
        if matches!(self.position, Position::New) {
            feed.send(self.told.messages(&self.source, first, self.assembler.frames()));
        }
    }

    /// Adds a line of our own to the log, and sends it to listeners.
    fn notice(&mut self, time: Timestamp, text: String) {
        self.cutter.notice(time, &text);
        let (stream, seq) = (Stream::Stderr, self.assembler.frames());
        self.told.push(&Line { stream, time, text, ending: Ending::Newline, seq });
    }

    async fn take_frame(&mut self, frame: &Frame) {
        let is_lost = self.pass_over(frame).await;
        if is_lost || frame.after_gap {
            self.tell_loss(frame).await;
        }
        let mut lines = Vec::new();
        self.assembler.push(frame, &mut lines);
        self.tracker.advance(frame);
        let is_new = self.is_new();
        self.take_lines(lines, is_new).await;
        if let Position::Found { next } = self.position {
            // Stored chunks end here, so an open line was cut.
            let mut lines = Vec::new();
            self.assembler.cut(&mut lines);
            self.assembler.count_on_from(next);
            self.told.begin(next);
            self.position = Position::New;
            self.take_lines(lines, false).await;
        }
    }

    /// Compares a frame of an adopted container with the stored log. Returns whether a part of the
    /// output after the stored log is missing.
    async fn pass_over(&mut self, frame: &Frame) -> bool {
        let Position::Behind { last, seen } = &mut self.position else { return false };
        let next = last.last.saturating_add(1);
        match last.end.compare(seen, frame) {
            Order::Before => false,
            Order::Last => {
                self.position = Position::Found { next };
                false
            }
            Order::Beyond => {
                let mut lines = Vec::new();
                self.assembler.cut(&mut lines);
                self.take_lines(lines, false).await;
                self.assembler.count_on_from(next);
                self.told.begin(next);
                self.position = Position::New;
                true
            }
        }
    }

    /// Says in the log that output is missing before `frame`.
    async fn tell_loss(&mut self, frame: &Frame) {
        if !self.is_new() {
            return;
        }
        self.cut().await;
        self.gaps += 1;
        self.notice(frame.time, LOST_NOTICE.to_owned());
    }

    /// Whether the current output is not stored yet.
    pub(super) fn is_new(&self) -> bool {
        matches!(self.position, Position::New)
    }

    async fn take_lines(&mut self, lines: Vec<Line>, store: bool) {
        for line in lines {
            if let Some(taken) = self.heard.hear(&line).filter(|_| self.series.is_some()) {
                self.shared.metrics.measured(taken);
            }
            match self.output.push(&line).await {
                Kept::Yes if store => {
                    self.cutter.push(&line);
                    self.told.push(&line);
                }
                Kept::CapReached if store => self.notice(line.time, self.output.cap_notice()),
                _ => {}
            }
            if self.live.is_some() {
                self.untapped.push_back(line);
            }
        }
        if let Some(cursor) = self.tracker.now()
            && store
            && self.assembler.is_clean()
        {
            self.cutter.commit(self.assembler.frames(), cursor);
        }
    }

    /// Ends open lines, so that a chunk may end here.
    pub(super) async fn cut(&mut self) {
        if self.is_new() && !self.assembler.is_clean() {
            let mut lines = Vec::new();
            self.assembler.cut(&mut lines);
            self.take_lines(lines, true).await;
        }
    }

    pub(super) async fn end_of_output(&mut self, failure: Option<String>) {
        let first = self.assembler.frames();
        let mut lines = Vec::new();
        if failure.is_some() {
            self.assembler.cut(&mut lines);
        } else {
            self.assembler.finish(&mut lines);
        }
        let is_new = self.is_new();
        self.take_lines(lines, is_new).await;
        self.heard.pass_on();
        self.ended = true;
        self.read_failure = failure;
        self.cutter.seal();
        self.stow(self.store_failure.is_some()).await;
        if !self.is_all_at_hand() {
            self.launch();
        }
        self.tell(first);
    }
}
