//! What may be told of a result: the same for a small one and a large one. Pure.

use std::ops::Range;

use bytes::Bytes;

use super::Said;
use crate::JsonText;
use crate::json::{JsonProblem, MAX_DEPTH, Token, Tokens, Writer};
use crate::mask::{MASKED, Mask};

/// A result over this size, in bytes, is not in the event, only its key.
pub const MAX_INLINE_RESULT_BYTES: usize = 256 * 1024;

/// How many bytes are kept of a text that a verdict may need.
const MAX_SAID_BYTES: usize = 8 * 1024;

/// How often a masked text is searched again, because the mask and its neighbours may spell another
/// secret.
const MAX_PASSES: usize = 3;

/// The byte order mark that some programs write at the beginning of a UTF-8 file. It is not part of
/// JSON.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// A result without the run's secrets.
#[derive(Debug, Clone, PartialEq)]
pub struct ResultText {
    /// The text. If it has no secrets, it is as the code wrote it.
    pub bytes: Bytes,
    /// What the verdict depends on.
    pub said: Said,
    /// The value for the event, if it fits.
    pub inline: Option<JsonText>,
}

/// Reads a result, which must be strict JSON with nothing after it, and masks secrets: in every
/// text and key, however their characters are escaped, in numbers, and in several values that
/// together spell a secret.
///
/// # Errors
///
/// It is not JSON, or nested too deep.
pub fn read_result(bytes: &Bytes, mask: &Mask) -> Result<ResultText, JsonProblem> {
    let has_mark = bytes.starts_with(BYTE_ORDER_MARK);
    let bytes = if has_mark { bytes.slice(BYTE_ORDER_MARK.len()..) } else { bytes.clone() };
    let bytes = match without_secrets(&bytes, mask)? {
        Some(masked) => Bytes::from(masked),
        None => bytes,
    };
    let inline = inline(&bytes);
    // In the event there are no spaces between values, so values may spell a secret that they did
    // not spell before.
    if let Some(text) = &inline
        && !mask.spelled_in(text.as_str().as_bytes()).is_empty()
        && let Some(masked) = without_secrets(text.as_str().as_bytes(), mask)?
    {
        let bytes = Bytes::from(masked);
        return Ok(ResultText { said: said(&bytes)?, inline: self::inline(&bytes), bytes });
    }
    Ok(ResultText { said: said(&bytes)?, inline, bytes })
}

/// A result for an event. `None` if it is large, nested too deeply, or has a number that not every
/// reader accepts: then the event has only its key.
fn inline(text: &[u8]) -> Option<JsonText> {
    let fits = |text: &JsonText| text.as_str().len() <= MAX_INLINE_RESULT_BYTES;
    let is_small = text.len() <= MAX_INLINE_RESULT_BYTES;
    if is_small { JsonText::read(text).ok().filter(fits) } else { None }
}

/// The two texts of a result object that a verdict needs, the last one of each name.
fn said(text: &[u8]) -> Result<Said, JsonProblem> {
    let mut said = Said::default();
    let mut tokens = Tokens::new(text, MAX_DEPTH);
    let mut name = String::new();
    while let Some(token) = tokens.read()? {
        let value = match token {
            Token::Key(key) if tokens.depth() == 1 => {
                name =
                    if matches!(&*key, "status" | "message") { key.into() } else { String::new() };
                continue;
            }
            Token::Text(text) if !name.is_empty() => {
                Some(text[..text.floor_char_boundary(MAX_SAID_BYTES)].to_owned())
            }
            _ => None,
        };
        match std::mem::take(&mut name).as_str() {
            "status" => said.status = value,
            "message" => said.message = value,
            _ => {}
        }
    }
    Ok(said)
}

/// The text without secrets, if it has any.
fn without_secrets(text: &[u8], mask: &Mask) -> Result<Option<Vec<u8>>, JsonProblem> {
    if mask.is_empty() || !has_secret(text, mask)? {
        return Ok(None);
    }
    let mut text = rewrite(text, |token, _| masked(token, mask))?;
    for _ in 0..MAX_PASSES {
        let spelled = mask.spelled_in(&text);
        if spelled.is_empty() {
            return Ok(Some(text));
        }
        // Several values, or a word of JSON, spell it.
        text = rewrite(
            &text,
            |token, place| {
                if touches(&spelled, &place) { hidden(token) } else { None }
            },
        )?;
    }
    let is_clean = mask.spelled_in(&text).is_empty();
    Ok(Some(if is_clean { text } else { format!("\"{MASKED}\"").into_bytes() }))
}

fn has_secret(text: &[u8], mask: &Mask) -> Result<bool, JsonProblem> {
    let mut tokens = Tokens::new(text, MAX_DEPTH);
    let mut found = !mask.spelled_in(text).is_empty();
    // Read to its end, because a text that is not JSON is refused first.
    while let Some(token) = tokens.read()? {
        found = found || masked(&token, mask).is_some();
    }
    Ok(found)
}

