//! Writes the output of commands, for people and for scripts. Only this file writes to standard
//! output and standard error, except for logs in their stored form and the screen of `top`. So no text reaches a
//! terminal unescaped.

use std::io::{IsTerminal as _, Write as _};

use clap::ValueEnum;
use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;

use super::failure::ErrorReport;
use super::{Failure, terminal};
use crate::job::json::{MAX_DEPTH, Tokens, Writer};

/// How a command writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// For scripts.
    Json,
}

/// Writes a text and ends its last line. Only terminals get colours, and no other control
/// characters.
pub(super) fn print(text: &str) -> Result<(), Failure> {
    if std::io::stdout().is_terminal() {
        return write(&mut anstream::stdout().lock(), &terminal::harmless(text));
    }
    write(&mut anstream::stdout().lock(), text)
}

/// Writes a text unchanged, whatever it does to a terminal, and ends its last line.
pub(super) fn print_raw(text: &str) -> Result<(), Failure> {
    write(&mut std::io::stdout().lock(), text)
}

/// Writes bytes unchanged to a file or another program. A terminal gets them as harmless text.
pub(super) fn print_bytes(bytes: &[u8]) -> Result<(), Failure> {
    if std::io::stdout().is_terminal() {
        return print(&String::from_utf8_lossy(bytes));
    }
    let mut out = std::io::stdout().lock();
    out.write_all(bytes)?;
    Ok(out.flush()?)
}

fn write(out: &mut impl std::io::Write, text: &str) -> Result<(), Failure> {
    out.write_all(text.as_bytes())?;
    if !text.is_empty() && !text.ends_with('\n') {
        out.write_all(b"\n")?;
    }
    Ok(out.flush()?)
}

/// Writes a value as one JSON document, digit for digit.
pub(super) fn print_json(value: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_vec(value).map_err(anyhow::Error::from)?;
    let (mut tokens, mut writer) = (Tokens::new(&text, MAX_DEPTH), Writer::for_people());
    while let Some(token) = tokens.read().map_err(anyhow::Error::from)? {
        writer.write(&token);
    }
    print(&terminal::json(&String::from_utf8_lossy(&writer.into_bytes())))
}

/// Writes a value as one line of JSON.
pub(super) fn print_json_line(value: &impl Serialize) -> Result<(), Failure> {
    print(&terminal::json(&serde_json::to_string(value).map_err(anyhow::Error::from)?))
}

/// Aligned columns under a header, without borders. A cell is one line.
pub(super) fn columns<const N: usize>(head: [&str; N], rows: Vec<[String; N]>) -> String {
    let rows = rows.into_iter().map(|row| row.map(|cell| terminal::one_line(&cell)).to_vec());
    self::rows(head.map(str::to_owned).to_vec(), rows.collect())
}

/// The same with any number of columns. The cells are one line already.
pub(super) fn rows(head: Vec<String>, rows: Vec<Vec<String>>) -> String {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled)
        .set_header(head)
        .add_rows(rows);
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.lines().map(|line| line.trim_end().to_owned() + "\n").collect()
}

/// How many characters a line of standard output has, if that is a terminal.
pub(super) fn terminal_width() -> Option<usize> {
    width_of(&Table::new())
}

/// The same of standard error.
pub(super) fn error_terminal_width() -> Option<usize> {
    let mut table = Table::new();
    table.use_stderr();
    width_of(&table)
}

/// A terminal that knows no size says 0.
fn width_of(table: &Table) -> Option<usize> {
    table.width().map(usize::from).filter(|width| *width > 0)
}

/// A line with a fact: its name, and its value as one line.
pub(super) fn fact(name: &str, value: &str) -> String {
    format!("{name:<9}  {}\n", terminal::one_line(value))
}

/// Writes a line on standard error. If that fails, there is no other place to report it.
pub(super) fn say(text: &str) {
    if std::io::stderr().is_terminal() {
        anstream::eprintln!("{}", terminal::harmless(text));
    } else {
        anstream::eprintln!("{text}");
    }
}

/// Writes a line on standard error unchanged, whatever it does to a terminal.
pub(super) fn say_raw(line: &str) {
    // As above: there is no place to report it.
    drop(writeln!(std::io::stderr().lock(), "{line}"));
}

/// Prints a warning on standard error.
pub(super) fn warn(sentence: &str) {
    say(&format!("longshore: {sentence}"));
}

impl Failure {
    /// Prints an error and what may help on standard error, as JSON in one line where the output
    /// was asked for as JSON.
    pub fn tell(&self, format: Format) {
        match (self, format) {
            (Self::Arguments(error), Format::Text) => tell_of_parser(error),
            (Self::Arguments(error), Format::Json) if self.exit_code() == 0 => {
                tell_of_parser(error);
            }
            (_, Format::Json) => {
                let told = ErrorReport::of(self).map(|report| serde_json::to_string(&report));
                if let Some(Ok(told)) = told {
                    say(&terminal::json(&told));
                }
            }
            (_, Format::Text) => {
                if let Some(told) = self.told() {
                    say(&told);
                }
            }
        }
    }
}

/// Writes the parser's own text: help on standard output, errors on standard error.
fn tell_of_parser(error: &clap::Error) {
    // As with `say`, there is no other place to report a failure.
    drop(error.print());
}
