//! What a program says about itself in lines of its output: how far it is, and what it measures.

use tokio::sync::watch;

use super::Stream;
use super::line::{Ending, Line};
use crate::job::ProgramProgress;
use crate::job::series::{Book, Measured, Taken};

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
    /// What it measured.
    pub(super) book: Book,
}

impl Heard {
    pub(super) fn new(book: Book) -> (Self, Said) {
        let (out, said) = watch::channel(None);
        (Self { out, latest: None, is_inside: false, book }, said)
    }

    /// Hears a line. A line that was cut says nothing: the number in it may have been cut, too. Gives
    /// what became of the point, if there is one in it.
    pub(super) fn hear(&mut self, line: &Line) -> Option<Taken> {
        if line.stream != Stream::Stdout {
            return None;
        }
        let is_cut = line.ending == Ending::Cut;
        let is_whole = !is_cut && !self.is_inside;
        self.is_inside = is_cut;
        if !is_whole {
            return None;
        }
        if let Some(progress) = ProgramProgress::said_in(&line.text) {
            let taken = self.book.progress(&progress, line.time);
            self.latest = Some(progress);
            return Some(taken);
        }
        let measured = Measured::said_in(&line.text)?;
        Some(self.book.measure(measured, line.time))
    }

    /// Passes on what was heard last.
    pub(super) fn pass_on(&mut self) {
        if let Some(progress) = self.latest.take() {
            self.out.send_replace(Some(progress));
        }
    }
}
