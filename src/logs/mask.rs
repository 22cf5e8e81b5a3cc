//! Secrets are masked before a line, a sentence or a result goes anywhere. Pure.

use std::fmt;
use std::fmt::Write as _;
use std::sync::Arc;

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};
use serde_json::{Map, Value};

use crate::job::MIN_SECRET_BYTES;

/// What stands in a log where a secret was written.
pub const MASKED: &str = "[masked]";

/// Of a secret of several lines, such as a key in PEM, each line of this length is masked by
/// itself, in bytes.
const MIN_SECRET_LINE_BYTES: usize = 8;

/// What must not be seen anywhere.
#[derive(Clone, Default)]
pub struct Mask(Option<Arc<Patterns>>);

struct Patterns {
    finder: AhoCorasick,
    prefixes: Vec<Prefixes>,
    /// Whether a number may be a secret.
    has_numbers: bool,
}

impl fmt::Debug for Mask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.0.as_ref().map_or(0, |patterns| patterns.prefixes.len());
        write!(f, "Mask({count} texts)")
    }
}

impl Mask {
    /// A mask over `secrets` in every form in which they are commonly written: as they are, and as
    /// JSON writes them, also within JSON.
    #[must_use]
    pub fn new<'a>(secrets: impl IntoIterator<Item = &'a str>) -> Self {
        let mut texts: Vec<Vec<u8>> = secrets.into_iter().flat_map(forms).collect();
        texts.sort();
        texts.dedup();
        if texts.is_empty() {
            return Self(None);
        }
        let finder = AhoCorasick::builder()
            .match_kind(MatchKind::LeftmostLongest)
            // By itself it would take a kilobyte and more for each byte of a secret.
            .kind(Some(AhoCorasickKind::ContiguousNFA))
            .build(&texts);
        let is_number = |text: &Vec<u8>| text.iter().all(|b| b"0123456789.eE+-".contains(b));
        let has_numbers = texts.iter().any(is_number);
        let prefixes = texts.into_iter().map(Prefixes::of).collect();
        // It fails only for more text than a message can carry.
        Self(finder.ok().map(|finder| Arc::new(Patterns { finder, prefixes, has_numbers })))
    }

    /// Whether a secret stands in `text`.
    #[must_use]
    pub fn is_in(&self, text: &[u8]) -> bool {
        self.0.as_ref().is_some_and(|patterns| patterns.finder.is_match(text))
    }

    /// A sentence with every secret masked.
    #[must_use]
    pub fn text(&self, text: String) -> String {
        // What stands in for a secret is text, and a secret begins and ends with whole characters.
        String::from_utf8(self.apply(text.into_bytes())).unwrap_or_else(|_| MASKED.to_owned())
    }

    /// Masks every secret in the keys and values of `value`; gives whether there was any.
    pub fn json(&self, value: &mut Value) -> bool {
        match value {
            Value::String(text) if self.is_in(text.as_bytes()) => {
                *text = self.text(std::mem::take(text));
                true
            }
            Value::Number(number) if self.may_be(number) => {
                *value = MASKED.into();
                true
            }
            Value::Array(values) => {
                values.iter_mut().fold(false, |found, one| self.json(one) | found)
            }
            Value::Object(fields) => {
                let in_values =
                    fields.values_mut().fold(false, |found, one| self.json(one) | found);
                let in_keys = fields.keys().any(|key| self.is_in(key.as_bytes()));
                if in_keys {
                    let old = std::mem::replace(fields, Map::new());
                    fields.extend(old.into_iter().map(|(key, one)| (self.text(key), one)));
                }
                in_values | in_keys
            }
            _ => false,
        }
    }

    fn may_be(&self, number: &serde_json::Number) -> bool {
        self.0.as_ref().is_some_and(|patterns| patterns.has_numbers)
            && self.is_in(number.to_string().as_bytes())
    }

    /// A line's text with every secret masked.
    #[must_use]
    pub fn apply(&self, text: Vec<u8>) -> Vec<u8> {
        let Some(patterns) = &self.0 else { return text };
        if !patterns.finder.is_match(&text) {
            return text;
        }
        let mut masked = Vec::with_capacity(text.len());
        patterns.finder.replace_all_with_bytes(&text, &mut masked, |_, _, out| {
            out.extend_from_slice(MASKED.as_bytes());
            true
        });
        masked
    }

    /// How much of a text that goes on may be shown now: what comes behind may be the beginning of
    /// a secret.
    #[must_use]
    pub fn safe_end(&self, text: &[u8]) -> usize {
        let Some(patterns) = &self.0 else { return text.len() };
        let open = patterns.prefixes.iter().map(|one| one.at_end_of(text)).max().unwrap_or(0);
        let end = text.len() - open;
        // Never within a secret that is there as a whole.
        let mut within = patterns.finder.find_iter(text).filter(|found| found.end() > end);
        within.next().map_or(end, |found| if found.start() < end { found.end() } else { end })
    }
}

