//! Reads the file in which a program keeps its state. A stranger writes it, also while it is read.
//!
//! It has one of two forms. A program that knows nothing of Longshore writes JSON. Such a text counts
//! only if nobody changes it any more, which the caller finds out. The module `longshore` of the
//! launchers writes two slots, in turn. A slot is a line of [`HEADER`] bytes and then the JSON:
//!
//! ```text
//! longshore-state 1 {number:016x} {bytes:08x} {SHA-256 of "{number} {bytes}\n" and the JSON}
//! ```
//!
//! The first slot is at the beginning of the file, and the second one where the first has its largest
//! end. Of those that are whole, the one with the higher number counts. So a write that was torn costs
//! only the newest state. The first write after the worker made the file goes to the second slot, where
//! it leaves the JSON of the worker alone. A header that names more bytes than allowed has no JSON: it
//! says that the program tried to keep so much.

use sha2::{Digest as _, Sha256};

use crate::json::JsonText;

/// The file of a bot's state, in the job's directory.
pub const STATE_FILE: &str = ".longshore/state";

/// What the header of a slot begins with.
const MARK: &[u8] = b"longshore-state 1 ";

/// The length of a header, in bytes: filled up with spaces, and ended by a line feed.
const HEADER: usize = 128;

/// What a look at the file has found.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct SeenState {
    /// The newest state that is whole.
    pub value: Option<JsonText>,
    /// A sentence about a newer one that cannot be kept. Its subject is the state.
    pub problem: Option<String>,
    /// Whether its writer said that it is complete. If not, it counts only if it stays as it is.
    pub is_sealed: bool,
}

/// The most that the file may hold, in bytes, for a state of at most `max_kb` KiB.
#[must_use]
pub fn largest_file_bytes(max_kb: u64) -> u64 {
    2 * slot_bytes(max_kb)
}

fn slot_bytes(max_kb: u64) -> u64 {
    HEADER as u64 + (max_kb << 10)
}

/// Reads the file's content, for a state of at most `max_kb` KiB.
#[must_use]
pub fn read_state(content: &[u8], max_kb: u64) -> SeenState {
    let second = usize::try_from(slot_bytes(max_kb)).unwrap_or(usize::MAX);
    let slots = [content, content.get(second..).unwrap_or_default()];
    let mut whole: Vec<_> = slots.into_iter().filter_map(|slot| Slot::read(slot, max_kb)).collect();
    if whole.is_empty() {
        return read_plain(content, max_kb);
    }
    whole.sort_by_key(|slot| std::cmp::Reverse(slot.number));
    let mut seen = SeenState { is_sealed: true, ..SeenState::default() };
    for slot in whole {
        match slot.json {
            Ok(json) => {
                seen.value = Some(json);
                break;
            }
            // A newer problem counts for more.
            Err(problem) => seen.problem = seen.problem.or(Some(problem)),
        }
    }
    seen
}

/// A slot that is whole.
struct Slot {
    number: u64,
    json: Result<JsonText, String>,
}

impl Slot {
    fn read(bytes: &[u8], max_kb: u64) -> Option<Self> {
        let (header, rest) = bytes.split_at_checked(HEADER)?;
        let header = std::str::from_utf8(header.strip_prefix(MARK)?).ok()?;
        let fields: Vec<_> = header.split_ascii_whitespace().collect();
        let [number, length, hash] = fields[..] else { return None };
        let hex = |text: &str| u64::from_str_radix(text, 16).ok();
        let (at, bytes) = (hex(number)?, hex(length)?);
        let is_too_large = bytes > max_kb << 10;
        let json = if is_too_large { &[][..] } else { rest.get(..usize::try_from(bytes).ok()?)? };
        let head = format!("{number} {length}\n");
        let hasher = Sha256::new().chain_update(head).chain_update(json);
        if hex::encode(hasher.finalize()) != hash {
            return None;
        }
        let json = if is_too_large { Err(too_large(bytes, max_kb)) } else { read_json(json) };
        Some(Self { number: at, json })
    }
}

fn read_plain(content: &[u8], max_kb: u64) -> SeenState {
    let text = content.trim_ascii();
    // A NUL: the first slot was never written, and the second one is torn.
    if text.is_empty() || text.starts_with(MARK) || text.contains(&0) {
        return SeenState::default();
    }
    let bytes = text.len() as u64;
    let read = if bytes > max_kb << 10 { Err(too_large(bytes, max_kb)) } else { read_json(text) };
    let (value, problem) = match read {
        Ok(value) => (Some(value), None),
        Err(problem) => (None, Some(problem)),
    };
    SeenState { value, problem, is_sealed: false }
}

fn read_json(text: &[u8]) -> Result<JsonText, String> {
    JsonText::read(text).map_err(|problem| format!("is no JSON that can be kept: {problem}"))
}

