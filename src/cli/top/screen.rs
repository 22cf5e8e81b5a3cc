//! The whole terminal, taken for a while and given back as it was. The only file of a command that writes to
//! standard output by itself: the cursor must move. The lines are one line each already.

use std::io::{self, Stdout, Write as _, stdout};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crossterm::cursor::{Hide, MoveTo, Show};
use crossterm::event::{self, Event, KeyEvent, KeyEventKind};
use crossterm::style::{Attribute, Print, SetAttribute};
use crossterm::terminal::{
    self, Clear, ClearType, EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode,
    enable_raw_mode,
};
use crossterm::{execute, queue};
use tokio::sync::mpsc;

use super::frame::Line;

/// How often the thread that waits for keys looks whether it is still needed.
const LOOK: Duration = Duration::from_millis(100);

/// How many keys may wait to be obeyed.
const MAX_KEYS: usize = 64;

/// The size of a terminal that does not say it.
const USUAL: (u16, u16) = (80, 24);

/// The terminal while it is ours.
pub(super) struct Screen {
    keys: mpsc::Receiver<Option<KeyEvent>>,
    is_over: Arc<AtomicBool>,
    out: Stdout,
}

impl Screen {
    pub(super) fn open() -> io::Result<Self> {
        enable_raw_mode()?;
        let is_over = Arc::new(AtomicBool::new(false));
        let (sender, keys) = mpsc::channel(MAX_KEYS);
        let screen = Self { keys, is_over: Arc::clone(&is_over), out: stdout() };
        // From here on, dropping it gives the terminal back.
        execute!(stdout(), EnterAlternateScreen, Hide)?;
        std::thread::Builder::new()
            .name("keys".to_owned())
            .spawn(move || wait_for_keys(&sender, &is_over))?;
        Ok(screen)
    }

    /// The next key, or `None` if none can come any more. A terminal of another size counts as a key without a
    /// meaning.
    pub(super) async fn key(&mut self) -> Option<KeyEvent> {
        let unnamed = KeyEvent::from(event::KeyCode::Null);
        self.keys.recv().await.map(|key| key.unwrap_or(unnamed))
    }

    /// Columns and lines.
    pub(super) fn size() -> (usize, usize) {
        let known = terminal::size().ok().filter(|(width, height)| *width > 0 && *height > 0);
        let (width, height) = known.unwrap_or(USUAL);
        (width.into(), height.into())
    }

    /// Draws over what was there, without a moment in which nothing is.
    pub(super) fn draw(&mut self, lines: &[Line]) -> io::Result<()> {
        let mut out = self.out.lock();
        for (row, line) in (0_u16..).zip(lines) {
            let style = if line.is_head { Attribute::Bold } else { Attribute::Reset };
            queue!(
                out,
                MoveTo(0, row),
                SetAttribute(style),
                Print(&line.text),
                SetAttribute(Attribute::Reset),
                Clear(ClearType::UntilNewLine)
            )?;
        }
        let below = u16::try_from(lines.len()).unwrap_or(u16::MAX);
        if usize::from(below) < Self::size().1 {
            queue!(out, MoveTo(0, below), Clear(ClearType::FromCursorDown))?;
        }
        out.flush()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        // There is no other place to report a failure.
        drop(execute!(self.out, Show, LeaveAlternateScreen));
        drop(disable_raw_mode());
    }
}

fn wait_for_keys(keys: &mpsc::Sender<Option<KeyEvent>>, is_over: &AtomicBool) {
    while !is_over.load(Ordering::Relaxed) {
        let pressed = match event::poll(LOOK) {
            Ok(false) => continue,
            Ok(true) => event::read(),
            Err(error) => Err(error),
        };
        let key = match pressed {
            Ok(Event::Key(key)) if key.kind != KeyEventKind::Release => Some(key),
            Ok(Event::Resize(..)) => None,
            Ok(_) => continue,
            // The terminal is gone: whoever waits for a key is told so.
            Err(_) => return,
        };
        if keys.blocking_send(key).is_err() {
            return;
        }
    }
}
