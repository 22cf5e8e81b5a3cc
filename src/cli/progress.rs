//! Shows how far something is, on standard error: on a terminal in one line that changes, elsewhere in
//! a line now and then.

use std::io::{self, IsTerminal as _};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use parking_lot::Mutex;

use super::output::warn;

/// How often a line is written where it cannot change.
const PAUSE: Duration = Duration::from_secs(5);

/// How often the line on a terminal turns.
const TICK: Duration = Duration::from_millis(200);

/// Shows how far something is.
pub(super) struct Reporter {
    bar: Option<ProgressBar>,
    last: Mutex<Option<(Instant, String)>>,
}

impl Reporter {
    pub(super) fn new() -> Self {
        let bar = io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new_spinner();
            if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}") {
                bar.set_style(style);
            }
            bar.enable_steady_tick(TICK);
            bar
        });
        Self { bar, last: Mutex::default() }
    }

    /// Shows a text in the place of the last one.
    pub(super) fn show(&self, text: &str) {
        if let Some(bar) = &self.bar {
            bar.set_message(text.to_owned());
            return;
        }
        let mut last = self.last.lock();
        let is_due = last.as_ref().is_none_or(|(at, said)| at.elapsed() >= PAUSE && said != text);
        if is_due {
            *last = Some((Instant::now(), text.to_owned()));
            warn(text);
        }
    }

    /// Takes the line away.
    pub(super) fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
