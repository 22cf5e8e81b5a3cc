//! A container's frames on their way in: to lines, and from there to chunks, output and tap.

use tracing::warn;

use super::Frame;
use super::line::Line;
use super::output::Kept;
use super::shipper::{Batch, Shipper};

impl Shipper {
    pub(super) async fn take(&mut self, batch: Batch) {
        for frame in batch {
            if self.ended {
                return;
            }
            match frame {
                Ok(frame) => self.take_frame(&frame).await,
                Err(error) => {
                    warn!(job = %self.source.job, run = %self.source.run, error, "read the output");
                    let reason = format!("reading the output failed: {error}");
                    self.end_of_output(Some(reason)).await;
                }
            }
        }
        if self.cutter.is_held_up() || self.cutter.is_full() {
            self.cut().await;
        }
        if self.cutter.is_full() {
            self.cutter.seal();
        }
        if self.store_failure.is_none() {
            self.launch();
        }
    }

    async fn take_frame(&mut self, frame: &Frame) {
        let mut lines = Vec::new();
        let stored = self.first.is_none_or(|first| self.assembler.frames() < first);
        self.assembler.push(frame, &mut lines);
        if stored && self.first == Some(self.assembler.frames()) {
            // Stored chunks end here: a line that was open was cut.
            self.assembler.cut(&mut lines);
        }
        self.take_lines(lines, !stored).await;
    }

    async fn take_lines(&mut self, lines: Vec<Line>, store: bool) {
        for line in lines {
            match self.output.push(&line).await {
                Kept::Yes if store => self.cutter.push(&line, self.store_failure.is_some()),
                Kept::CapReached if store => {
                    self.cutter.notice(line.time, &self.output.cap_notice());
                }
                _ => {}
            }
            if self.live.is_some() {
                self.untapped.push_back(line);
            }
        }
        if store && self.assembler.is_clean() {
            self.cutter.commit(self.assembler.frames());
        }
    }

    /// Ends open lines, so that a chunk may end here.
    pub(super) async fn cut(&mut self) {
        let stored = self.first.is_none_or(|first| self.assembler.frames() < first);
        if !stored && !self.assembler.is_clean() {
            let mut lines = Vec::new();
            self.assembler.cut(&mut lines);
            self.take_lines(lines, true).await;
        }
    }

    pub(super) async fn end_of_output(&mut self, failure: Option<String>) {
        let stored = self.first.is_none_or(|first| self.assembler.frames() < first);
        let mut lines = Vec::new();
        if failure.is_some() {
            self.assembler.cut(&mut lines);
        } else {
            self.assembler.finish(&mut lines);
        }
        self.take_lines(lines, !stored).await;
        self.ended = true;
        self.read_failure = failure;
        self.cutter.seal();
        if !self.is_all_at_hand() {
            self.launch();
        }
    }
}
