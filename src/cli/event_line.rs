//! One event as one aligned line. Pure, except for the terminal's width.

use anstyle::{AnsiColor, Style};
use unicode_width::UnicodeWidthStr as _;

use super::fit::{cut, padded, without_middle};
use super::output::error_terminal_width;
use super::terminal::one_line;
use crate::job::{Event, EventData, ResultStatus, State, Verdict};

/// From this many columns on, a line on a terminal has the columns of a line in a file.
const WIDE: usize = 110;

/// The least columns that a line is cut to. A terminal with less breaks it.
const LEAST: usize = 64;

/// The columns of the words for states and verdicts.
const WORD: usize = 13;

/// The columns of the job's id and of the worker's: in a file and on a wide terminal, and on a narrow
/// one.
const USUAL: [usize; 2] = [24, 16];
const NARROW: [usize; 2] = [16, 8];

/// The line of an event for standard error: fitted into a terminal, or whole and with the program's
/// name for a file.
pub(super) fn for_stderr(event: &Event) -> String {
    match error_terminal_width() {
        None => format!("longshore: {}", line(event, None)),
        width => line(event, width),
    }
}

/// The line of an event: when, what, which job, which attempt, who, why. All colours are ours. With a
/// width it is fitted into so many columns: ids lose their middle, and the message its end.
pub(super) fn line(event: &Event, width: Option<usize>) -> String {
    let (word, colour, attempt, worker, why) = match &event.data {
        EventData::Status(status) => {
            let word = status.state.as_str();
            let progress = || status.progress.as_ref().map(ToString::to_string);
            let why = status.message.clone().or_else(progress);
            let why = why.or_else(|| status.verdict.map(|verdict| verdict.to_string()));
            (word, state_colour(status.state), status.attempt, &status.worker, why)
        }
        EventData::Result(result) => {
            let word = result.verdict.map_or("running", Verdict::as_str);
            let colour = verdict_colour(result.verdict);
            (word, colour, result.attempt, &result.worker, Some(result.message.clone()))
        }
    };
    let style = Style::new().fg_color(colour.map(Into::into));
    let job = one_line(event.subject.as_deref().unwrap_or("-"));
    let (worker, why) = (one_line(worker), one_line(&why.unwrap_or_default()));
    let is_narrow = width.is_some_and(|width| width < WIDE);
    // The date takes more room than it is worth to who watches.
    let time = if is_narrow { "%H:%M:%SZ" } else { "%Y-%m-%dT%H:%M:%SZ" };
    let [id_columns, worker_columns] = if is_narrow { NARROW } else { USUAL };
    let id = |id: &str, columns| match width {
        Some(_) => padded(&without_middle(id, columns), columns),
        None => padded(id, columns),
    };
    let (time, word) = (event.time.strftime(time).to_string(), padded(word, WORD));
    let (job, worker) = (id(&job, id_columns), id(&worker, worker_columns));
    let attempt = format!("#{attempt:<2}");
    let before = [&time, &word, &job, &attempt, &worker].map(|part| part.width() + GAP);
    let why = match width {
        Some(width) => cut(&why, width.max(LEAST).saturating_sub(before.iter().sum())),
        None => why,
    };
    let text = format!("{time}  {style}{word}{style:#}  {job}  {attempt}  {worker}  {why}");
    text.trim_end().to_owned()
}

/// Spaces between two columns.
const GAP: usize = 2;

fn state_colour(state: State) -> Option<AnsiColor> {
    match state {
        State::Running => Some(AnsiColor::Green),
        State::Restarting | State::Unhealthy | State::Duplicate | State::NotRunning => {
            Some(AnsiColor::Yellow)
        }
        State::Accepted | State::Preparing | State::Stopping | State::Finished => None,
    }
}

fn verdict_colour(verdict: Option<Verdict>) -> Option<AnsiColor> {
    let verdict = verdict?;
    match verdict.status() {
        _ if verdict.was_asked_for() => Some(AnsiColor::Yellow),
        ResultStatus::Success => Some(AnsiColor::Green),
        ResultStatus::Error => Some(AnsiColor::Red),
        ResultStatus::Running => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example(name: &str) -> Event {
        let path = format!("{}/schemas/examples/{name}.json", env!("CARGO_MANIFEST_DIR"));
        serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
    }

    fn fitted(event: &Event, width: Option<usize>) -> String {
        anstream::adapter::strip_str(&line(event, width)).to_string()
    }

    fn plain(name: &str) -> String {
        fitted(&example(name), None)
    }

    #[test]
    fn a_line_fits_into_a_terminal_and_is_whole_in_a_file() {
        let mut event = example("result.failed");
        event.subject = Some("0af76519-16cd-43dd-8448-eb211c80319c".to_owned());
        let EventData::Result(result) = &mut event.data else { unreachable!("it is a result") };
        result.worker = "worker-of-frankfurt-7".to_owned();
        result.message = "main.py ended with exit code 1: 日本語".repeat(4);
        assert_eq!(
            fitted(&event, Some(80)),
            "09:15:22Z  failed         0af76519…c80319c  #1   work…t-7  main.py ended with e…"
        );
        assert!(
            fitted(&event, Some(120)).starts_with(
                "2026-03-02T09:15:22Z  failed         0af76519-16c…b211c80319c  #1   worker-o…kfurt-7"
            ),
            "{}",
            fitted(&event, Some(120))
        );
        for width in LEAST..200 {
            assert!(fitted(&event, Some(width)).width() <= width, "{width}");
        }
        let whole = fitted(&event, None);
        assert!(whole.contains("0af76519-16cd-43dd-8448-eb211c80319c"), "{whole}");
        assert!(whole.contains("worker-of-frankfurt-7") && whole.ends_with("日本語"), "{whole}");
    }

    #[test]
    fn columns_stand_below_each_other_on_a_narrow_terminal() {
        let [status, result] =
            ["status.running", "result.failed"].map(|n| fitted(&example(n), Some(80)));
        assert_eq!(status.find("sma-"), result.find("sma-"));
        assert_eq!(status.find("worker-a"), result.find("worker-a"));
    }

    #[test]
    fn states_and_verdicts_stand_in_the_same_columns() {
        let (status, result) = (plain("status.running"), plain("result.failed"));
        assert_eq!(
            result,
            "2026-03-02T09:15:22Z  failed         sma-eurusd-2024           #1   worker-a         \
             \u{20}main.py ended with exit code 1"
        );
        assert_eq!(status.find("sma-"), result.find("sma-"));
        assert_eq!(status.find("worker-a"), result.find("worker-a"));
    }

    #[test]
    fn no_part_of_an_event_begins_a_line_or_colours_it() {
        let mut event = example("result.failed");
        event.subject = Some("job\n2026-03-02T09:15:22Z  succeeded\u{1b}[2J".to_owned());
        if let EventData::Result(result) = &mut event.data {
            result.worker = "w\r\u{202e}".to_owned();
            result.message = "a\nb\u{1b}[31mc\u{2028}".to_owned();
        }
        let plain = fitted(&event, None);
        assert!(
            !plain.chars().any(|c| c.is_control() || "\u{202e}\u{2028}".contains(c)),
            "{plain:?}"
        );
        assert!(plain.ends_with(r"a b\u{1b}[31mc"), "{plain}");
    }
}
