//! A dead letter, for people. Everything in it is a stranger's. Pure.

use crate::broker::DeadLetter;
use crate::cli::output::fact;
use crate::cli::terminal::one_line;
use crate::cli::time::second;
use crate::facts::{DeadEntry, Key, body_text};

/// How much of a body is shown, in characters.
const MAX_SHOWN: usize = 16_384;

/// The longest queue and job in a row, in characters.
const CELL_WIDTH: usize = 24;

/// The width of a row, and the least that its reason has of it.
const ROW_WIDTH: usize = 80;
const MIN_REASON_WIDTH: usize = 20;

/// Key, queue and job.
fn cells(entry: &DeadEntry) -> [String; 3] {
    let queue = entry.queue.as_deref().unwrap_or("-");
    // The namespace is the same for all.
    let queue = queue.split_once('.').map_or(queue, |(_, name)| name);
    let job = entry.id.as_deref().unwrap_or("-");
    [entry.key.to_string(), shortened(queue, CELL_WIDTH), shortened(job, CELL_WIDTH)]
}

/// The rows of a list. A reason gets the room that the other columns leave.
pub(super) fn rows(entries: &[DeadEntry]) -> Vec<[String; 4]> {
    let cells: Vec<_> = entries.iter().map(cells).collect();
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

/// A letter, and where a replay sends it, as text.
pub(super) fn text(letter: &DeadLetter, goes_to: &Result<String, String>) -> String {
    let properties = &letter.properties;
    let mut facts = vec![
        ("key", Some(Key::of(letter).to_string())),
        ("job", DeadEntry::of(letter).id),
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
    let body = body_text(letter);
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

#[cfg(test)]
mod tests {
    use super::*;

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
