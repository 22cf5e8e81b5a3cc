//! What keys mean. Pure.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

/// The longest text to filter by, in characters.
const MAX_FILTER: usize = 40;

/// What is to be done after a key.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Act {
    End,
    /// The filter has changed.
    Filter,
    Draw,
}

/// What was typed so far.
pub(super) struct Keys {
    filter: String,
    is_typing: bool,
}

impl Keys {
    pub(super) fn new(filter: String) -> Self {
        Self { filter, is_typing: false }
    }

    pub(super) fn filter(&self) -> &str {
        &self.filter
    }

    /// Whether what is typed goes into the filter.
    pub(super) fn is_typing(&self) -> bool {
        self.is_typing
    }

    pub(super) fn press(&mut self, key: KeyEvent) -> Act {
        if key.modifiers.contains(KeyModifiers::CONTROL) {
            return if matches!(key.code, KeyCode::Char('c' | 'd')) { Act::End } else { Act::Draw };
        }
        match key.code {
            KeyCode::Esc => {
                self.is_typing = false;
                self.filter.clear();
                Act::Filter
            }
            KeyCode::Enter => {
                self.is_typing = false;
                Act::Draw
            }
            KeyCode::Backspace if self.is_typing => {
                self.filter.pop();
                Act::Filter
            }
            KeyCode::Char(c) if self.is_typing => {
                if self.filter.chars().count() < MAX_FILTER && !c.is_control() {
                    self.filter.push(c);
                }
                Act::Filter
            }
            KeyCode::Char('/') => {
                self.is_typing = true;
                Act::Draw
            }
            KeyCode::Char('q') => Act::End,
            _ => Act::Draw,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn q_ends_but_for_where_text_is_typed() {
        let mut keys = Keys::new(String::new());
        let mut press = |c| {
            let act = keys.press(KeyEvent::from(c));
            (act, keys.filter().to_owned())
        };
        assert_eq!(press(KeyCode::Char('x')), (Act::Draw, String::new()));
        assert_eq!(press(KeyCode::Char('/')), (Act::Draw, String::new()));
        assert_eq!(press(KeyCode::Char('q')), (Act::Filter, "q".to_owned()));
        assert_eq!(press(KeyCode::Char('1')), (Act::Filter, "q1".to_owned()));
        assert_eq!(press(KeyCode::Backspace), (Act::Filter, "q".to_owned()));
        assert_eq!(press(KeyCode::Enter), (Act::Draw, "q".to_owned()));
        assert_eq!(press(KeyCode::Char('1')), (Act::Draw, "q".to_owned()));
        assert_eq!(press(KeyCode::Esc), (Act::Filter, String::new()));
        assert_eq!(press(KeyCode::Char('q')).0, Act::End);
        let control = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
        assert_eq!(keys.press(control), Act::End);
    }
}
