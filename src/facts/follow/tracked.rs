//! Passes lines on, and remembers which it has passed on.

use std::io;
use std::ops::ControlFlow;

use jiff::Timestamp;

use super::FactsError;
use crate::job::JobId;
use crate::logs::{LogQuery, StoredLine, read};
use crate::storage::ObjectStore;

/// Takes lines.
pub trait LineSink: Send {
    /// Takes one line.
    ///
    /// # Errors
    /// When it takes no more.
    fn line(&mut self, line: &StoredLine<'_>) -> io::Result<()>;

    /// Passes on what it holds back.
    ///
    /// # Errors
    /// When it takes no more.
    fn flush(&mut self) -> io::Result<()>;

    /// Takes a sentence of ours about the log.
    fn say(&mut self, sentence: &str);
}

/// A sink that gets each line once.
pub struct Tracked<S> {
    sink: S,
    reached: Reached,
}

impl<S: LineSink> Tracked<S> {
    /// Passes lines on to `sink`.
    #[must_use]
    pub fn new(sink: S) -> Self {
        Self { sink, reached: Reached::default() }
    }

    /// The sink.
    #[must_use]
    pub fn into_sink(self) -> S {
        self.sink
    }

    /// Passes on stored lines that were not passed on yet. Returns how many.
    ///
    /// # Errors
    /// When the log cannot be read, or the sink takes no more.
    pub async fn stored(
        &mut self,
        store: &dyn ObjectStore,
        id: &JobId,
        query: &LogQuery,
    ) -> Result<u64, FactsError> {
        let known = self.reached.clone();
        let (mut lines, mut written) = (0, Ok(()));
        let mut sink = |line: StoredLine<'_>| {
            if known.has(&line) {
                return ControlFlow::Continue(());
            }
            lines += 1;
            written = self.write(&line);
            if written.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        };
        let read = read(store, id, query, &mut sink).await;
        written?;
        read?;
        self.sink.flush()?;
        Ok(lines)
    }

    /// Passes on one new line, unless it `may_be_shown` already and is.
    pub(super) fn live(
        &mut self,
        line: &StoredLine<'_>,
        may_be_shown: bool,
    ) -> Result<(), FactsError> {
        if may_be_shown && self.reached.has(line) {
            return Ok(());
        }
        Ok(self.write(line)?)
    }

    /// Notes that lines up to this one must not be passed on.
    pub(super) fn skip(&mut self, line: &StoredLine<'_>) {
        self.reached.note(line);
    }

    /// Nothing before this time is passed on any more.
    pub(super) fn floor(&self) -> Option<Timestamp> {
        self.reached.floor.as_deref()?.parse().ok()
    }

    pub(super) fn flush(&mut self) -> Result<(), FactsError> {
        Ok(self.sink.flush()?)
    }

    pub(super) fn say(&mut self, sentence: &str) {
        self.sink.say(sentence);
    }

    fn write(&mut self, line: &StoredLine<'_>) -> io::Result<()> {
        self.reached.note(line);
        self.sink.line(line)
    }
}

/// How far a log was shown: the time of the last line of each output. The lines of one output are
/// in order of time.
#[derive(Debug, Clone, Default)]
struct Reached {
    last: [Option<String>; 2],
    /// Nothing before this time is shown any more.
    floor: Option<String>,
}

impl Reached {
    fn note(&mut self, line: &StoredLine<'_>) {
        if self.floor.is_none() {
            self.floor = Some(line.time.to_owned());
        }
        if let Some(stream) = line.stream {
            self.last[stream as usize] = Some(line.time.to_owned());
        }
    }

    /// Whether a line was shown, or was left out before shown lines.
    fn has(&self, line: &StoredLine<'_>) -> bool {
        let Some(stream) = line.stream else { return self.floor.is_some() };
        let is_before =
            |time: &Option<String>| time.as_deref().is_some_and(|time| line.time < time);
        let last = &self.last[stream as usize];
        is_before(&self.floor) || last.as_deref() == Some(line.time) || is_before(last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_shown_is_known_for_each_output_by_itself() {
        let raw = |second: u32, stream: &str| format!("2026-11-22T10:00:{second:02}Z {stream} x");
        let mut reached = Reached::default();
        for (second, stream) in [(10, "stdout"), (20, "stderr")] {
            reached.note(&StoredLine::parse(&raw(second, stream)));
        }
        let has = |second, stream| reached.has(&StoredLine::parse(&raw(second, stream)));
        assert!(has(10, "stdout") && !has(11, "stdout"));
        assert!(has(11, "stderr") && has(20, "stderr") && !has(21, "stderr"));
        assert!(has(9, "stdout"), "it was before the first line that was asked for");
    }
}
