//! Secrets are masked before a line goes anywhere. Pure.

use std::fmt;
use std::fmt::Write as _;
use std::sync::Arc;

use aho_corasick::{AhoCorasick, MatchKind};

use crate::job::MIN_SECRET_BYTES;

/// What stands in a log where a secret was written.
pub const MASKED: &str = "[masked]";

/// Of a secret of several lines, such as a key in PEM, each line of this length is masked by
/// itself, in bytes.
const MIN_SECRET_LINE_BYTES: usize = 8;

/// What must not be seen in a log.
#[derive(Clone, Default)]
pub struct Mask(Option<Arc<Patterns>>);

struct Patterns {
    finder: AhoCorasick,
    texts: Vec<Vec<u8>>,
}

impl fmt::Debug for Mask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.0.as_ref().map_or(0, |patterns| patterns.texts.len());
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
        let finder = AhoCorasick::builder().match_kind(MatchKind::LeftmostLongest).build(&texts);
        // It fails only for more text than a message can carry.
        Self(finder.ok().map(|finder| Arc::new(Patterns { finder, texts })))
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
        let begins = |pattern: &Vec<u8>| {
            let longest = text.len().min(pattern.len() - 1);
            (1..=longest).rev().find(|length| text.ends_with(&pattern[..*length]))
        };
        let open = patterns.texts.iter().filter_map(begins).max().unwrap_or(0);
        let end = text.len() - open;
        // Never within a secret that is there as a whole.
        let mut within = patterns.finder.find_iter(text).filter(|found| found.end() > end);
        within.next().map_or(end, |found| if found.start() < end { found.end() } else { end })
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
    all.retain(|text| text.len() >= MIN_SECRET_BYTES && !text.contains('\n'));
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
