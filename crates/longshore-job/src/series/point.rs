//! A point of a series: in a line of a program's output, and in a stored line.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a line that measures begins with. A name and a number follow, and perhaps a place.
const MARK: &str = "::longshore metric";

/// The longest name of a series, in bytes.
pub const MAX_SERIES_NAME: usize = 64;

/// The series of what a program says about its progress. No program can write to it otherwise.
pub const PROGRESS_SERIES: &str = "progress";

/// The longest number or place in a line, in bytes.
const MAX_WORD: usize = 40;

/// Where on its axis a point is, if not at the time at which it was written.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum At {
    /// A number, such as a step.
    Number(f64),
    /// A time, such as that of a bar of prices.
    #[schemars(with = "String", extend("format" = "date-time"))]
    Time(Timestamp),
}

/// What a line of a program's output says.
#[derive(Debug, Clone, PartialEq)]
pub struct Measured {
    /// The series.
    pub name: String,
    /// The number.
    pub value: f64,
    /// Where it is.
    pub at: Option<At>,
}

/// One point, as it is stored: a line of JSON.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Point {
    /// The series.
    pub name: String,
    /// The number of the point in its series. The first is 0. Numbers are missing where a long series was thinned out.
    pub n: u64,
    /// What was measured.
    pub value: f64,
    /// Where on its axis it is, if the program said it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<At>,
    /// When the engine received it.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub time: Timestamp,
    /// What the program said last about its progress.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

impl Measured {
    /// What a line of a program's output says; `None` if it measures nothing. The secrets of the line
    /// must be masked already.
    #[must_use]
    pub fn said_in(line: &str) -> Option<Self> {
        let rest = line.strip_prefix(MARK)?;
        if !rest.starts_with([' ', '\t']) {
            return None;
        }
        let (name, rest) = rest.trim().split_once(char::is_whitespace)?;
        let rest = rest.trim_start();
        let (number, at) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
        let at = match at.trim_start() {
            "" => None,
            at => Some(place(at)?),
        };
        is_name(name).then_some(())?;
        Some(Self { name: name.to_owned(), value: number_of(number)?, at })
    }
}

/// A letter or `_`, then letters, digits and `_ - . : /`.
fn is_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    let begins = bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_');
    let goes_on = bytes.all(|b| b.is_ascii_alphanumeric() || b"_-.:/".contains(&b));
    begins && goes_on && name.len() <= MAX_SERIES_NAME && name != PROGRESS_SERIES
}

fn number_of(text: &str) -> Option<f64> {
    let number = (text.len() <= MAX_WORD).then(|| text.parse::<f64>().ok())??;
    // The sum makes 0 of -0.
    number.is_finite().then_some(number + 0.0)
}

/// A number, or a time; one without a zone is in UTC.
fn place(text: &str) -> Option<At> {
    if text.len() > MAX_WORD {
        return None;
    }
    if let Ok(time) = text.parse::<Timestamp>() {
        return Some(At::Time(time));
    }
    if text.bytes().filter(|b| *b == b'-').count() >= 2
        && let Ok(time) = text.parse::<DateTime>()
    {
        return Some(At::Time(time.to_zoned(TimeZone::UTC).ok()?.timestamp()));
    }
    number_of(text).map(At::Number)
}

/// The points in a stored object. Lines that are none are left out.
#[must_use]
pub fn read_points(text: &[u8]) -> Vec<Point> {
    let lines = text.split(|byte| *byte == b'\n');
    lines.filter_map(|line| serde_json::from_slice(line).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_a_name_a_number_and_perhaps_a_place() {
        let time = |text: &str| Some(At::Time(text.parse().unwrap()));
        for (line, name, value, at) in [
            ("::longshore metric equity 10432.5", "equity", 10432.5, None),
            ("::longshore metric\ta.b/c:d-e_1  -1e3 \r", "a.b/c:d-e_1", -1000.0, None),
            ("::longshore metric x 0 17", "x", 0.0, Some(At::Number(17.0))),
            ("::longshore metric x 1 -3.5", "x", 1.0, Some(At::Number(-3.5))),
            ("::longshore metric x 1 2024-03-01", "x", 1.0, time("2024-03-01T00:00:00Z")),
            ("::longshore metric x 1 2024-03-01 09:30", "x", 1.0, time("2024-03-01T09:30:00Z")),
            (
                "::longshore metric x 1 2024-03-01T09:30:00.000000000",
                "x",
                1.0,
                time("2024-03-01T09:30:00Z"),
            ),
            (
                "::longshore metric x 1 2024-03-01T09:30:00+01:00",
                "x",
                1.0,
                time("2024-03-01T08:30:00Z"),
            ),
        ] {
            let said = Measured::said_in(line);
            assert_eq!(said, Some(Measured { name: name.to_owned(), value, at }), "{line:?}");
        }
    }

    #[test]
    fn other_lines_measure_nothing() {
        let long = format!("::longshore metric x {}", "1".repeat(1 << 20));
        let name = format!("::longshore metric {} 1", "x".repeat(MAX_SERIES_NAME + 1));
        for line in [
            "",
            " ::longshore metric x 1",
            "::longshore metric",
            "::longshore metric x",
            "::longshore metricx 1",
            "::longshore metric 1 x",
            "::longshore metric x half",
            "::longshore metric x NaN",
            "::longshore metric x inf",
            "::longshore metric x 1e999",
            "::longshore metric x ***",
            "::longshore metric *** 1",
            "::longshore metric é 1",
            "::longshore metric x 1 soon",
            "::longshore metric x 1 NaN",
            "::longshore metric x 1 2024-13-01",
            "::longshore metric x 1 2 3",
            "::longshore metric progress 37",
            &long,
            &name,
        ] {
            assert_eq!(Measured::said_in(line), None, "{:?}", &line[..line.len().min(80)]);
        }
        let name = format!("::longshore metric {} 1", "x".repeat(MAX_SERIES_NAME));
        assert!(Measured::said_in(&name).is_some());
        for (length, is_read) in [(MAX_WORD, true), (MAX_WORD + 1, false)] {
            let number = "1".repeat(length);
            for line in ["x 1", "x"].map(|words| format!("::longshore metric {words} {number}")) {
                assert_eq!(Measured::said_in(&line).is_some(), is_read, "{line}");
            }
        }
    }

    #[test]
    fn a_point_is_a_line_of_json() {
        let text = concat!(
            r#"{"name":"a","n":0,"value":1.0,"time":"2026-03-02T09:15:03Z"}"#,
            "\nnone\n\n",
            r#"{"name":"a","n":4,"value":2.5,"at":7.0,"time":"2026-03-02T09:15:04Z"}"#,
            "\n",
            r#"{"name":"a","n":5,"value":2.5,"at":"2024-03-01T00:00:00Z","time":"2026-03-02T09:15:04Z","text":"x"}"#,
        );
        let points = read_points(text.as_bytes());
        let again: Vec<_> = points.iter().map(|one| serde_json::to_string(one).unwrap()).collect();
        let lines: Vec<_> = text.lines().filter(|line| line.starts_with('{')).collect();
        assert_eq!(again, lines);
        assert_eq!(points[1].at, Some(At::Number(7.0)));
    }
}
