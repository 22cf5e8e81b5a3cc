//! The program's own log, on standard error.

use std::io::IsTerminal as _;

use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer as _, fmt, registry};

use crate::runner::docker::PULLS;
use crate::settings::{LogFormat, TelemetrySettings};

/// How much a command says of its own accord.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Voice {
    /// Its log is what one reads of it: a worker.
    Service,
    /// It prints what it has to say; only warnings are logged, unless the settings say otherwise.
    Tool,
}

/// Starts the log. A second call in one process changes nothing.
pub(super) fn start(settings: &TelemetrySettings, voice: Voice, level_is_set: bool) {
    // What goes wrong with a connection is told once, by us.
    let on_terminal = std::io::stderr().is_terminal();
    let level = match (level_is_set, voice) {
        (true, _) => settings.level.clone(),
        (false, Voice::Service) => format!("{},lapin=off", settings.level),
        (false, Voice::Tool) if on_terminal => "warn,lapin=off".to_owned(),
        // What may take minutes is told; a terminal has a bar for it.
        (false, Voice::Tool) => format!("warn,lapin=off,{PULLS}=info"),
    };
    // The settings have been checked: what does not parse here cannot have passed.
    let filter: Targets = level.parse().unwrap_or_default();
    let as_text = match settings.format {
        LogFormat::Auto => on_terminal || voice == Voice::Tool,
        LogFormat::Text => true,
        LogFormat::Json => false,
    };
    let layer = if as_text {
        let colour =
            anstream::AutoStream::choice(&std::io::stderr()) != anstream::ColorChoice::Never;
        fmt::layer().with_writer(std::io::stderr).with_ansi(colour).boxed()
    } else {
        let json = fmt::layer().json().flatten_event(true).with_current_span(true);
        json.with_span_list(false).with_writer(std::io::stderr).boxed()
    };
    let started = registry().with(layer.with_filter(filter)).try_init();
    debug_assert!(started.is_ok(), "the log is started once");
}
