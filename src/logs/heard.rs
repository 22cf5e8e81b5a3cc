//! What a program says about itself in lines of its output: how far it is.

use tokio::sync::watch;

use super::Stream;
use super::line::{Ending, Line};
use crate::job::ProgramProgress;

/// What a program has said last.
pub type Said = watch::Receiver<Option<ProgramProgress>>;

/// Hears what the program of one container says.
#[derive(Debug)]
pub(super) struct Heard {
    out: watch::Sender<Option<ProgramProgress>>,
    /// What was heard, and not passed on yet.
    latest: Option<ProgramProgress>,
    /// Whether the next text of stdout continues a line of which a part came before.
    is_inside: bool,
}

impl Heard {
    pub(super) fn new() -> (Self, Said) {
        let (out, said) = watch::channel(None);
        (Self { out, latest: None, is_inside: false }, said)
    }

    /// Hears a line. A line that was cut says nothing: the number in it may have been cut, too.
    pub(super) fn hear(&mut self, line: &Line) {
        if line.stream != Stream::Stdout {
            return;
        }
        let is_cut = line.ending == Ending::Cut;
        let is_whole = !is_cut && !self.is_inside;
        self.is_inside = is_cut;
        if is_whole && let Some(progress) = ProgramProgress::said_in(&line.text) {
            self.latest = Some(progress);
        }
    }

    /// Passes on what was heard last.
    pub(super) fn pass_on(&mut self) {
        if let Some(progress) = self.latest.take() {
            self.out.send_replace(Some(progress));
        }
    }
}
