//! The texts to search for: how a secret may be written, without its escapes.

use std::collections::BTreeSet;

use memchr::memchr;

use super::view::{MAX_LAYERS, View};
use crate::MIN_SECRET_BYTES;

/// If a secret has several lines, such as a key in PEM, each line of at least this many bytes is
/// masked by itself.
const MIN_SECRET_LINE_BYTES: usize = 8;

/// The texts to look for, and what is known about them.
#[derive(Debug, Default)]
pub(super) struct Texts {
    /// Every text, none twice.
    pub(super) all: Vec<Box<[u8]>>,
    /// The secrets that are numbers.
    pub(super) numbers: Vec<f64>,
    /// Whether a number may hold a secret.
    pub(super) has_numbers: bool,
    /// Whether a space may have been written as a plus sign.
    pub(super) has_spaces: bool,
}

impl Texts {
    pub(super) fn of<'a>(secrets: impl IntoIterator<Item = &'a str>) -> Self {
        let plain: BTreeSet<&str> = secrets.into_iter().flat_map(lines).collect();
        let has_spaces = plain.iter().any(|text| text.contains(' '));
        let mut all = BTreeSet::new();
        let mut numbers = Vec::new();
        for text in plain {
            all.extend(layers(text, has_spaces));
            if let Some((number, spellings)) = number(text) {
                numbers.push(number);
                all.extend(spellings.into_iter().map(String::into_bytes));
            }
        }
        all.retain(|text| text.len() >= MIN_SECRET_BYTES);
        let is_number = |text: &Vec<u8>| text.iter().all(|b| b"0123456789.eE+-".contains(b));
        let has_numbers = all.iter().any(is_number);
        let all = all.into_iter().map(Vec::into_boxed_slice).collect();
        Self { all, numbers, has_numbers, has_spaces }
    }
}

/// A secret, and each of its lines that is long enough.
fn lines(secret: &str) -> Vec<&str> {
    let mut all = vec![secret];
    if secret.contains('\n') {
        let each = secret.lines().map(str::trim);
        all.extend(each.filter(|line| line.len() >= MIN_SECRET_LINE_BYTES));
    }
    all
}

/// A text as it is, and as it looks after escapes were removed: parts of it that look like escapes
/// were removed, too.
fn layers(text: &str, has_spaces: bool) -> Vec<Vec<u8>> {
    let mut all = vec![text.as_bytes().to_vec()];
    for _ in 0..MAX_LAYERS {
        let last = all.last().map(Vec::as_slice).unwrap_or_default();
        let view = View::of(last, has_spaces);
        if !view.is_changed {
            break;
        }
        all.push(view.bytes);
    }
    all
}

/// For a secret that is a number: its value, and how programs write it after they have read it as a
/// number.
fn number(text: &str) -> Option<(f64, Vec<String>)> {
    let text = text.trim();
    let unsigned = text.trim_start_matches(['-', '+']);
    let digits = unsigned.bytes().filter(u8::is_ascii_digit).count();
    let is_plain = unsigned.starts_with(|c: char| c.is_ascii_digit())
        && unsigned.bytes().all(|b| b"0123456789.eE+-".contains(&b));
    let value: f64 = unsigned.parse().ok().filter(|value: &f64| value.is_finite())?;
    if !is_plain || digits < MIN_SECRET_BYTES || value == 0.0 {
        return None;
    }
    let scientific = format!("{value:e}");
    let (mantissa, exponent) = scientific.split_once('e')?;
    let (sign, size) = match exponent.strip_prefix('-') {
        Some(size) => ("-", size),
        None => ("+", exponent),
    };
    // Readers differ in the last digits of an integer that is not exact as a float.
    let mut spellings = vec![
        format!("{value}"),
        format!("{mantissa}e{exponent}"),
        format!("{mantissa}e{sign}{size}"),
        format!("{mantissa}e{sign}{size:0>2}"),
        format!("{mantissa}E{exponent}"),
        format!("{mantissa}E{sign}{size:0>2}"),
    ];
    let without_zeros = unsigned.trim_start_matches('0');
    if !without_zeros.starts_with(['.', 'e', 'E']) {
        spellings.push(without_zeros.to_owned());
    }
    // A spelling of few digits would hide numbers that have nothing to do with the secret.
    let significant =
        |text: &String| text.bytes().filter(u8::is_ascii_digit).count() >= MIN_SECRET_BYTES;
    spellings.retain(significant);
    Some((value, spellings))
}

/// How many bytes at the end of `text` may be the beginning of one of `all`, but not the whole.
pub(super) fn open_end(all: &[Box<[u8]>], text: &[u8]) -> usize {
    all.iter().map(|one| open_end_of(one, text)).max().unwrap_or(0)
}

fn open_end_of(one: &[u8], text: &[u8]) -> usize {
    let most = one.len().saturating_sub(1);
    let end = &text[text.len().saturating_sub(most)..];
    let Some(begin) = one.first().and_then(|first| memchr(*first, end)) else { return 0 };
    // For each prefix, the longest shorter prefix that is its suffix. Made again each time, because
    // it takes more memory than the secret.
    let mut shorter: Vec<u32> = Vec::with_capacity(one.len());
    let mut matched = 0;
    for (at, byte) in one.iter().enumerate() {
        if at > 0 {
            matched = step(one, &shorter, matched, *byte);
        }
        shorter.push(u32::try_from(matched).unwrap_or(0));
    }
    end[begin..].iter().fold(0, |matched, byte| step(one, &shorter, matched, *byte))
}

/// How much of `one` has matched once `byte` follows on a text that had `matched` that much of it.
fn step(one: &[u8], shorter: &[u32], mut matched: usize, byte: u8) -> usize {
    while matched > 0 && one.get(matched) != Some(&byte) {
        matched = shorter[matched - 1] as usize;
    }
    if one.get(matched) == Some(&byte) { matched + 1 } else { 0 }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_number_has_the_spellings_of_those_who_read_it_as_one() {
        let spellings = |text| number(text).map(|(_, spellings)| spellings).unwrap_or_default();
        let big = spellings("12345678901234567890");
        for spelling in ["12345678901234567000", "1.2345678901234567e+19", "1.2345678901234567E19"]
        {
            assert!(big.contains(&spelling.to_owned()), "{spelling} in {big:?}");
        }
        assert!(spellings("0012345").contains(&"12345".to_owned()));
        assert!(spellings("0.000012345").contains(&"1.2345e-05".to_owned()));
        for other in ["123", "0000", "1e999", "inf", "nan", "12ab", "1-2-3-4", "hunter22"] {
            assert_eq!(spellings(other), [""; 0], "{other}");
        }
        assert!(spellings("5000").iter().all(|spelling| spelling == "5000"));
    }

    proptest! {
        #[test]
        fn the_open_end_of_a_text_is_the_longest_beginning_it_ends_with(
            secret in "[ab]{1,12}", text in "[ab]{0,20}",
        ) {
            let found = open_end_of(secret.as_bytes(), text.as_bytes());
            let longest = (0..secret.len()).rev().find(|length| text.ends_with(&secret[..*length]));
            prop_assert_eq!(found, longest.unwrap_or(0));
        }
    }
}
