//! The program's own log, on standard error.

use std::io::{IsTerminal as _, Write};

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer as _, fmt, registry};

use super::terminal;
use crate::runner::PULLS;
use crate::settings::{LogFormat, TelemetrySettings};

/// How much a command logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Voice {
    /// The log is its main output: a worker.
    Service,
    /// It prints its output, and logs only warnings, unless the settings say otherwise.
    Tool,
    /// It draws the whole terminal, so it logs nothing there.
    Screen,
}

/// Starts the log. A second call in one process changes nothing.
pub(super) fn start(settings: &TelemetrySettings, voice: Voice, level_is_set: bool) {
    let on_terminal = std::io::stderr().is_terminal();
    let level = match (level_is_set, voice) {
        (_, Voice::Screen) if on_terminal => "off".to_owned(),
        (true, _) | (false, Voice::Service) => settings.level.clone(),
        (false, Voice::Tool | Voice::Screen) if on_terminal => "warn".to_owned(),
        // Pulls may take minutes, so they are logged. A terminal has a bar for them.
        (false, Voice::Tool | Voice::Screen) => format!("warn,{PULLS}=info"),
    };
    let filter = filter(&level);
    let as_text = match settings.format {
        LogFormat::Auto => on_terminal || voice != Voice::Service,
        LogFormat::Text => true,
        LogFormat::Json => false,
    };
    let layer = if as_text {
        let colour =
            anstream::AutoStream::choice(&std::io::stderr()) != anstream::ColorChoice::Never;
        fmt::layer().with_writer(|| OneLine(std::io::stderr())).with_ansi(colour).boxed()
    } else {
        let json = fmt::layer().json().flatten_event(true).with_current_span(true);
        json.with_span_list(false).with_writer(std::io::stderr).boxed()
    };
    let started = registry().with(layer.with_filter(filter)).try_init();
    debug_assert!(started.is_ok(), "the log is started once");
}

/// Writes each event as one line without control characters, because parts of an event come from
/// messages and servers.
struct OneLine<W>(W);

impl<W: Write> Write for OneLine<W> {
    /// Takes one whole event from the log.
    fn write(&mut self, event: &[u8]) -> std::io::Result<usize> {
        let text = String::from_utf8_lossy(event);
        let line = text.strip_suffix('\n').unwrap_or(&text).replace('\n', "\\n");
        writeln!(self.0, "{}", terminal::harmless(&line))?;
        Ok(event.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.0.flush()
    }
}

/// How much libraries log, whatever the level says. At debug and trace they log whole requests,
/// with passwords and the secrets of jobs.
const OF_LIBRARIES: LevelFilter = LevelFilter::INFO;

/// We log once what goes wrong with a connection. The client library logs only if the level names
/// it.
fn filter(level: &str) -> Targets {
    // The settings have been checked, so this parses.
    let asked: Targets = level.parse().unwrap_or_default();
    let ours = asked.default_level().unwrap_or(LevelFilter::OFF);
    let mut filter = Targets::new().with_default(ours.min(OF_LIBRARIES)).with_target(OURS, ours);
    for (target, level) in &asked {
        let is_ours = target.split("::").next() == Some(OURS);
        filter = filter.with_target(target, if is_ours { level } else { level.min(OF_LIBRARIES) });
    }
    let filter = filter.with_target(TELLS_MESSAGES, LevelFilter::OFF);
    if level.contains("lapin") { filter } else { filter.with_target("lapin", LevelFilter::OFF) }
}

/// The target under which the client library logs messages that the broker returned: as a warning,
/// with their whole bodies, and so with the secrets of jobs.
const TELLS_MESSAGES: &str = "lapin::returned_messages";

/// The prefix of this program's targets.
const OURS: &str = "longshore";

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use tracing::Level;

    use super::{OneLine, filter};

    #[test]
    fn an_event_of_the_log_is_one_line_whatever_it_quotes() {
        let mut log = OneLine(Vec::new());
        log.write_all(
            "\u{1b}[31mERROR\u{1b}[0m bad \u{1b}]0;x\u{7}\nINFO forged\u{202e}\n".as_bytes(),
        )
        .unwrap();
        let line = "\u{1b}[31mERROR\u{1b}[0m bad \\u{1b}]0;x\\u{7}\\nINFO forged\\u{202e}\n";
        assert_eq!(String::from_utf8(log.0).unwrap(), line);
    }

    #[test]
    fn the_client_library_is_heard_only_where_the_level_names_it() {
        for silent in ["info", "debug,longshore=trace"] {
            assert!(!filter(silent).would_enable("lapin::channels", &Level::ERROR), "{silent}");
            assert!(filter(silent).would_enable("longshore::worker", &Level::INFO), "{silent}");
        }
        assert!(filter("info,lapin=warn").would_enable("lapin::channels", &Level::ERROR));
    }

    #[test]
    fn a_message_that_the_broker_returned_is_never_logged_whole() {
        for level in ["info", "lapin=warn", "trace,lapin=trace", "lapin::returned_messages=trace"] {
            let returned = "lapin::returned_messages";
            assert!(!filter(level).would_enable(returned, &Level::ERROR), "{level}");
        }
    }

    #[test]
    fn libraries_are_never_heard_below_info_for_they_tell_secrets_there() {
        for level in ["trace", "trace,lapin=trace,bollard=debug", "bollard::docker=trace"] {
            for library in ["lapin::io_loop", "bollard::docker", "hyper::proto"] {
                assert!(!filter(level).would_enable(library, &Level::DEBUG), "{level} {library}");
            }
        }
        assert!(filter("trace").would_enable("longshore::worker", &Level::TRACE));
        assert!(filter("trace").would_enable("bollard::docker", &Level::INFO));
        assert!(
            filter("longshore::logs=debug").would_enable("longshore::logs::line", &Level::DEBUG)
        );
        assert!(!filter("longshore::logs=debug").would_enable("longshore::worker", &Level::ERROR));
        assert!(filter("warn,longshore=debug").would_enable("longshore", &Level::DEBUG));
        assert!(!filter("off").would_enable("longshore", &Level::ERROR));
    }
}
