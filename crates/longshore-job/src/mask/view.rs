//! A text without one layer of escapes of any kind. A secret can be written in many forms, but
//! without escapes it is one text.

use std::ops::Range;

use memchr::{memchr, memchr3};

/// How many layers of escapes are removed: for example JSON as a text in JSON, in a URL.
pub(super) const MAX_LAYERS: usize = 3;

/// A text without one layer of escapes.
#[derive(Debug)]
pub(super) struct View {
    pub(super) bytes: Vec<u8>,
    /// For each byte the place in the source that it comes from, and at the end the source's end.
    at: Vec<u32>,
    /// From this byte on it is a part of an escape that the source ends in.
    open: Option<usize>,
    /// Whether there was any escape.
    pub(super) is_changed: bool,
}

/// Whether a text may hold escapes; `plus`: whether a plus sign may stand for a space.
pub(super) fn may_be_escaped(text: &[u8], plus: bool) -> bool {
    memchr3(b'\\', b'%', b'&', text).is_some() || (plus && memchr(b'+', text).is_some())
}

/// What is at a position.
enum Step {
    /// A character of its own.
    Plain,
    /// This many bytes that mean a character, or one byte.
    Escape(usize, u32),
    Byte(usize, u8),
    /// A part of an escape, at the end of the text.
    Open,
}

impl View {
    /// The view of a text.
    pub(super) fn of(text: &[u8], plus: bool) -> Self {
        let place = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        Self::undone(text, place, plus)
    }

    /// The view of this view.
    pub(super) fn again(&self, plus: bool) -> Self {
        Self::undone(&self.bytes, |at| self.at[at], plus)
    }

    /// Where in the source a part of it comes from.
    pub(super) fn source(&self, range: Range<usize>) -> Range<usize> {
        self.place(range.start)..self.place(range.end)
    }

    /// Without the incomplete escape at its end, if there is one.
    pub(super) fn settled(mut self) -> Option<Self> {
        let open = self.open.take()?;
        self.bytes.truncate(open);
        self.at.truncate(open + 1);
        Some(self)
    }

    /// Where in the source a byte comes from.
    pub(super) fn place(&self, at: usize) -> usize {
        self.at[at] as usize
    }

    fn undone(text: &[u8], place: impl Fn(usize) -> u32, plus: bool) -> Self {
        let (mut bytes, mut at) = (Vec::with_capacity(text.len()), Vec::new());
        at.reserve_exact(text.len() + 1);
        let (mut open, mut is_changed, mut next) = (None, false, 0);
        while next < text.len() {
            let rest = &text[next..];
            let step = match rest[0] {
                b'\\' => backslash(rest),
                b'%' => percent(rest),
                b'&' => entity(rest),
                b'+' if plus => Step::Byte(1, b' '),
                _ => Step::Plain,
            };
            let from = place(next);
            let before = bytes.len();
            match step {
                Step::Escape(length, code) => {
                    let character = char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER);
                    bytes.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                    (next, is_changed) = (next + length, true);
                }
                Step::Byte(length, byte) => {
                    bytes.push(byte);
                    (next, is_changed) = (next + length, true);
                }
                Step::Plain | Step::Open => {
                    if matches!(step, Step::Open) {
                        open.get_or_insert(before);
                    }
                    bytes.push(rest[0]);
                    next += 1;
                }
            }
            at.resize(at.len() + bytes.len() - before, from);
        }
        at.push(place(text.len()));
        Self { bytes, at, open, is_changed }
    }
}

/// A number in hexadecimal.
enum Hex {
    Number(u32),
    /// The text ends before it does.
    Cut,
    Not,
}

fn hex(text: &[u8], length: usize) -> Hex {
    let digits = &text[..text.len().min(length)];
    let value = digits.iter().try_fold(0_u32, |value, digit| {
        char::from(*digit).to_digit(16).map(|digit| value.wrapping_mul(16).wrapping_add(digit))
    });
    match value {
        None => Hex::Not,
        Some(_) if digits.len() < length => Hex::Cut,
        Some(value) => Hex::Number(value),
    }
}

