//! A JSON value as text.

use std::fmt;
use std::str::FromStr;

use serde::de::{Error, Unexpected};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

use super::find::{Found, find_texts};
use super::tokens::{JsonProblem, Token, Tokens};
use super::writer::Writer;
use super::{MAX_EMBEDDED_DEPTH, number_problem};

/// A JSON value that goes through messages, records and events as it was written: digit for digit,
/// with its keys in their order. Only spaces between tokens and needless escapes are removed. Debug
/// output shows only its size, because it may contain secrets.
#[derive(Clone)]
pub struct JsonText(Box<RawValue>);

impl JsonText {
    /// Reads a value that others can read within a message or an event.
    ///
    /// # Errors
    ///
    /// It is not JSON, too deep, or has a number that not every reader takes.
    pub fn read(text: &[u8]) -> Result<Self, JsonProblem> {
        let mut tokens = Tokens::new(text, MAX_EMBEDDED_DEPTH);
        let mut writer = Writer::default();
        while let Some(token) = tokens.read()? {
            if let Token::Number(number) = &token
                && let Some(problem) = number_problem(number)
            {
                return Err(JsonProblem::Number(problem));
            }
            writer.write(&token);
        }
        let syntax = |error: &dyn fmt::Display| JsonProblem::Syntax(error.to_string());
        let text = String::from_utf8(writer.into_bytes()).map_err(|error| syntax(&error))?;
        RawValue::from_string(text).map(Self).map_err(|error| syntax(&error))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.get()
    }

    /// The value at each of `pointers`.
    #[must_use]
    pub fn find(&self, pointers: &[impl AsRef<str>]) -> Vec<Found> {
        find_texts(self.as_str().as_bytes(), pointers, MAX_EMBEDDED_DEPTH)
            .unwrap_or_else(|_| vec![Found::Nothing; pointers.len()])
    }

    /// The names of its fields, if it is an object.
    #[must_use]
    pub fn keys(&self) -> Vec<String> {
        let mut tokens = Tokens::new(self.as_str().as_bytes(), MAX_EMBEDDED_DEPTH);
        let mut names = Vec::new();
        while let Ok(Some(token)) = tokens.read() {
            match token {
                Token::Key(name) if tokens.depth() == 1 => names.push(name.into_owned()),
                _ => {}
            }
        }
        names
    }
}

impl PartialEq for JsonText {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for JsonText {}

impl fmt::Debug for JsonText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JsonText({} bytes)", self.as_str().len())
    }
}

impl FromStr for JsonText {
    type Err = JsonProblem;

    fn from_str(text: &str) -> Result<Self, JsonProblem> {
        Self::read(text.as_bytes())
    }
}

impl Serialize for JsonText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for JsonText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        Self::read(raw.get().as_bytes()).map_err(D::Error::custom)
    }
}

/// Reads a value that must be an object.
///
/// # Errors
///
/// It is no object, or [`JsonText::read`] refuses it.
pub fn object<'de, D: Deserializer<'de>>(deserializer: D) -> Result<JsonText, D::Error> {
    let raw = Box::<RawValue>::deserialize(deserializer)?;
    let found = match raw.get().bytes().next() {
        Some(b'{') => return JsonText::read(raw.get().as_bytes()).map_err(D::Error::custom),
        Some(b'[') => Unexpected::Seq,
        Some(b'"') => Unexpected::Other("string"),
        Some(b'n') => Unexpected::Unit,
        Some(b't') => Unexpected::Bool(true),
        Some(b'f') => Unexpected::Bool(false),
        _ => Unexpected::Other("number"),
    };
    Err(D::Error::invalid_type(found, &"a map"))
}

#[cfg(test)]
mod tests;
