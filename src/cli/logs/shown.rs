//! Shows a log, and remembers what has been shown.

use std::io::{BufWriter, IsTerminal as _, Stdout, Write as _};
use std::ops::ControlFlow;

use serde_json::json;

use crate::cli::{Failure, terminal};
use crate::job::JobId;
use crate::logs::{LogQuery, StoredLine, Stream, read};
use crate::storage::S3Store;

/// How a line is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// As it is stored.
    Whole,
    /// Without time and stream.
    Bare,
    /// As one JSON document.
    Json,
}

/// Shows lines, and remembers how far it has come.
pub(super) struct Shown {
    form: Form,
    /// Whether control characters are escaped, except for colours.
    is_careful: bool,
    out: BufWriter<Stdout>,
    reached: Reached,
}

impl Shown {
    /// Shows lines as they are stored if the output is a file or another program, or if the user
    /// wants that.
    pub(super) fn new(form: Form, raw: bool) -> Self {
        let is_careful = !raw && std::io::stdout().is_terminal();
        let out = BufWriter::new(std::io::stdout());
        Self { form, is_careful, out, reached: Reached::default() }
    }

    /// Shows stored lines that were not shown yet. Returns how many.
    pub(super) async fn stored(
        &mut self,
        store: &S3Store,
        id: &JobId,
        query: &LogQuery,
    ) -> Result<u64, Failure> {
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
        read.map_err(anyhow::Error::from)?;
        self.out.flush()?;
        Ok(lines)
    }

    /// Shows one new line, unless it `may_be_shown` already and is.
    pub(super) fn live(
        &mut self,
        line: &StoredLine<'_>,
        may_be_shown: bool,
    ) -> Result<(), Failure> {
        if may_be_shown && self.reached.has(line) {
            return Ok(());
        }
        self.write(line)?;
        Ok(())
    }

    /// Notes that lines up to this one must not be shown.
    pub(super) fn skip(&mut self, line: &StoredLine<'_>) {
        self.reached.note(line);
        self.reached.floor.get_or_insert_with(|| line.time.to_owned());
    }

    /// Flushes the output.
    pub(super) fn flush(&mut self) -> Result<(), Failure> {
        Ok(self.out.flush()?)
    }

    fn write(&mut self, line: &StoredLine<'_>) -> std::io::Result<()> {
        self.reached.note(line);
        let text = match self.form {
            Form::Whole => line.raw,
            Form::Bare => line.text,
            Form::Json => {
                let stream = line.stream.map(Stream::as_str);
                let document = json!({"time": line.time, "stream": stream, "text": line.text});
                return writeln!(self.out, "{}", terminal::json(&document.to_string()));
            }
        };
        if self.is_careful {
            return writeln!(self.out, "{}", terminal::harmless(text));
        }
        writeln!(self.out, "{text}")
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