/// A text, and for each of its beginnings the longest shorter one with which that ends.
struct Prefixes {
    text: Vec<u8>,
    shorter: Vec<usize>,
}

impl Prefixes {
    fn of(text: Vec<u8>) -> Self {
        let mut found = Self { shorter: Vec::with_capacity(text.len()), text };
        let mut matched = 0;
        for (at, byte) in found.text.iter().enumerate() {
            if at > 0 {
                matched = found.step(matched, *byte);
            }
            found.shorter.push(matched);
        }
        found
    }

    /// How much of the text stands at the end of what had `matched` of it, once `byte` follows.
    fn step(&self, mut matched: usize, byte: u8) -> usize {
        while matched > 0 && self.text.get(matched) != Some(&byte) {
            matched = self.shorter[matched - 1];
        }
        if self.text.get(matched) == Some(&byte) { matched + 1 } else { 0 }
    }

    /// How many of our bytes, but never all, `text` ends with.
    fn at_end_of(&self, text: &[u8]) -> usize {
        let most = self.text.len().saturating_sub(1);
        let end = &text[text.len().saturating_sub(most)..];
        end.iter().fold(0, |matched, byte| self.step(matched, *byte))
    }
}

/// The forms in which a secret may be written.
fn forms(secret: &str) -> Vec<Vec<u8>> {
    let mut plain = vec![secret.to_owned()];
    if secret.contains('\n') {
        let lines =
            secret.lines().map(str::trim).filter(|line| line.len() >= MIN_SECRET_LINE_BYTES);
        plain.extend(lines.map(str::to_owned));
    }
    let mut all = plain.clone();
    for text in plain {
        for escaped in [escape(&text, false), escape(&text, true)] {
            all.push(escape(&escaped, false));
            all.push(escaped);
        }
    }
    all.retain(|text| text.len() >= MIN_SECRET_BYTES);
    all.into_iter().map(String::into_bytes).collect()
}