/// The text with some of its tokens replaced.
fn rewrite(
    text: &[u8],
    replace: impl Fn(&Token<'_>, Range<usize>) -> Option<Token<'static>>,
) -> Result<Vec<u8>, JsonProblem> {
    let (mut tokens, mut writer) = (Tokens::new(text, MAX_DEPTH), Writer::default());
    while let Some(token) = tokens.read()? {
        writer.write(replace(&token, tokens.place()).as_ref().unwrap_or(&token));
    }
    Ok(writer.into_bytes())
}

/// A token without its secret.
fn masked(token: &Token<'_>, mask: &Mask) -> Option<Token<'static>> {
    let shown = |text: &str| {
        let is_hidden = mask.is_in(text.as_bytes());
        is_hidden.then(|| mask.text(text.to_owned()).into())
    };
    match token {
        Token::Key(name) => shown(name).map(Token::Key),
        Token::Text(text) => shown(text).map(Token::Text),
        Token::Number(number) => mask.is_in_number(number).then(|| Token::Text(MASKED.into())),
        Token::Open(_) | Token::Close(_) | Token::Word(_) => None,
    }
}

/// What replaces a whole token.
fn hidden(token: &Token<'_>) -> Option<Token<'static>> {
    match token {
        Token::Key(_) => Some(Token::Key(MASKED.into())),
        Token::Text(_) | Token::Number(_) | Token::Word(_) => Some(Token::Text(MASKED.into())),
        Token::Open(_) | Token::Close(_) => None,
    }
}

/// Whether one of `places`, which are in order, overlaps `place`.
fn touches(places: &[Range<usize>], place: &Range<usize>) -> bool {
    let next = places.partition_point(|one| one.end <= place.start);
    places.get(next).is_some_and(|one| one.start < place.end)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn read(text: &str, secrets: &[&str]) -> Result<ResultText, JsonProblem> {
        read_result(&Bytes::from(text.to_owned()), &Mask::new(secrets.iter().copied()))
    }

    /// What is stored of a result, small or large.
    fn stored(text: &str, secrets: &[&str]) -> String {
        let small = String::from_utf8(read(text, secrets).unwrap().bytes.to_vec()).unwrap();
        let large = format!("[{text},\"{}\"]", "x".repeat(MAX_INLINE_RESULT_BYTES));
        let of_large = read(&large, secrets).unwrap();
        assert_eq!(of_large.inline, None);
        let of_large = String::from_utf8(of_large.bytes.to_vec()).unwrap();
        assert!(of_large.starts_with(&format!("[{small},")), "{}", &of_large[..200]);
        small
    }

    #[test]
    fn a_result_without_secrets_stays_as_the_code_wrote_it() {
        let text = "{ \"b\": 1.50,\n \"a\": \"hunter\", \"\\u0061\": 123456789012345678901 }";
        assert_eq!(stored(text, &["hunter22"]), text);
        let inline = read(text, &["hunter22"]).unwrap().inline.unwrap();
        assert_eq!(inline.as_str(), r#"{"b":1.50,"a":"hunter","a":123456789012345678901}"#);
    }

    #[test]
    fn a_secret_is_masked_where_it_stands_and_all_else_stays_whatever_the_size() {
        let text = r#"{"z": "with \u0068unter22 in it", "hunter22": [1.50, 20261126, 2.0261126e7],
            "wei": 123456789012345678901, "a": "hunter\u00322", "log": "{\"k\": \"h\\u0075nter22\"}"}"#;
        let expected = concat!(
            r#"{"z":"with [masked] in it","[masked]":[1.50,"[masked]","[masked]"],"#,
            r#""wei":123456789012345678901,"a":"[masked]","log":"{\"k\": \"[masked]\"}"}"#,
        );
        assert_eq!(stored(text, &["hunter22", "20261126"]), expected);
    }

    #[test]
    fn only_the_values_that_spell_a_secret_together_are_masked() {
        let spelled = stored(r#"{"a":[1,2,3,4],"b":[5,6]}"#, &["1,2,3"]);
        assert!(!spelled.contains("1,2,3") && spelled.contains("\"b\":[5,6]"), "{spelled}");
        let apart = read(r#"{"a": [1, 2, 3, 4], "b": [5, 6]}"#, &["1,2,3"]).unwrap();
        assert_eq!(
            (&apart.bytes[..], apart.inline.unwrap().as_str()),
            (spelled.as_bytes(), &*spelled)
        );
        assert_eq!(stored(r#"{"a": true, "b": 1}"#, &["true"]), r#"{"a":"[masked]","b":1}"#);
        let pair = stored(r#"{"key":"one","x":"two"}"#, &["\"one\",\"x\""]);
        assert!(!pair.contains("\"one\",\"x\"") && pair.contains("two"), "{pair}");
        // The spaces between them were part of it.
        assert_eq!(stored("[1,  2]", &["1,  2"]), "[1,2]");
        // Nothing but brackets: there is no value to mask.
        assert_eq!(&read("[[[[1]]]]", &["[[[["]).unwrap().bytes[..], b"\"[masked]\"");
        assert_eq!(stored(r#"["masked"]"#, &["masked"]), r#"["[masked]"]"#);
    }

    #[test]
    fn what_a_verdict_needs_is_read_without_secrets_and_within_bounds() {
        let said = |text: &str| read(text, &["hunter22"]).unwrap().said;
        let error = said(r#"{"x": {"status": "no"}, "status": "error", "message": "no hunter22"}"#);
        assert_eq!(error.status.as_deref(), Some("error"));
        assert_eq!(error.message.as_deref(), Some("no [masked]"));
        let last = said(r#"{"status": "error", "message": "x", "status": 1, "message": ["y"]}"#);
        assert_eq!(last, Said::default());
        assert_eq!(said(r#"[{"status": "error"}]"#), Said::default());
        let long = said(&format!(r#"{{"message": "{}"}}"#, "ä".repeat(MAX_SAID_BYTES)));
        assert_eq!(long.message.unwrap().len(), MAX_SAID_BYTES);
    }

    #[test]
    fn a_result_that_is_nested_too_deep_is_refused_whatever_its_size() {
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        assert!(read(&nested(MAX_DEPTH), &[]).is_ok());
        for depth in [MAX_DEPTH + 1, 1000, 3_000_000] {
            for text in [nested(depth), format!("{{\"a\":{}}}", nested(depth))] {
                let problem = read(&text, &["hunter22"]).unwrap_err();
                assert_eq!(problem, JsonProblem::TooDeep(MAX_DEPTH));
                assert_eq!(problem.to_string(), "is nested more than 127 levels deep");
            }
        }
    }

    #[test]
    fn what_not_every_reader_takes_travels_by_its_key_alone() {
        let inline = |text: &str| read(text, &[]).unwrap().inline.is_some();
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        assert!(inline(&nested(100)) && !inline(&nested(101)));
        assert!(inline(&"9".repeat(401)) && !inline(&"9".repeat(4301)));
        assert!(inline("1e308") && !inline("1e309"));
        let of_size = |size: usize| format!("\"{}\"", "x".repeat(size - 2));
        assert!(inline(&of_size(MAX_INLINE_RESULT_BYTES)));
        assert!(!inline(&of_size(MAX_INLINE_RESULT_BYTES + 1)));
    }

    #[test]
    fn a_result_that_grows_by_its_masks_does_not_fit() {
        let text = format!("[{}\"pass\"]", "\"pass\",".repeat(37_000));
        assert!(text.len() < MAX_INLINE_RESULT_BYTES);
        let read = read(&text, &["pass"]).unwrap();
        assert!(read.bytes.len() > MAX_INLINE_RESULT_BYTES && read.inline.is_none());
    }

    #[test]
    fn what_is_no_json_says_where_and_not_what() {
        let large = format!("[\"{}\",\n hunter22]", "x".repeat(MAX_INLINE_RESULT_BYTES));
        for text in ["{\"a\": hunter22}", "{\"a\": NaN}", "{} {}", "\"\\ud800\"", "", &large] {
            let said = read(text, &["hunter22"]).unwrap_err().to_string();
            assert!(
                said.starts_with("is not valid JSON: ") && said.contains(" at line "),
                "{said}"
            );
            assert!(!said.contains("hunter"), "{said}");
        }
        let control = read("\"\u{1b}[31m\"", &[]).unwrap_err().to_string();
        assert!(!control.contains('\u{1b}'), "{control}");
        assert!(read_result(&Bytes::from_static(b"\"\xff\""), &Mask::default()).is_err());
    }

    #[test]
    fn a_byte_order_mark_is_taken_off() {
        let read = read("\u{feff}{\"a\": 1}", &[]).unwrap();
        assert_eq!(
            (&read.bytes[..], read.inline.unwrap().as_str()),
            (&b"{\"a\": 1}"[..], "{\"a\":1}")
        );
    }

    fn holds(value: &Value, secret: &str) -> bool {
        match value {
            Value::String(text) => text.contains(secret),
            Value::Array(values) => values.iter().any(|value| holds(value, secret)),
            Value::Object(fields) => {
                fields.iter().any(|(name, value)| name.contains(secret) || holds(value, secret))
            }
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn whatever_the_texts_no_secret_is_left_in_them(
            texts in proptest::collection::vec("[a\"\\\\u0061/]{0,9}", 0..6), in_json in any::<bool>(),
        ) {
            let secret = "a\"a/";
            let value = json!({"list": texts, "object": {texts.concat(): texts.concat()}});
            let mut text = value.to_string();
            if in_json {
                text = Value::from(text).to_string();
            }
            let read = read(&text, &[secret]).unwrap();
            let value: Value = serde_json::from_slice(&read.bytes).unwrap();
            prop_assert!(!holds(&value, secret), "{}", value);
        }
    }
}
