//! A JSON text token by token: in bounded memory, without recursion, as strict as RFC 8259.

use std::borrow::Cow;
use std::ops::Range;

use json_event_parser::{JsonEvent, JsonSyntaxError, LowLevelJsonParser};

/// Why a text cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JsonProblem {
    /// It is not JSON: what is wrong, and where.
    #[error("is not valid JSON: {0}")]
    Syntax(String),
    /// Its lists and objects are nested too deeply.
    #[error("is nested more than {0} levels deep")]
    TooDeep(usize),
    /// It has a number that readers could not read.
    #[error("{0}")]
    Number(&'static str),
}

impl From<JsonSyntaxError> for JsonProblem {
    fn from(error: JsonSyntaxError) -> Self {
        let start = error.location().start;
        // It may quote a character of the text.
        let said = error.message().replace(char::is_control, "?");
        Self::Syntax(format!("{said} at line {} column {}", start.line + 1, start.column + 1))
    }
}

/// What opens and closes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `[` and `]`.
    List,
    /// `{` and `}`.
    Object,
}

/// One token, without escapes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Token<'a> {
    /// A list or an object begins.
    Open(Kind),
    /// It ends.
    Close(Kind),
    /// The name of the field that follows.
    Key(Cow<'a, str>),
    /// A string.
    Text(Cow<'a, str>),
    /// A number, digit for digit.
    Number(Cow<'a, str>),
    /// `true`, `false` or `null`.
    Word(&'static str),
}

/// Reads a text token by token.
pub struct Tokens<'a> {
    parser: LowLevelJsonParser,
    text: &'a [u8],
    /// The position of the last token, with what separates it from the one before.
    place: Range<usize>,
    depth: usize,
    max_depth: usize,
}

impl<'a> Tokens<'a> {
    /// The tokens of `text`, which may be `max_depth` levels deep.
    #[must_use]
    pub fn new(text: &'a [u8], max_depth: usize) -> Self {
        Self { parser: LowLevelJsonParser::new(), text, place: 0..0, depth: 0, max_depth }
    }

    /// The next token; `None` at the end of a complete text. Do not read on after a problem.
    pub fn read(&mut self) -> Result<Option<Token<'a>>, JsonProblem> {
        Ok(Some(match self.event()? {
            JsonEvent::String(text) => Token::Text(text),
            JsonEvent::Number(number) => Token::Number(number),
            JsonEvent::Boolean(true) => Token::Word("true"),
            JsonEvent::Boolean(false) => Token::Word("false"),
            JsonEvent::Null => Token::Word("null"),
            JsonEvent::ObjectKey(name) => Token::Key(name),
            JsonEvent::StartArray => self.open(Kind::List)?,
            JsonEvent::StartObject => self.open(Kind::Object)?,
            JsonEvent::EndArray => self.close(Kind::List),
            JsonEvent::EndObject => self.close(Kind::Object),
            JsonEvent::Eof => return Ok(None),
        }))
    }

    /// How many lists and objects are open.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.depth
    }

    /// The position of the last token in the text, with what separates it from the one before.
    #[must_use]
    pub fn place(&self) -> Range<usize> {
        self.place.clone()
    }

    fn event(&mut self) -> Result<JsonEvent<'a>, JsonProblem> {
        self.place.start = self.place.end;
        loop {
            let next = self.parser.parse_next(&self.text[self.place.end..], true);
            self.place.end += next.consumed_bytes;
            if let Some(event) = next.event {
                return Ok(event?);
            }
        }
    }

    fn open(&mut self, kind: Kind) -> Result<Token<'a>, JsonProblem> {
        if self.depth >= self.max_depth {
            return Err(JsonProblem::TooDeep(self.max_depth));
        }
        self.depth += 1;
        Ok(Token::Open(kind))
    }

    fn close(&mut self, kind: Kind) -> Token<'a> {
        self.depth = self.depth.saturating_sub(1);
        Token::Close(kind)
    }
}
