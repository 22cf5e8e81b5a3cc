//! What a message is that is not one of ours: the format or the envelope that a library puts around
//! it, by name, and what to do instead.

use serde_json::{Map, Value};

const SEND_JSON: &str = "send the message as JSON text in UTF-8";

/// What bytes that are not JSON are, as the end of a sentence.
pub(super) fn format_of(body: &[u8]) -> Option<String> {
    let (what, advice) = binary(body).or_else(|| text(body))?;
    Some(format!("is {what}, not JSON: {advice}"))
}

fn binary(body: &[u8]) -> Option<(&'static str, &'static str)> {
    Some(match body {
        [0xff, 0xfe, 0, 0, ..] | [0, 0, 0xfe, 0xff, ..] | [0, 0, 0, b'{', ..] => {
            ("UTF-32 text", SEND_JSON)
        }
        [b'{', 0, 0, 0, ..] => ("UTF-32 text", SEND_JSON),
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] | [b'{', 0, ..] | [0, b'{', ..] => {
            ("UTF-16 text", SEND_JSON)
        }
        [0xac, 0xed, 0, 5, ..] => (
            "a serialized Java object",
            "send it as JSON text, for example with Spring's JSON message converter",
        ),
        [0, 1, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, ..] => {
            ("a serialized .NET object", "send it as JSON text, for example with JsonSerializer")
        }
        [0x80, 2..=5, .., b'.'] | [b'(', b'd' | b'l', b'p', ..] => {
            ("a Python pickle", "send json.dumps(message), or set the serializer to json")
        }
        [0x81..=0x8f, 0xa0..=0xbf | 0xd9, ..] | [0xde | 0xdf, 0, ..] => ("MessagePack", SEND_JSON),
        [0xa1..=0xb8 | 0xbf, 0x60..=0x7b, ..] | [0xd9, 0xd9, 0xf7, ..] => ("CBOR", SEND_JSON),
        [131, 68 | 80 | 97..=119, ..] => ("an Erlang term", SEND_JSON),
        [b'O', b'b', b'j', 1, ..] => ("Avro", SEND_JSON),
        [b'P', b'K', 3, 4, ..] => (
            "a zip",
            "upload the code to the code bucket, and send a message that names it in file_path",
        ),
        [b'B', b'Z', b'h', ..] => ("bzip2", "send it as it is, or with gzip, deflate or zstd"),
        [0xfd, b'7', b'z', b'X', b'Z', ..] => {
            ("xz", "send it as it is, or with gzip, deflate or zstd")
        }
        [0x1f, 0x8b, ..] => ("gzip within gzip", "compress it once"),
        [a, b, c, d, .., 0] if is_length([*a, *b, *c, *d], body.len()) => ("BSON", SEND_JSON),
        _ => return None,
    })
}

fn is_length(bytes: [u8; 4], length: usize) -> bool {
    usize::try_from(u32::from_le_bytes(bytes)).is_ok_and(|said| said == length)
}

fn text(body: &[u8]) -> Option<(&'static str, &'static str)> {
    let text = std::str::from_utf8(body).ok()?.trim();
    let (first, second) = (text.as_bytes().first(), text.as_bytes().get(1));
    Some(match (first, second) {
        (Some(b'<'), _) => ("XML", SEND_JSON),
        (Some(b'{'), Some(b'\'')) => {
            ("a dict as Python prints it", "send json.dumps(message), not str(message)")
        }
        (Some(b'a' | b'O'), Some(b':')) => ("serialized by PHP", "send json_encode($message)"),
        _ if is_base64_of_json(text) => ("JSON in base64", "send the text itself"),
        _ if text == "[object Object]" => {
            ("a JavaScript object as text", "send JSON.stringify(message)")
        }
        _ if text.starts_with("id=") && !text.contains('\n') => ("form data", SEND_JSON),
        _ if begins_like_yaml(text) => ("perhaps YAML", SEND_JSON),
        _ => return None,
    })
}

