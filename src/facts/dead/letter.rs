//! A dead letter, as it is shown to programs. Everything in it is a stranger's. Pure.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::broker::DeadLetter;
use crate::job::decoded;
use crate::settings::MAX_MESSAGE_BYTES;

/// What a letter is called: a part of the hash of what it says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Key(String);

/// The length of a key.
const KEY_CHARACTERS: usize = 12;

/// The longest text of a stranger in a report, in characters.
const MAX_TEXT: usize = 16_384;

impl Key {
    /// The key of a letter.
    #[must_use]
    pub fn of(letter: &DeadLetter) -> Self {
        let mut hash = Sha256::new();
        let sent = letter.properties.timestamp.map(|at| at.to_string());
        let texts = [&letter.properties.message_id, &letter.reason, &letter.queue, &sent];
        for text in texts {
            hash.update(text.as_deref().unwrap_or_default());
            hash.update([0]);
        }
        hash.update(&letter.routing_key);
        hash.update([0]);
        hash.update(&letter.body);
        let mut key = hex::encode(hash.finalize());
        key.truncate(KEY_CHARACTERS);
        Self(key)
    }

    /// The identity of the message when it is published again. The same letter always gets the same,
    /// so a second replay of it is no second run.
    #[must_use]
    pub fn message_id(&self) -> String {
        format!("replay-{}", self.0)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Key {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let is_hex = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
        if text.len() == KEY_CHARACTERS && text.chars().all(is_hex) {
            return Ok(Self(text.to_owned()));
        }
        Err(format!("it has {KEY_CHARACTERS} characters of 0-9 and a-f: see longshore dead list"))
    }
}

/// A letter in a list, without its body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct DeadEntry {
    /// What it is called.
    pub key: Key,
    /// The queue that it comes from.
    pub queue: Option<String>,
    /// The job that it names, whether it may be one or not.
    pub id: Option<String>,
    /// Its identity.
    pub message_id: Option<String>,
    /// Why it is here.
    pub reason: Option<String>,
    /// When it was published.
    pub published_at: Option<Timestamp>,
    /// The size of its body.
    pub bytes: usize,
}

impl DeadEntry {
    /// What a letter says.
    #[must_use]
    pub fn of(letter: &DeadLetter) -> Self {
        Self {
            key: Key::of(letter),
            queue: letter.queue.clone(),
            id: job_of(letter),
            message_id: letter.properties.message_id.clone(),
            reason: letter.reason.clone(),
            published_at: letter.properties.timestamp,
            bytes: letter.body.len(),
        }
    }
}

/// A letter with its headers and its body, secrets included.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct DeadReport {
    /// What the list says of it.
    #[serde(flatten)]
    pub entry: DeadEntry,
    /// All its headers.
    pub headers: BTreeMap<String, String>,
    /// The queue that a replay goes to.
    pub replays_to: Option<String>,
    /// The routing key, as its publisher wrote it.
    pub routing_key: String,
    /// The body as text.
    pub body: String,
}

impl DeadReport {
    /// What a letter says, and where a replay sends it.
    #[must_use]
    pub fn of(letter: &DeadLetter, goes_to: &Result<String, String>) -> Self {
        Self {
            entry: DeadEntry::of(letter),
            headers: letter.headers.iter().cloned().collect(),
            replays_to: goes_to.as_ref().ok().cloned(),
            routing_key: letter.routing_key.clone(),
            body: body_text(letter),
        }
    }

    /// The same with the beginning of a long body alone.
    #[must_use]
    pub fn cut(mut self) -> Self {
        if let Some((at, _)) = self.body.char_indices().nth(MAX_TEXT) {
            self.body.truncate(at);
            self.body.push('…');
        }
        self
    }
}

/// The body as text, unpacked if it is compressed.
#[must_use]
pub fn body_text(letter: &DeadLetter) -> String {
    text_of(letter).unwrap_or_else(|| String::from_utf8_lossy(&letter.body).into_owned())
}

/// The body as text, unpacked if it is compressed.
fn text_of(letter: &DeadLetter) -> Option<String> {
    let encoding = letter.properties.content_encoding.as_deref();
    let text = decoded(&letter.body, encoding, MAX_MESSAGE_BYTES).ok()?;
    String::from_utf8(text.into_owned()).ok()
}

/// The job that a message names, whether it may be one or not.
fn job_of(letter: &DeadLetter) -> Option<String> {
    #[derive(Deserialize)]
    struct Named {
        id: Option<String>,
    }
    serde_json::from_str::<Named>(&text_of(letter)?).ok()?.id
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_as_the_list_shows_it() {
        let key: Key = "3f9a61c0b27d".parse().unwrap();
        assert_eq!(key.message_id(), "replay-3f9a61c0b27d");
        for wrong in ["", "3f9a61c0b27", "3f9a61c0b27D", "../../etc/pa"] {
            assert!(wrong.parse::<Key>().is_err(), "{wrong}");
        }
    }
}
