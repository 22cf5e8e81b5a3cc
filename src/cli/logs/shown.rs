//! Shows a log.

use std::io::{self, BufWriter, IsTerminal as _, Stdout, Write as _};

use serde_json::json;

use crate::cli::output::warn;
use crate::cli::terminal;
use crate::facts::LineSink;
use crate::logs::{StoredLine, Stream};

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

/// Shows lines.
pub(super) struct Shown {
    form: Form,
    /// Whether control characters are escaped, except for colours.
    is_careful: bool,
    out: BufWriter<Stdout>,
}

impl Shown {
    /// Shows lines as they are stored if the output is a file or another program, or if the user
    /// wants that.
    pub(super) fn new(form: Form, raw: bool) -> Self {
        let is_careful = !raw && std::io::stdout().is_terminal();
        let out = BufWriter::new(std::io::stdout());
        Self { form, is_careful, out }
    }
}

impl LineSink for Shown {
    fn line(&mut self, line: &StoredLine<'_>) -> io::Result<()> {
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

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    fn say(&mut self, sentence: &str) {
        warn(sentence);
    }
}