/// Whether the text is the base64 of what begins as a JSON object does: `{"`, or a brace with white
/// space behind it.
fn is_base64_of_json(text: &str) -> bool {
    let begins =
        ["eyJ", "eyA", "ewo", "ew0", "ewk", "eyc"].iter().any(|with| text.starts_with(with));
    let is_base64 = |byte: u8| byte.is_ascii_alphanumeric() || b"+/=-_\r\n".contains(&byte);
    begins && text.bytes().all(is_base64)
}

fn begins_like_yaml(text: &str) -> bool {
    let line = text.lines().find(|line| *line != "---").unwrap_or_default();
    line.split_once(": ").is_some_and(|(name, _)| {
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
    })
}

/// Words that other languages write and JSON does not know, and what to do.
const OTHER_WORDS: [(&[u8], &str); 8] = [
    (b"NaN", "NaN is not a number of JSON: send null"),
    (b"Infinity", "Infinity is not a number of JSON: send null or a string"),
    (b"-Infinity", "Infinity is not a number of JSON: send null or a string"),
    (b"None", "this is how Python prints null: send json.dumps(message)"),
    (b"True", "this is how Python prints true: send json.dumps(message)"),
    (b"False", "this is how Python prints false: send json.dumps(message)"),
    (b"undefined", "undefined is not JSON: send JSON.stringify(message)"),
    (b"'", "strings have double quotes in JSON"),
];

/// What to do about a text that stops being JSON in this line and column, both counted from 1.
pub(super) fn advice_at(text: &[u8], line: usize, column: usize) -> Option<&'static str> {
    let line = text.split(|byte| *byte == b'\n').nth(line.checked_sub(1)?)?;
    let rest = line.get(column.checked_sub(1)?..)?;
    let (_, advice) = OTHER_WORDS.iter().find(|(word, _)| rest.starts_with(word))?;
    Some(advice)
}

/// What a JSON value is that is no object, as the end of a sentence.
pub(super) fn kind_of(value: &Value) -> String {
    match value {
        Value::String(text) if text.trim_start().starts_with('{') => {
            "is a JSON string with JSON in it, not an object: it was made JSON twice, once is enough"
                .to_owned()
        }
        Value::String(text) if is_base64_of_json(text.trim()) => {
            "is a JSON string with base64 of JSON in it, not an object: send the object itself"
                .to_owned()
        }
        Value::Array(values) if is_celery(values) => {
            "is a task message of Celery: publish the message itself as the body, for example with \
             kombu's Producer and serializer=\"json\", or with pika"
                .to_owned()
        }
        Value::Array(values) if values.len() == 1 && values[0].is_object() => {
            "is an array with an object in it, not an object: send each message by itself".to_owned()
        }
        other => format!("is {}, not an object", named(other)),
    }
}

/// Celery's second protocol: arguments, named arguments, and what comes after the task.
fn is_celery(values: &[Value]) -> bool {
    matches!(values, [Value::Array(_), Value::Object(_), Value::Object(then)]
        if then.contains_key("callbacks") || then.contains_key("chord"))
}

