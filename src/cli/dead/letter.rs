//! A dead letter, for people and for scripts. Everything in it is a stranger's. Pure.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::broker::DeadLetter;
use crate::cli::output::fact;
use crate::cli::terminal::one_line;
use crate::cli::time::second;
use crate::job::decoded;
use crate::settings::MAX_MESSAGE_BYTES;

/// What a letter is called: a part of the hash of what it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Key(String);

/// The length of a key.
const KEY_CHARACTERS: usize = 12;

/// How much of a body is shown, in characters.
const MAX_SHOWN: usize = 16_384;

/// The longest queue and job in a row, in characters.
const CELL_WIDTH: usize = 24;

/// The width of a row, and the least that its reason has of it.
const ROW_WIDTH: usize = 80;
const MIN_REASON_WIDTH: usize = 20;

impl Key {
    pub(super) fn of(letter: &DeadLetter) -> Self {
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
    pub(super) fn message_id(&self) -> String {
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

impl Serialize for Key {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

/// A letter in a list, without its body.
pub(super) struct Entry {
    key: Key,
    sent_at: Option<Timestamp>,
    queue: Option<String>,
    job: Option<String>,
    message_id: Option<String>,
    reason: Option<String>,
    bytes: usize,
}

impl Entry {
    pub(super) fn of(letter: &DeadLetter) -> Self {
        Self {
            key: Key::of(letter),
            sent_at: letter.properties.timestamp,
            queue: letter.queue.clone(),
            job: job_of(letter),
            message_id: letter.properties.message_id.clone(),
            reason: letter.reason.clone(),
            bytes: letter.body.len(),
        }
    }

    /// Key, queue and job.
    fn cells(&self) -> [String; 3] {
        let queue = self.queue.as_deref().unwrap_or("-");
        // The namespace is the same for all.
        let queue = queue.split_once('.').map_or(queue, |(_, name)| name);
        let job = self.job.as_deref().unwrap_or("-");
        [self.key.to_string(), shortened(queue, CELL_WIDTH), shortened(job, CELL_WIDTH)]
    }

    pub(super) fn object(&self) -> Value {
        json!({
            "key": self.key,
            "queue": self.queue,
            "id": self.job,
            "message_id": self.message_id,
            "reason": self.reason,
            "published_at": self.sent_at,
            "bytes": self.bytes,
        })
    }
}

/// The rows of a list. A reason gets the room that the other columns leave.
pub(super) fn rows(entries: &[Entry]) -> Vec<[String; 4]> {
    let cells: Vec<_> = entries.iter().map(Entry::cells).collect();
    let widest = |column: usize| {
        let width = |row: &[String; 3]| row[column].chars().count().max("FROM".len()) + 2;
        cells.iter().map(width).max().unwrap_or_default()
    };
    let left = ROW_WIDTH.saturating_sub((0..3).map(widest).sum()).max(MIN_REASON_WIDTH);
    let reasons = entries.iter().map(|entry| entry.reason.as_deref().unwrap_or("-"));
    let rows = cells.iter().cloned().zip(reasons);
    rows.map(|([key, queue, job], reason)| [key, queue, job, shortened(reason, left)]).collect()
}

/// A stranger's text as a cell: its beginning, after what could move a terminal's cursor is escaped.
fn shortened(text: &str, width: usize) -> String {
    let text = one_line(&text.chars().take(width + 1).collect::<String>());
    if text.chars().count() <= width {
        return text;
    }
    text.chars().take(width - 1).chain(['…']).collect()
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

/// A letter, and where a replay sends it, as text.
pub(super) fn text(letter: &DeadLetter, goes_to: &Result<String, String>) -> String {
    let properties = &letter.properties;
    let mut facts = vec![
        ("key", Some(Key::of(letter).to_string())),
        ("job", job_of(letter)),
        ("reason", letter.reason.clone()),
        ("queue", letter.queue.clone()),
        ("sent", properties.timestamp.map(second)),
        ("message", properties.message_id.clone()),
        ("type", properties.content_type.clone()),
        ("encoding", properties.content_encoding.clone()),
        ("reply to", properties.reply_to.clone()),
        ("bytes", letter.has_its_body().then(|| letter.body.len().to_string())),
    ];
    facts.push(match goes_to {
        Ok(queue) => ("replay", Some(format!("goes to {queue}"))),
        Err(why) => ("replay", Some(format!("is not possible: {why}"))),
    });
    let mut text = String::new();
    for (name, value) in facts.iter().filter_map(|(name, value)| Some((name, value.as_ref()?))) {
        text.push_str(&fact(name, value));
    }
    for (name, value) in &letter.headers {
        text.push_str(&fact("header", &format!("{name}: {value}")));
    }
    if !letter.has_its_body() {
        return text;
    }
    text.push('\n');
    let body =
        text_of(letter).unwrap_or_else(|| String::from_utf8_lossy(&letter.body).into_owned());
    for line in body.chars().take(MAX_SHOWN).collect::<String>().lines() {
        text.push_str(&one_line_as_it_is(line));
        text.push('\n');
    }
    if body.chars().count() > MAX_SHOWN {
        text.push_str("… --body prints all of it\n");
    }
    text
}

/// One line of a body: its leading spaces stay.
fn one_line_as_it_is(line: &str) -> String {
    let indent: String = line.chars().take_while(|c| *c == ' ').collect();
    format!("{indent}{}", one_line(line))
}

/// A letter, and where a replay sends it, for scripts.
pub(super) fn object(letter: &DeadLetter, goes_to: &Result<String, String>) -> Value {
    let mut object = Entry::of(letter).object();
    let headers = letter.headers.iter().map(|(name, value)| (name.clone(), json!(value)));
    object["headers"] = Value::Object(headers.collect());
    object["replays_to"] = json!(goes_to.as_ref().ok());
    object["routing_key"] = json!(letter.routing_key);
    object["body"] = json!(
        text_of(letter).unwrap_or_else(|| String::from_utf8_lossy(&letter.body).into_owned())
    );
    object
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

    #[test]
    fn a_strangers_cell_is_short_and_moves_no_cursor() {
        assert_eq!(shortened("id: \"x\" is wrong", 24), "id: \"x\" is wrong");
        let long = shortened(&"ä".repeat(100), 20);
        assert_eq!((long.chars().count(), long.ends_with('…')), (20, true));
        let hostile = shortened("\u{1b}[2J\u{202e}\nforged line that is long", 24);
        assert!(!hostile.contains(['\u{1b}', '\n', '\u{202e}']), "{hostile:?}");
        assert!(hostile.chars().count() <= 24, "{hostile:?}");
    }
}