/// As JSON writes it between its quotes; `ascii` as Python's `json.dumps` does by default.
fn escape(text: &str, ascii: bool) -> String {
    let quoted = serde_json::Value::from(text).to_string();
    let inner = &quoted[1..quoted.len() - 1];
    if !ascii {
        return inner.to_owned();
    }
    let mut out = String::with_capacity(inner.len());
    for character in inner.chars() {
        if character.is_ascii() && character != '\u{7f}' {
            out.push(character);
        } else {
            for unit in character.encode_utf16(&mut [0; 2]) {
                // Writing into a String cannot fail.
                let _infallible = write!(out, "\\u{unit:04x}");
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn masked(secret: &str, text: &str) -> String {
        String::from_utf8(Mask::new([secret]).apply(text.as_bytes().to_vec())).unwrap()
    }

    #[test]
    fn a_secret_is_masked_wherever_it_stands_and_nothing_else_is() {
        assert_eq!(masked("hunter22", "a hunter22b hunter2"), "a [masked]b hunter2");
        assert_eq!(masked("hunter22", "hunter22hunter22"), "[masked][masked]");
        assert_eq!(masked("abc", "abc"), "abc", "too short to be told from other text");
        let none: [&str; 0] = [];
        assert_eq!(Mask::new(none).apply(b"x".to_vec()), b"x");
    }

    #[test]
    fn a_secret_is_masked_as_json_writes_it_also_within_json() {
        let secret = "pa\"ss\\w\u{f6}rd\u{1f511}";
        let in_json = serde_json::json!({ "key": secret }).to_string();
        let in_in_json = serde_json::json!({ "log": in_json }).to_string();
        assert_eq!(masked(secret, &in_json), r#"{"key":"[masked]"}"#);
        assert_eq!(masked(secret, &in_in_json), r#"{"log":"{\"key\":\"[masked]\"}"}"#);
        let by_python = r#"{"key": "pa\"ss\\w\u00f6rd\ud83d\udd11"}"#;
        assert_eq!(masked(secret, by_python), r#"{"key": "[masked]"}"#);
    }

    #[test]
    fn of_a_secret_of_several_lines_each_is_masked() {
        let key = "-----BEGIN KEY-----\nMIIEvgIBADANBg\nxyz\n-----END KEY-----\n";
        assert_eq!(masked(key, "MIIEvgIBADANBg"), "[masked]");
        assert_eq!(masked(key, "xyz"), "xyz");
        let in_json = serde_json::Value::from(key).to_string();
        assert_eq!(masked(key, &in_json), "\"[masked]\"");
    }

    #[test]
    fn in_json_keys_strings_and_numbers_are_masked_and_all_else_is_left() {
        let mask = Mask::new(["hunter22", "20261126", "line one\nline two"]);
        let mut value = serde_json::json!({
            "a": ["xhunter22", 1.5, null, {"hunter22": true}],
            "b": 20_261_126,
            "c": "line one\nline two",
        });
        assert!(mask.json(&mut value));
        let expected = serde_json::json!({
            "a": ["x[masked]", 1.5, null, {"[masked]": true}],
            "b": "[masked]",
            "c": "[masked]",
        });
        assert_eq!(value, expected);
        // However its characters were escaped.
        let mut odd: Value = serde_json::from_str(r#""\u0068unter\u00322""#).unwrap();
        assert!(mask.json(&mut odd));
        assert_eq!(odd, MASKED);
        let mut clean = serde_json::json!({"a": [1, "hunter"], "n": 2026});
        assert!(!mask.json(&mut clean));
        assert_eq!(clean, serde_json::json!({"a": [1, "hunter"], "n": 2026}));
    }

    #[test]
    fn a_sentence_keeps_its_characters_around_a_secret() {
        let mask = Mask::new(["p\u{e4}ss"]);
        assert_eq!(mask.text("\u{fc}p\u{e4}ss\u{fc}".to_owned()), "\u{fc}[masked]\u{fc}");
        assert_eq!(Mask::default().text("p\u{e4}ss".to_owned()), "p\u{e4}ss");
    }

    #[test]
    fn the_longer_of_two_secrets_is_masked_as_one() {
        let mask = Mask::new(["hunter", "hunter22"]);
        assert_eq!(mask.apply(b"hunter22".to_vec()), MASKED.as_bytes());
    }

    #[test]
    fn a_text_is_held_back_from_where_a_secret_may_begin() {
        let end = |text: &str| Mask::new(["hunter22"]).safe_end(text.as_bytes());
        assert_eq!(end("pass: hunt"), "pass: ".len());
        assert_eq!(end("pass: hunter22"), "pass: hunter22".len());
        assert_eq!(end("pass: hunter22h"), "pass: hunter22".len());
        assert_eq!(end("pass: "), "pass: ".len());
        assert_eq!(Mask::new(["abcabc"]).safe_end(b"abcabc"), 6);
    }

    proptest! {
        #[test]
        fn the_open_end_of_a_text_is_the_longest_beginning_it_ends_with(
            secret in "[ab]{1,12}", text in "[ab]{0,20}",
        ) {
            let found = Prefixes::of(secret.clone().into_bytes()).at_end_of(text.as_bytes());
            let longest = (0..secret.len()).rev().find(|length| text.ends_with(&secret[..*length]));
            prop_assert_eq!(found, longest.unwrap_or(0));
        }

        #[test]
        fn wherever_a_text_is_cut_no_secret_is_shown(text in "[ab]{0,30}", cuts in 1usize..12) {
            let mask = Mask::new(["abba", "baaab"]);
            let (mut shown, mut kept) = (Vec::new(), Vec::new());
            for piece in text.as_bytes().chunks(cuts) {
                kept.extend_from_slice(piece);
                let rest = kept.split_off(mask.safe_end(&kept));
                shown.extend(mask.apply(std::mem::replace(&mut kept, rest)));
                shown.push(b'|');
            }
            shown.extend(mask.apply(kept));
            let shown = String::from_utf8(shown).unwrap().replace('|', "");
            for secret in ["abba", "baaab"] {
                prop_assert!(!shown.contains(secret), "{} in {}", secret, shown);
            }
        }
    }
}
