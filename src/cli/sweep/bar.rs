//! How far a sweep is, on standard error: a bar on a terminal, else a line now and then.

use std::io::{self, IsTerminal as _};
use std::sync::Arc;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use parking_lot::Mutex;

use crate::cli::output::warn;
use crate::job::sweep::SweepProgress;

/// Pause between two lines where there is no terminal.
const PAUSE: Duration = Duration::from_secs(10);

const TEMPLATE: &str = "[{bar:30}] {pos}/{len} {msg}";

/// Shows how far a sweep is.
#[derive(Clone)]
pub(super) struct Bar {
    bar: Option<ProgressBar>,
    said_at: Arc<Mutex<Instant>>,
}

impl Bar {
    pub(super) fn new() -> Self {
        let bar = io::stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template(TEMPLATE);
            let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
            ProgressBar::new(0).with_style(style.progress_chars("=> "))
        });
        Self { bar, said_at: Arc::new(Mutex::new(Instant::now())) }
    }

    pub(super) fn show(&self, progress: &SweepProgress) {
        if let Some(bar) = &self.bar {
            bar.set_length(progress.total);
            bar.set_position(progress.done);
            bar.set_message(rest(progress));
            return;
        }
        let mut said_at = self.said_at.lock();
        if said_at.elapsed() >= PAUSE {
            *said_at = Instant::now();
            warn(&progress.to_string());
        }
    }

    /// Prints something else above the bar.
    pub(super) fn aside(&self, print: impl FnOnce()) {
        match &self.bar {
            Some(bar) => bar.suspend(print),
            None => print(),
        }
    }

    pub(super) fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// What stands beside the bar.
fn rest(progress: &SweepProgress) -> String {
    let mut parts = Vec::new();
    if progress.failed > 0 {
        parts.push(format!("{} failed", progress.failed));
    }
    parts.extend(progress.seconds_left.map(|seconds| format!("{seconds} s left")));
    parts.extend(progress.best.as_ref().map(|best| format!("best {}", best.value)));
    parts.join(", ")
}
