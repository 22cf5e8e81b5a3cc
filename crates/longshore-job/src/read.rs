//! From bytes to a message, or to what is wrong with it.

use std::borrow::Cow;
use std::sync::LazyLock;

use schemars::{JsonSchema, schema_for};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::body::text_of;
use super::explain::explain;
use super::foreign::{
    advice_at, envelope_of, format_of, kind_of, looks_like_start, looks_like_stop,
    unnamed_format_of,
};
use super::json::{JsonProblem, MAX_DEPTH, Token, Tokens, Writer};
use super::pick::pick_texts;
use super::violation::violation;
use super::{Entrypoint, Executable, MessageError, StopRequest, Violation};

/// The text of a message's body, unpacked if it is compressed. `encoding` is the publisher's name
/// for the compression. Refuses a body larger than `max_bytes`, packed or unpacked.
///
/// # Errors
///
/// [`MessageError`]: it is too large, or cannot be unpacked.
pub fn decoded<'a>(
    body: &'a [u8],
    encoding: Option<&str>,
    max_bytes: usize,
) -> Result<Cow<'a, [u8]>, MessageError> {
    check_size(body, max_bytes)?;
    text_of(body, encoding, max_bytes)
        .map_err(|problem| MessageError::about(body, vec![violation("$", problem)]))
}

/// Reads the text of a start message.
///
/// # Errors
///
/// [`MessageError`], with every fault that could be found.
pub fn parse_executable(text: &[u8]) -> Result<Executable, MessageError> {
    parse(text, Form::Start)
}

/// Refuses a message only for its size, before anything of it is kept.
///
/// # Errors
///
/// [`MessageError`]: it is larger than `max_bytes`.
pub fn check_size(body: &[u8], max_bytes: usize) -> Result<(), MessageError> {
    if body.len() <= max_bytes {
        return Ok(());
    }
    let problem =
        format!("is {} bytes, more than the {max_bytes} allowed (MESSAGE_MAX_KB)", body.len());
    Err(MessageError::about(body, vec![violation("$", problem)]))
}

/// Refuses a message that could not be read completely. `unreadable` has the name of each
/// unreadable property, and what is wrong with it. `properties` has all of them, and `body` is the
/// body.
pub fn check_properties<'a>(
    body: &[u8],
    unreadable: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> Result<(), MessageError> {
    let told = |(name, problem)| match name {
        "body" => violation("$", problem),
        "properties" => violation(name, problem),
        name => violation(&format!("properties.{name}"), problem),
    };
    let violations: Vec<_> = unreadable.into_iter().map(told).collect();
    if violations.is_empty() {
        return Ok(());
    }
    Err(MessageError::about(body, violations))
}

/// Reads the text of a stop message.
///
/// # Errors
///
/// [`MessageError`], with every fault that could be found.
pub fn parse_stop(text: &[u8]) -> Result<StopRequest, MessageError> {
    let stop: StopRequest = parse(text, Form::Stop)?;
    let mut found = Vec::new();
    if stop.timeout_seconds > 600 {
        let problem = format!("is {}, more than the 600 allowed", stop.timeout_seconds);
        found.push(violation("timeout_seconds", problem));
    }
    let characters = stop.reason.as_ref().map_or(0, |reason| reason.chars().count());
    if characters > MAX_REASON {
        let problem =
            format!("has {characters} characters, more than the {MAX_REASON} allowed: shorten it");
        found.push(violation("reason", problem));
    }
    if found.is_empty() { Ok(stop) } else { Err(MessageError::about(text, found)) }
}

/// The longest reason of a stop, in characters. Every event about the stop carries it.
const MAX_REASON: usize = 1024;

/// Which message it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Start,
    Stop,
}

impl Form {
    fn name(self) -> &'static str {
        match self {
            Self::Start => "a start message",
            Self::Stop => "a stop message",
        }
    }

    fn schema(self) -> &'static Value {
        static START: LazyLock<Value> = LazyLock::new(schema_of::<Executable>);
        static STOP: LazyLock<Value> = LazyLock::new(schema_of::<StopRequest>);
        match self {
            Self::Start => &START,
            Self::Stop => &STOP,
        }
    }
}

fn schema_of<T: JsonSchema>() -> Value {
    schema_for!(T).to_value()
}

/// What serde says, and where.
struct Complaint {
    path: String,
    said: String,
}

