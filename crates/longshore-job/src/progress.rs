//! How far a run is: what a sweep counts, or what a program says in a line of its output.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::sweep::SweepProgress;

/// What a line that says how far a program is begins with. A number and perhaps a text follow.
const MARK: &str = "::longshore progress";

/// The longest text about how far a program is, in characters. Of a longer one, the beginning is kept.
pub const MAX_PROGRESS_TEXT: usize = 200;

/// The longest number in such a line, in bytes.
const MAX_NUMBER: usize = 32;

/// How far a run is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum RunProgress {
    /// What the program said last.
    Program(ProgramProgress),
    /// How many configs of a sweep are done.
    Sweep(SweepProgress),
}

impl fmt::Display for RunProgress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Program(progress) => progress.fmt(f),
            Self::Sweep(progress) => progress.fmt(f),
        }
    }
}

/// How far a program says that it is. It also has the fields of a sweep's progress that are always
/// there, because readers of version 0.2.0 need them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ProgramProgress {
    /// How far, from 0 to 100, with at most two decimals.
    #[schemars(range(min = 0, max = 100))]
    pub percent: f64,
    /// What the program says about it, at most 200 characters, with secrets masked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = MAX_PROGRESS_TEXT))]
    pub text: Option<String>,
    /// `percent`, rounded down.
    pub done: u64,
    /// Always 0.
    pub failed: u64,
    /// Always 100.
    pub total: u64,
    /// Always 0.
    pub per_second: f64,
}

impl ProgramProgress {
    /// What a line of a program's output says; `None` if it says nothing about that. The secrets of
    /// the line must be masked already. A number beyond 0 and 100 counts as the nearer of the two.
    #[must_use]
    pub fn said_in(line: &str) -> Option<Self> {
        let rest = line.strip_prefix(MARK)?;
        if !rest.starts_with([' ', '\t']) {
            return None;
        }
        let rest = rest.trim();
        let (number, text) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
        let number = number.strip_suffix('%').unwrap_or(number);
        if number.len() > MAX_NUMBER {
            return None;
        }
        let number = number.parse::<f64>().ok().filter(|number| number.is_finite())?;
        // The sum makes 0 of -0.
        let percent = (number.clamp(0.0, 100.0) * 100.0).round() / 100.0 + 0.0;
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "it is between 0 and 100"
        )]
        let done = percent as u64;
        let text = Some(short(text.trim_start())).filter(|text| !text.is_empty());
        Some(Self { percent, text, done, failed: 0, total: 100, per_second: 0.0 })
    }
}

impl fmt::Display for ProgramProgress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} %", self.percent)?;
        match &self.text {
            Some(text) => write!(f, ": {text}"),
            None => Ok(()),
        }
    }
}

/// A text without control characters, of at most [`MAX_PROGRESS_TEXT`] characters.
fn short(text: &str) -> String {
    let visible = |c: char| if c.is_control() { ' ' } else { c };
    let mut short: String = text.chars().map(visible).take(MAX_PROGRESS_TEXT).collect();
    if short.len() < text.len() && text.chars().nth(MAX_PROGRESS_TEXT).is_some() {
        short.pop();
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(line: &str) -> Option<(f64, Option<String>)> {
        ProgramProgress::said_in(line).map(|progress| (progress.percent, progress.text))
    }

    #[test]
    fn a_line_says_a_number_and_perhaps_a_text() {
        for (line, percent, text) in [
            ("::longshore progress 37 loading prices", 37.0, Some("loading prices")),
            ("::longshore progress 37", 37.0, None),
            ("::longshore progress  37.128%   a  b \r", 37.13, Some("a  b")),
            ("::longshore progress\t0\tbegins", 0.0, Some("begins")),
            ("::longshore progress 1e1 \u{1b}[2Jaß\u{fffd}", 10.0, Some(" [2Jaß\u{fffd}")),
            ("::longshore progress 1e308", 100.0, None),
            ("::longshore progress -3", 0.0, None),
        ] {
            assert_eq!(said(line), Some((percent, text.map(str::to_owned))), "{line:?}");
        }
        assert!(
            ProgramProgress::said_in("::longshore progress -0").unwrap().percent.is_sign_positive()
        );
        let progress = ProgramProgress::said_in("::longshore progress 99.999").unwrap();
        assert_eq!(
            (progress.done, progress.total, progress.to_string().as_str()),
            (100, 100, "100 %")
        );
        let progress = ProgramProgress::said_in("::longshore progress 37.9 x").unwrap();
        assert_eq!((progress.done, progress.to_string().as_str()), (37, "37.9 %: x"));
    }

    #[test]
    fn other_lines_say_nothing() {
        let long = format!("::longshore progress {}", "1".repeat(1 << 20));
        for line in [
            "",
            "progress 37",
            " ::longshore progress 37",
            "::longshore progress",
            "::longshore progress ",
            "::longshore progress37",
            "::longshore progressed 37",
            "::longshore metric equity 37",
            "::longshore progress half",
            "::longshore progress NaN",
            "::longshore progress inf",
            "::longshore progress -infinity",
            "::longshore progress 1e999",
            "::longshore progress 0x10",
            "::longshore progress 3,5",
            "::longshore progress *** 5",
            "::longshore progress \u{fffd}",
            &long,
        ] {
            assert_eq!(said(line), None, "{:?}", &line[..line.len().min(80)]);
        }
    }

    #[test]
    fn a_long_text_keeps_its_beginning() {
        let fits = "ä".repeat(MAX_PROGRESS_TEXT);
        let text = |text: &str| said(&format!("::longshore progress 1 {text}")).unwrap().1.unwrap();
        assert_eq!(text(&fits), fits);
        let cut = text(&"ä".repeat(1 << 19));
        assert_eq!(cut.chars().count(), MAX_PROGRESS_TEXT);
        assert!(cut.ends_with("ä…"));
    }

    #[test]
    fn both_kinds_survive_the_wire_and_an_old_reader_takes_both() {
        let program = ProgramProgress::said_in("::longshore progress 37.5 x").unwrap();
        let sweep = SweepProgress {
            done: 1,
            failed: 0,
            total: 2,
            per_second: 0.5,
            seconds_left: None,
            best: None,
        };
        for progress in [RunProgress::Program(program), RunProgress::Sweep(sweep)] {
            let text = serde_json::to_string(&progress).unwrap();
            assert_eq!(serde_json::from_str::<RunProgress>(&text).unwrap(), progress);
            serde_json::from_str::<SweepProgress>(&text).unwrap();
        }
    }
}
