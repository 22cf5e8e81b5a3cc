//! What a stranger's text may do to a terminal: have colours, and nothing else. Pure.
//!
//! Commands print text from programs, messages, servers and other workers. On a terminal, such text
//! could set the clipboard, move the cursor over other lines, or show words in another order. Here,
//! every character that does more than show itself becomes an escape such as `\u{1b}`.

mod colour;

#[cfg(test)]
mod tests;

use std::fmt::Write as _;

use unicode_width::UnicodeWidthChar as _;

/// Ends all colours.
const RESET: &str = "\u{1b}[0m";

/// Marks without a width, such as accents, that may follow one character. No language needs more;
/// longer runs draw over the lines above and below.
const MAX_MARKS: usize = 8;

/// Text that is safe for a terminal: tabs, line ends and colours stay, and every line ends with its
/// colours reset.
pub(super) fn harmless(text: &str) -> String {
    let mut clean = Clean::with_room_for(text);
    let (mut rest, mut is_coloured) = (text, false);
    while let Some(c) = rest.chars().next() {
        if let Some(colour) = colour::at_start(rest) {
            clean.text.push_str(colour.text);
            is_coloured = !colour.is_reset;
            rest = &rest[colour.text.len()..];
            continue;
        }
        rest = &rest[c.len_utf8()..];
        match c {
            '\n' => {
                if std::mem::take(&mut is_coloured) {
                    clean.text.push_str(RESET);
                }
                clean.as_it_is('\n');
            }
            '\t' => clean.as_it_is('\t'),
            // It moves the cursor to where the line end takes it anyway.
            '\r' if rest.is_empty() || rest.starts_with('\n') => {}
            c => clean.push(c),
        }
    }
    if is_coloured {
        clean.text.push_str(RESET);
    }
    clean.text
}

/// Text as a part of one of our lines, on a terminal or not. It has no line ends and no colours.
pub(super) fn one_line(text: &str) -> String {
    let mut clean = Clean::with_room_for(text);
    for c in text.trim().chars() {
        if matches!(c, '\n' | '\r' | '\t') { clean.as_it_is(' ') } else { clean.push(c) }
    }
    clean.text
}

/// The same JSON document, with more characters escaped in JSON's way.
pub(super) fn json(document: &str) -> String {
    let mut clean = Clean { escape: escape_in_json, ..Clean::with_room_for(document) };
    for c in document.chars() {
        if c == '\n' { clean.as_it_is(c) } else { clean.push(c) }
    }
    clean.text
}

/// Text without control characters, and the facts about its end that are needed to go on.
struct Clean {
    text: String,
    escape: fn(&mut String, char),
    /// Whether joiners and variants may follow the last character.
    takes_joiners: bool,
    /// How many marks have come since the last character with a width.
    marks: usize,
}

impl Clean {
    fn with_room_for(text: &str) -> Self {
        let text = String::with_capacity(text.len());
        Self { text, escape: escape_in_text, takes_joiners: false, marks: 0 }
    }

    fn as_it_is(&mut self, c: char) {
        self.text.push(c);
        (self.takes_joiners, self.marks) = (false, 0);
    }

    fn push(&mut self, c: char) {
        // By far the most common case.
        if c == ' ' || c.is_ascii_graphic() {
            return self.as_it_is(c);
        }
        let is_mark = c.width() == Some(0);
        let is_allowed = !c.is_control()
            && !is_invisible(c)
            && (!is_joiner(c) || self.takes_joiners)
            && (!is_mark || self.marks < MAX_MARKS);
        if !is_allowed {
            (self.escape)(&mut self.text, c);
            (self.takes_joiners, self.marks) = (false, 0);
            return;
        }
        self.text.push(c);
        if is_mark {
            self.marks += 1;
        } else {
            (self.takes_joiners, self.marks) = (true, 0);
        }
    }
}

/// Characters that show nothing themselves and change how others are shown: directions, lines and
/// paragraphs, widths of nothing, tags, and letters that are blank.
fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}'
        | '\u{180b}'..='\u{180f}' | '\u{200b}' | '\u{200e}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}'
        | '\u{13430}'..='\u{1345f}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
        | '\u{e0000}'..='\u{e0fff}')
}

/// Characters that join or vary the character before them. Emoji and some scripts need them. After
/// an ASCII letter they would only make two equal words differ.
fn is_joiner(c: char) -> bool {
    matches!(c, '\u{200c}' | '\u{200d}' | '\u{fe00}'..='\u{fe0f}')
}

fn escape_in_text(text: &mut String, c: char) {
    text.extend(c.escape_default());
}

fn escape_in_json(text: &mut String, c: char) {
    for unit in c.encode_utf16(&mut [0; 2]) {
        let written = write!(text, "\\u{unit:04x}");
        debug_assert!(written.is_ok(), "writing to a String cannot fail");
    }
}