fn parse<T: DeserializeOwned>(text: &[u8], form: Form) -> Result<T, MessageError> {
    // serde would also read a struct from an array, field by field.
    let is_array = text.trim_ascii_start().first() == Some(&b'[');
    let mut reader = serde_json::Deserializer::from_slice(text);
    let parsed = serde_path_to_error::deserialize(&mut reader);
    let complaint = match (parsed, reader.end()) {
        (Ok(parsed), Ok(())) if !is_array => return Ok(parsed),
        (Ok(_), _) => Complaint { path: String::new(), said: String::new() },
        (Err(error), _) => {
            let said = error.inner().to_string();
            Complaint { path: error.path().to_string(), said }
        }
    };
    Err(fault(text, form, &complaint))
}

/// What is wrong with a message that serde would not take.
fn fault(text: &[u8], form: Form, complaint: &Complaint) -> MessageError {
    let whole = |problem: String| MessageError::about(text, vec![violation("$", problem)]);
    if complaint.said.starts_with("number out of range") {
        let problem = "has a number that is too large to be read";
        return MessageError::about(text, vec![violation(first_part(&complaint.path), problem)]);
    }
    let message = match value_of(text) {
        Ok(message) => message,
        Err(error) => return not_json(text, form, complaint, &error),
    };
    let Value::Object(fields) = &message else {
        return whole(kind_of(&message));
    };
    if let Some(envelope) = envelope_of(fields) {
        // Its id is the envelope's own.
        return MessageError { id: None, run_id: None, ..whole(envelope) };
    }
    match form {
        Form::Start if looks_like_stop(fields) => {
            return whole(
                "is a stop message, or all but an id is missing: stops have the routing key `stop`"
                    .to_owned(),
            );
        }
        Form::Stop if looks_like_start(fields) => {
            return whole(
                "is a start message: starts have the routing key `start.terminating` or \
                 `start.long-running`"
                    .to_owned(),
            );
        }
        Form::Start | Form::Stop => {}
    }
    let mut found = explain(&message, form.schema(), form.name());
    if found.is_empty() {
        found.push(translated(complaint));
    }
    MessageError::about(text, found)
}

/// A message as a value to inspect. A config may have integers that a value cannot hold. They are
/// no fault, and count as any other number.
fn value_of(text: &[u8]) -> Result<Value, serde_json::Error> {
    serde_json::from_slice(text).or_else(|error| {
        let tame = with_small_numbers(text).map_err(|_| error)?;
        serde_json::from_slice(&tame)
    })
}

fn with_small_numbers(text: &[u8]) -> Result<Vec<u8>, JsonProblem> {
    let (mut tokens, mut writer) = (Tokens::new(text, MAX_DEPTH), Writer::default());
    while let Some(token) = tokens.read()? {
        let is_huge = matches!(&token, Token::Number(number)
            if number.parse().is_ok_and(f64::is_infinite));
        writer.write(if is_huge { &Token::Number(Cow::Borrowed("1")) } else { &token });
    }
    Ok(writer.into_bytes())
}

/// What is wrong with a text that cannot be read as JSON.
fn not_json(
    text: &[u8],
    form: Form,
    complaint: &Complaint,
    error: &serde_json::Error,
) -> MessageError {
    let said = error.to_string();
    let (path, problem) = if text.trim_ascii().is_empty() {
        ("$", format!("is empty: {} is a JSON object", form.name()))
    } else if said.starts_with("recursion limit exceeded") {
        let problem = "is nested deeper than the 127 arrays and objects that are read";
        (first_part(&complaint.path), problem.to_owned())
    } else if let Some(problem) = format_of(text).or_else(|| unnamed_format_of(text, form.name())) {
        ("$", problem)
    } else {
        let advice = advice_at(text, error.line(), error.column());
        let advice = advice.map(|advice| format!(": {advice}")).unwrap_or_default();
        ("$", format!("is not valid JSON: {said}{advice}"))
    };
    MessageError::about(text, vec![violation(path, problem)])
}

/// The field of the message that a path is in.
fn first_part(path: &str) -> &str {
    match path.split(['.', '[']).next() {
        None | Some("" | "?") => "$",
        Some(part) => part,
    }
}