fn too_large(bytes: u64, max_kb: u64) -> String {
    format!("has {bytes} bytes, more than the {} of state.max_kb={max_kb}", max_kb << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(number: u64, bytes: usize, json: &str) -> String {
        let head = format!("{number:016x} {bytes:08x}");
        let hash = hex::encode(Sha256::digest(format!("{head}\n{json}")));
        format!("longshore-state 1 {head} {hash}{}\n", " ".repeat(19))
    }

    fn slot(number: u64, json: &str) -> Vec<u8> {
        (header(number, json.len(), json) + json).into_bytes()
    }

    /// A file with these slots, for 1 KiB.
    fn file(first: &[u8], second: &[u8]) -> Vec<u8> {
        let mut content = first.to_vec();
        if !second.is_empty() {
            content.resize(HEADER + 1024, 0);
            content.extend_from_slice(second);
        }
        content
    }

    fn value(content: &[u8]) -> Option<String> {
        let seen = read_state(content, 1);
        assert_eq!(seen.problem, None);
        seen.value.map(|value| value.as_str().to_owned())
    }

    #[test]
    fn the_newest_slot_that_is_whole_counts() {
        assert_eq!(header(1, 2, "{}").len(), HEADER);
        let (old, new) = (slot(7, r#"{"n":1}"#), slot(8, r#"{"n":2}"#));
        for (first, second) in [(&old, &new), (&new, &old)] {
            assert_eq!(value(&file(first, second)).unwrap(), r#"{"n":2}"#);
        }
        assert!(read_state(&file(&old, &new), 1).is_sealed);
        // However a write of the newer one is torn.
        let longer = slot(9, r#"{"n":3,"more":[1,2,3]}"#);
        for cut in 0..longer.len() {
            let mut torn = longer[..cut].to_vec();
            torn.extend_from_slice(old.get(cut..).unwrap_or_default());
            assert_eq!(value(&file(&torn, &new)).unwrap(), r#"{"n":2}"#, "{cut}");
        }
        assert_eq!(value(&file(&longer, &new)).unwrap(), r#"{"n":3,"more":[1,2,3]}"#);
        // A number beyond one digit, in hexadecimal.
        assert_eq!(value(&file(&slot(16, "16"), &slot(9, "9"))).unwrap(), "16");
    }

    #[test]
    fn the_first_write_leaves_what_the_worker_wrote_until_it_is_whole() {
        let (restored, new) = (r#"{"n":1}"#, slot(1, r#"{"n":2}"#));
        assert_eq!(value(&file(restored.as_bytes(), &new)).unwrap(), r#"{"n":2}"#);
        for cut in 1..new.len() {
            let seen = read_state(&file(restored.as_bytes(), &new[..cut]), 1);
            assert_eq!(seen, SeenState::default(), "{cut}");
        }
        for nothing in [&b""[..], b"  \n", &[0; 3000], &slot(1, "{}")[..100]] {
            assert_eq!(read_state(nothing, 1), SeenState::default(), "{nothing:?}");
        }
    }

    #[test]
    fn a_plain_text_counts_as_unsealed() {
        let seen = read_state(b" {\"n\": 1.50}\n", 1);
        assert_eq!(seen.value.unwrap().as_str(), r#"{"n":1.50}"#);
        assert!(!seen.is_sealed);
        assert_eq!(value(b"[1,2]").unwrap(), "[1,2]");
        let torn = read_state(b"{\"n\": 1", 1);
        assert!(torn.value.is_none() && !torn.is_sealed);
        assert!(torn.problem.unwrap().starts_with("is no JSON that can be kept: "));
    }

    #[test]
    fn what_is_too_large_leaves_the_last_good_one() {
        let text = |length: usize| format!("{:?}", "x".repeat(length - 2));
        let told = "has 1025 bytes, more than the 1024 of state.max_kb=1";
        assert_eq!(value(text(1024).as_bytes()).unwrap(), text(1024));
        assert_eq!(read_state(text(1025).as_bytes(), 1).problem.unwrap(), told);
        assert_eq!(value(&slot(1, &text(1024))).unwrap(), text(1024));

        let refused = header(2, 1025, "").into_bytes();
        let seen = read_state(&file(&slot(1, "1"), &refused), 1);
        assert_eq!((seen.value.unwrap().as_str(), seen.problem.unwrap().as_str()), ("1", told));
        assert!(seen.is_sealed);
        // It is forgotten when a newer one is good.
        assert_eq!(value(&file(&slot(3, "3"), &refused)).unwrap(), "3");
        let broken = slot(2, "{\"a\":");
        assert!(read_state(&file(&slot(1, "1"), &broken), 1).problem.is_some());
    }
}
