//! One event as one aligned line. Pure.

use anstyle::{AnsiColor, Style};

use super::terminal::one_line;
use crate::job::{Event, EventData, ResultStatus, State, Verdict};

/// The line of an event: when, what, which job, which attempt, who, why. All colours are ours.
pub(super) fn line(event: &Event) -> String {
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
    let time = event.time.strftime("%Y-%m-%dT%H:%M:%SZ");
    let job = one_line(event.subject.as_deref().unwrap_or("-"));
    let worker = one_line(worker);
    let why = one_line(&why.unwrap_or_default());
    let text = format!(
        "{time}  {style}{word:<13}{style:#}  {job:<24}  #{attempt:<2}  {worker:<16}  {why}"
    );
    text.trim_end().to_owned()
}

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

    fn plain(name: &str) -> String {
        let path = format!("{}/schemas/examples/{name}.json", env!("CARGO_MANIFEST_DIR"));
        let event = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        anstream::adapter::strip_str(&line(&event)).to_string()
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
        let path = format!("{}/schemas/examples/result.failed.json", env!("CARGO_MANIFEST_DIR"));
        let mut event: Event = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        event.subject = Some("job\n2026-03-02T09:15:22Z  succeeded\u{1b}[2J".to_owned());
        if let EventData::Result(result) = &mut event.data {
            result.worker = "w\r\u{202e}".to_owned();
            result.message = "a\nb\u{1b}[31mc\u{2028}".to_owned();
        }
        let plain = anstream::adapter::strip_str(&line(&event)).to_string();
        assert!(
            !plain.chars().any(|c| c.is_control() || "\u{202e}\u{2028}".contains(c)),
            "{plain:?}"
        );
        assert!(plain.ends_with(r"a b\u{1b}[31mc"), "{plain}");
    }
}