/// `\n`, `\"`, `\/`, `\u00e9`, `\u{e9}`, `\U000000e9`, `\xe9`: as in JSON, other languages and
/// shells.
fn backslash(text: &[u8]) -> Step {
    let Some(letter) = text.get(1) else { return Step::Open };
    match letter {
        b'u' if text.get(2) == Some(&b'{') => braced(text),
        b'u' => utf16(text),
        b'U' => numbered(&text[2..], 8, 2),
        b'x' => match hex(&text[2..], 2) {
            Hex::Number(byte) => Step::Byte(4, byte.to_le_bytes()[0]),
            Hex::Cut => Step::Open,
            Hex::Not => Step::Plain,
        },
        b'n' => Step::Byte(2, b'\n'),
        b'r' => Step::Byte(2, b'\r'),
        b't' => Step::Byte(2, b'\t'),
        b'b' => Step::Byte(2, 8),
        b'f' => Step::Byte(2, 12),
        b'v' => Step::Byte(2, 11),
        b'a' => Step::Byte(2, 7),
        b' ' => Step::Byte(2, b' '),
        sign if sign.is_ascii_punctuation() => Step::Byte(2, *sign),
        _ => Step::Plain,
    }
}

/// A character's number in this many digits, after this many bytes.
fn numbered(digits: &[u8], length: usize, behind: usize) -> Step {
    match hex(digits, length) {
        Hex::Number(code) if char::from_u32(code).is_some() => Step::Escape(behind + length, code),
        Hex::Cut => Step::Open,
        Hex::Number(_) | Hex::Not => Step::Plain,
    }
}

fn braced(text: &[u8]) -> Step {
    const MOST_DIGITS: usize = 6;
    let digits = &text[3..];
    match digits.iter().take(MOST_DIGITS + 1).position(|byte| *byte == b'}') {
        Some(length) if length > 0 => numbered(&digits[..length], length, 4),
        None if digits.len() <= MOST_DIGITS && !matches!(hex(digits, MOST_DIGITS), Hex::Not) => {
            Step::Open
        }
        _ => Step::Plain,
    }
}

/// A character in one or two units of UTF-16.
fn utf16(text: &[u8]) -> Step {
    let high = match hex(&text[2..], 4) {
        Hex::Number(unit) => unit,
        Hex::Cut => return Step::Open,
        Hex::Not => return Step::Plain,
    };
    if !(0xd800..0xdc00).contains(&high) {
        return numbered(&text[2..], 4, 2);
    }
    let rest = &text[6..];
    if !b"\\u".starts_with(&rest[..rest.len().min(2)]) {
        return Step::Plain;
    }
    match hex(rest.get(2..).unwrap_or_default(), 4) {
        Hex::Number(low) if (0xdc00..0xe000).contains(&low) => {
            Step::Escape(12, 0x1_0000 + ((high - 0xd800) << 10) + (low - 0xdc00))
        }
        Hex::Cut => Step::Open,
        Hex::Number(_) | Hex::Not => Step::Plain,
    }
}

/// `%2F`, and `%u002F` as old browsers write it.
fn percent(text: &[u8]) -> Step {
    if text.get(1) == Some(&b'u') {
        return numbered(&text[2..], 4, 2);
    }
    match hex(&text[1..], 2) {
        Hex::Number(byte) => Step::Byte(3, byte.to_le_bytes()[0]),
        Hex::Cut => Step::Open,
        Hex::Not => Step::Plain,
    }
}

/// `&amp;`, `&#38;`, `&#x26;`.
fn entity(text: &[u8]) -> Step {
    /// The longest, `&#x0010ffff;`, with its ampersand and semicolon.
    const MOST: usize = 12;
    let near = &text[1..text.len().min(MOST)];
    let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'#';
    let length = near.iter().position(|byte| !is_part(byte));
    let Some(length) = length else {
        return if text.len() < MOST { Step::Open } else { Step::Plain };
    };
    if near[length] != b';' {
        return Step::Plain;
    }
    let code = match &near[..length] {
        b"amp" => Some(u32::from(b'&')),
        b"lt" => Some(u32::from(b'<')),
        b"gt" => Some(u32::from(b'>')),
        b"quot" => Some(u32::from(b'"')),
        b"apos" => Some(u32::from(b'\'')),
        [b'#', b'x' | b'X', digits @ ..] => match hex(digits, digits.len().max(1)) {
            Hex::Number(code) => Some(code),
            Hex::Cut | Hex::Not => None,
        },
        [b'#', digits @ ..] => std::str::from_utf8(digits).ok().and_then(|d| d.parse().ok()),
        _ => None,
    };
    match code.filter(|code| char::from_u32(*code).is_some()) {
        Some(code) => Step::Escape(length + 2, code),
        None => Step::Plain,
    }
}