/// A kind of JSON value, with its article.
pub(super) fn named(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(true) => "true",
        Value::Bool(false) => "false",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

/// Envelopes by the fields that they have, what they are, and where in them the message is.
const ENVELOPES: [(&[&str], &str, &str); 17] = [
    (&["specversion", "source"], "a CloudEvents envelope", "data"),
    (&["TopicArn", "Message"], "an envelope of Amazon SNS", "Message"),
    (&["detail-type", "detail"], "an envelope of Amazon EventBridge", "detail"),
    (&["Records"], "an envelope of AWS", "Records"),
    (&["subscription", "message"], "an envelope of Google Pub/Sub", "message.data"),
    (&["task", "args", "kwargs"], "a task message of Celery", "args"),
    (&["task_name", "args", "kwargs"], "a task message of Taskiq", "args"),
    (&["actor_name", "args", "kwargs"], "a task message of Dramatiq", "args"),
    (&["body", "properties", "headers"], "an envelope of kombu", "body"),
    (&["messageType", "message"], "an envelope of MassTransit", "message"),
    (&["pattern", "data"], "an envelope of NestJS", "data"),
    (&["jsonrpc", "method"], "a JSON-RPC call", "params"),
    (&["job_class", "arguments"], "a job of Rails' ActiveJob", "arguments"),
    (&["class", "args", "jid"], "a job of Sidekiq", "args"),
    (&["displayName", "job", "data"], "a job of Laravel", "data"),
    (&["schema", "payload"], "an envelope of Kafka Connect", "payload"),
    (&["eventType", "data"], "an envelope of Azure Event Grid", "data"),
];

/// Fields of a start message that show that an object is one.
const START_FIELDS: [&str; 4] = ["runtime", "entrypoint", "file_path", "entrypoint_files"];

/// All fields of a stop message.
const STOP_FIELDS: [&str; 4] = ["id", "run_id", "reason", "timeout_seconds"];

/// The envelope that a JSON object is, as the end of a sentence.
pub(super) fn envelope_of(object: &Map<String, Value>) -> Option<String> {
    if looks_like_start(object) {
        return None;
    }
    let known =
        ENVELOPES.iter().find(|(fields, ..)| fields.iter().all(|f| object.contains_key(*f)));
    if let Some((_, what, field)) = known {
        return Some(format!(
            "is {what}: the body must be the message itself, here what is in {field:?}"
        ));
    }
    let (field, _) =
        object.iter().find(|(_, value)| value.as_object().is_some_and(looks_like_start))?;
    let field = super::violation::quoted(field);
    Some(format!("is an envelope: the body must be the message itself, here what is in {field}"))
}

/// Whether it says what a start message says, whatever else is wrong with it.
pub(super) fn looks_like_start(object: &Map<String, Value>) -> bool {
    START_FIELDS.iter().filter(|field| object.contains_key(**field)).count() >= 2
}

/// Whether it says what a stop message says, and nothing else.
pub(super) fn looks_like_stop(object: &Map<String, Value>) -> bool {
    object.contains_key("id") && object.keys().all(|field| STOP_FIELDS.contains(&field.as_str()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_libraries_send_instead_of_json_is_named_with_advice() {
        let bson = [&[14, 0, 0, 0, 2][..], b"id\0\x01\0\0\0\0\0"].concat();
        let cases: [(&[u8], &str); 20] = [
            (b"\xff\xfe{\0\"\0", "is UTF-16 text, not JSON: send the message as JSON text"),
            (b"{\0\"\0i\0", "is UTF-16 text"),
            (b"\0{\0\"", "is UTF-16 text"),
            (b"\xff\xfe\0\0{\0\0\0", "is UTF-32 text"),
            (b"{\0\0\0\"\0\0\0", "is UTF-32 text"),
            (b"\xac\xed\0\x05sr\0\x11java.util.HashMap", "is a serialized Java object"),
            (b"\x80\x04\x95\x10\0\0\0}\x94.", "is a Python pickle, not JSON: send json.dumps"),
            (b"(dp0\nS'id'\np1\n.", "is a Python pickle"),
            (b"\x82\xa2id\xa1a\xa1b\x01", "is MessagePack"),
            (b"\xa1bidaa", "is CBOR"),
            (b"\x83t\0\0\0\x01", "is an Erlang term"),
            (&bson, "is BSON"),
            (b"a:1:{s:2:\"id\";s:1:\"a\";}", "is serialized by PHP"),
            (b"<job id='x'/>", "is XML"),
            (b"{'id': 'a', 'x': True}", "is a dict as Python prints it"),
            (b"eyJpZCI6ICJhIn0=", "is JSON in base64, not JSON: send the text itself"),
            (b"[object Object]", "is a JavaScript object as text"),
            (b"id=a&runtime=python3.11", "is form data"),
            (b"id: x\nruntime: python3.11\n", "is perhaps YAML"),
            (b"PK\x03\x04", "is a zip, not JSON: upload the code"),
        ];
        for (body, what) in cases {
            let said = format_of(body).unwrap_or_default();
            assert!(said.starts_with(what), "{body:?}: {said}");
        }
        for other in [&b""[..], b"{", b"stop", b"\x80", b"{\"id\": \"a\",}", b"\xff", b"Hello, you"]
        {
            assert_eq!(format_of(other), None);
        }
    }

    #[test]
    fn words_of_other_languages_are_told_with_advice() {
        for (text, advice) in [
            ("{\"a\": NaN}", "NaN is not a number of JSON"),
            ("{\"a\":\n [1, Infinity]}", "Infinity is not a number of JSON"),
            ("{\"a\": -Infinity}", "Infinity is not a number of JSON"),
            ("{\"a\": None}", "this is how Python prints null"),
            ("{\"a\": [True]}", "this is how Python prints true"),
            ("{\"a\": undefined}", "undefined is not JSON"),
            ("{\"a\": 'b'}", "strings have double quotes in JSON"),
        ] {
            let error = serde_json::from_str::<Value>(text).unwrap_err();
            let said = advice_at(text.as_bytes(), error.line(), error.column()).unwrap_or_default();
            assert!(said.starts_with(advice), "{text}: {error}: {said}");
        }
        assert_eq!(advice_at(b"{", 1, 2), None);
        assert_eq!(advice_at(b"", 0, 0), None);
    }

    #[test]
    fn what_is_no_object_is_said_to_be_what_it_is() {
        for (value, what) in [
            (json!("{\"id\": \"a\"}"), "is a JSON string with JSON in it, not an object"),
            (json!("eyJpZCI6ICJhIn0="), "is a JSON string with base64 of JSON in it"),
            (json!("start"), "is a string, not an object"),
            (json!(7), "is a number, not an object"),
            (json!(null), "is null, not an object"),
            (json!(["x"]), "is an array, not an object"),
            (json!([{"id": "x"}]), "is an array with an object in it, not an object"),
            (
                json!([["a"], {}, {"callbacks": null, "errbacks": null}]),
                "is a task message of Celery: publish",
            ),
        ] {
            let said = kind_of(&value);
            assert!(said.starts_with(what), "{said}");
        }
    }

    #[test]
    fn an_envelope_is_named_and_a_message_is_none() {
        let start = json!({"id": "a", "runtime": "python3.11", "file_path": "a.zip"});
        for (envelope, what) in [
            (json!({"specversion": "1.0", "id": "1", "source": "/x", "data": start}), "\"data\""),
            (json!({"pattern": "start", "data": start}), "an envelope of NestJS"),
            (json!({"Type": "Notification", "TopicArn": "t", "Message": "{}"}), "Amazon SNS"),
            (json!({"id": "1", "task": "t", "args": [], "kwargs": {}}), "Celery"),
            (json!({"version": 1, "job": start}), "is an envelope: the body must be"),
        ] {
            let said = envelope_of(envelope.as_object().unwrap()).unwrap();
            assert!(said.contains(what), "{said}");
        }
        for message in [start, json!({"id": "a"}), json!({"config": {"a": {"id": 1}}}), json!({})] {
            assert_eq!(envelope_of(message.as_object().unwrap()), None);
        }
    }

    #[test]
    fn a_start_and_a_stop_are_told_apart() {
        let object = |value: Value| value.as_object().unwrap().clone();
        assert!(looks_like_stop(&object(json!({"id": "a", "reason": "r"}))));
        assert!(!looks_like_stop(&object(json!({"id": "a", "config": {}}))));
        assert!(!looks_like_stop(&object(json!({"reason": "r"}))));
        assert!(looks_like_start(&object(json!({"runtime": 1, "entrypoint": 2}))));
        assert!(!looks_like_start(&object(json!({"id": "a", "runtime": "x"}))));
    }
}