/// What serde says about a message in which the schema finds no fault.
fn translated(complaint: &Complaint) -> Violation {
    let said = complaint.said.rsplit_once(" at line ").map_or(&*complaint.said, |(said, _)| said);
    let path = match complaint.path.as_str() {
        "" | "." | "?" => "$",
        path => path,
    };
    let twice = said.strip_prefix("duplicate field `").and_then(|rest| rest.strip_suffix('`'));
    match twice {
        Some(field) => violation(field, "is there twice"),
        // Values are not repeated: they may be secrets in the wrong place.
        None if said.contains(", expected ") || said.is_empty() => {
            violation(path, "cannot be read as what it should be")
        }
        None => violation(path, said),
    }
}

impl MessageError {
    /// An error about a message, with everything that could be read of it.
    fn about(body: &[u8], violations: Vec<Violation>) -> Self {
        let names = ["id", "entrypoint", "run_id"];
        let [id, kind, run_id] = pick_texts(body, names).unwrap_or_default();
        let kinds = [Entrypoint::Bot, Entrypoint::Backtest];
        Self {
            violations,
            id: id.and_then(|id| id.try_into().ok()),
            entrypoint: kinds.into_iter().find(|one| kind.as_deref() == Some(one.as_str())),
            run_id: run_id.and_then(|id| id.try_into().ok()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(body: &[u8]) -> String {
        parse_executable(body).unwrap_err().to_string()
    }

    #[test]
    fn valid_json_is_never_reported_as_invalid() {
        let deep =
            format!(r#"{{"id": "a", "config": {{"x": {}1{}}}}}"#, "[".repeat(200), "]".repeat(200));
        for (body, expected) in [
            (deep.as_str(), "config: is nested deeper than the 127"),
            (
                r#"{"id": "a", "runtime": null, "file_path": "x"}"#,
                "runtime: must be the name of a runtime, such as \"python3.11\", not null",
            ),
            (
                &format!(r#"{{"id": 5, "config": {{"x": 1{}}}}}"#, "0".repeat(400)),
                "id: must be a string, not a number",
            ),
            (
                &deep.replace(&"[".repeat(100), "").replace(&"]".repeat(100), ""),
                "runtime: is missing",
            ),
            (r#"{"id": "a"}"#, "$: is a stop message, or all but an id is missing: stops have"),
            (r#"{"id": "a", "reason": "r"}"#, "$: is a stop message"),
            (r#""{\"id\": \"a\"}""#, "$: is a JSON string with JSON in it"),
            ("[]", "$: is an array, not an object"),
            ("null", "$: is null, not an object"),
            ("{}", "id: is missing, and must be a string; runtime: is missing, and must be"),
        ] {
            let said = said(body.as_bytes());
            assert!(said.starts_with(expected), "{said}");
            assert!(!said.contains("valid JSON") && !said.contains("struct"), "{said}");
        }
    }

    #[test]
    fn what_is_not_json_is_named_for_what_it_is() {
        for (body, expected) in [
            (&b""[..], "$: is empty: a start message is a JSON object"),
            (b" \n", "$: is empty"),
            (b"{\"id\": \"a\",}", "$: is not valid JSON: trailing comma at line 1 column 12"),
            (b"{\"id\": \"a\"} x", "$: is not valid JSON: trailing characters at line 1 column 13"),
            (b"\xac\xed\0\x05sr", "$: is a serialized Java object, not JSON"),
        ] {
            let said = said(body);
            assert!(said.starts_with(expected), "{said}");
        }
    }

    #[test]
    fn a_start_on_the_key_of_stops_is_told_its_own_key() {
        let start = longshore_testing::hostile::messages::good("job-1").to_string();
        let said = parse_stop(start.as_bytes()).unwrap_err();
        assert!(said.to_string().starts_with("$: is a start message: starts have the routing key"));
        assert_eq!(said.id.unwrap().as_str(), "job-1");
    }

    #[test]
    fn the_id_of_an_envelope_is_not_the_jobs() {
        let start = longshore_testing::hostile::messages::good("job-1");
        let event =
            serde_json::json!({"specversion": "1.0", "id": "e-1", "source": "/", "data": start});
        let error = parse_executable(event.to_string().as_bytes()).unwrap_err();
        assert!(error.to_string().starts_with("$: is a CloudEvents envelope: the body must be"));
        assert_eq!(error.id, None);
    }

    #[test]
    fn a_field_that_is_there_twice_is_told() {
        let start = longshore_testing::hostile::messages::good("job-1").to_string();
        let twice = start.replacen('{', "{\"runtime\":\"nodejs20\",", 1);
        assert_eq!(said(twice.as_bytes()), "runtime: is there twice");
    }
}
