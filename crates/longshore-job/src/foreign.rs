//! Recognises messages in a foreign format, or in an envelope that a library adds. Names the
//! format, and says what to send instead.

use serde_json::{Map, Value};

const SEND_JSON: &str = "send the message as JSON text in UTF-8";

/// Describes bytes that are neither JSON nor a known format, as the end of a sentence. `what` says
/// what they should be.
pub(super) fn unnamed_format_of(body: &[u8], what: &str) -> Option<String> {
    let is_text = |byte: &u8| *byte >= b' ' || byte.is_ascii_whitespace();
    match std::str::from_utf8(body) {
        Err(error) if body.trim_ascii_start().starts_with(b"{") => {
            let (place, byte) = (error.valid_up_to(), body.get(error.valid_up_to())?);
            Some(format!(
                "is not UTF-8: byte {} is 0x{byte:02x}, as in text of another encoding: {SEND_JSON}",
                place + 1
            ))
        }
        Ok(text) if text.bytes().all(|byte| is_text(&byte)) => {
            let begins_otherwise = !text.trim_start().starts_with(['{', '[', '"']);
            begins_otherwise
                .then(|| format!("is not JSON: {what} is a JSON object, which begins with a brace"))
        }
        _ => Some(format!(
            "is binary data of a format that is not known here, not JSON: {SEND_JSON}"
        )),
    }
}

/// Describes bytes that are not JSON, as the end of a sentence.
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
    if let Some((_, what, advice)) = PRINTED.iter().find(|(begins, ..)| text.starts_with(begins)) {
        return Some((what, advice));
    }
    Some(match (first, second) {
        (Some(b'<'), _) => ("XML", SEND_JSON),
        (Some(b'{'), Some(b'\'')) => {
            ("a dict as Python prints it", "send json.dumps(message), not str(message)")
        }
        (Some(b'{'), _) if is_map_of(text, "=>") => {
            ("a hash as Ruby prints it", "send message.to_json, not message.to_s")
        }
        (Some(b'{'), _) if !begins_as_json(text) && is_map_of(text, "=") => (
            "a map as Java prints it",
            "send it as JSON text, for example with Jackson's ObjectMapper",
        ),
        (Some(b'{'), _) if !begins_as_json(text) && is_map_of(text, ":") => {
            ("an object whose names have no quotes", "send JSON.stringify(message) or the like")
        }
        (Some(b'a' | b'O'), Some(b':')) => ("serialized by PHP", "send json_encode($message)"),
        _ if is_base64_of_json(text) => ("JSON in base64", "send the text itself"),
        _ if is_hex_of_json(text) => ("JSON in hexadecimal", "send the text itself"),
        _ if text == "[object Object]" => {
            ("a JavaScript object as text", "send JSON.stringify(message)")
        }
        _ if text.starts_with("id=") && !text.contains('\n') => ("form data", SEND_JSON),
        _ if begins_like_yaml(text) => ("perhaps YAML", SEND_JSON),
        _ => return None,
    })
}

/// Beginnings that languages print for their values, what each is, and what to do instead.
const PRINTED: [(&str, &str, &str); 10] = [
    ("b'", "bytes as Python prints them", "send the bytes, not str(bytes)"),
    ("b\"", "bytes as Python prints them", "send the bytes, not str(bytes)"),
    ("<Buffer ", "a Buffer as Node.js prints it", "send the Buffer itself"),
    ("map[", "a map as Go prints it", "send what json.Marshal gives"),
    ("&{", "a struct as Go prints it", "send what json.Marshal gives"),
    ("%{", "a map as Elixir prints it", "send what Jason.encode! gives"),
    ("{\\\"", "JSON with a backslash before each quote", "send it without the backslashes"),
    ("%7B", "JSON in percent-encoding", "send the text itself"),
    ("System.", "a .NET object as text", "send what JsonSerializer.Serialize gives"),
    ("H4sI", "gzip in base64", "send the compressed bytes themselves"),
];

/// Whether the first name of an object has its quotes.
fn begins_as_json(text: &str) -> bool {
    text[1..].trim_start().starts_with('"')
}

/// Whether a text begins like a map whose first name, perhaps in quotes or as a symbol, is followed
/// by `sign`.
fn is_map_of(text: &str, sign: &str) -> bool {
    let inside = text[1..].trim_start().trim_start_matches([':', '"']);
    let name = inside.find(|c: char| !c.is_alphanumeric() && c != '_');
    let Some((name, rest)) = name.map(|end| inside.split_at(end)) else { return false };
    !name.is_empty() && rest.trim_start_matches('"').trim_start().starts_with(sign)
}

/// Whether the text is hexadecimal for bytes that begin with a brace.
fn is_hex_of_json(text: &str) -> bool {
    (text.starts_with("7b") || text.starts_with("7B"))
        && text.len().is_multiple_of(2)
        && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Whether the text is base64 for bytes that begin like a JSON object: `{"`, or a brace and white
/// space.
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

/// Words of other languages that JSON does not know, and what to write instead.
const OTHER_WORDS: [(&[u8], &str); 13] = [
    (b"NaN", "NaN is not a number of JSON: send null"),
    (b"Infinity", "Infinity is not a number of JSON: send null or a string"),
    (b"-Infinity", "Infinity is not a number of JSON: send null or a string"),
    (b"None", "this is how Python prints null: send json.dumps(message)"),
    (b"True", "this is how Python prints true: send json.dumps(message)"),
    (b"False", "this is how Python prints false: send json.dumps(message)"),
    (b"undefined", "undefined is not JSON: send JSON.stringify(message)"),
    (b"'", "strings have double quotes in JSON"),
    (b"/", "JSON has no comments"),
    (b"#", "JSON has no comments"),
    ("\u{201c}".as_bytes(), "the quotes of JSON are straight ones"),
    (b".", "a number begins with a digit in JSON"),
    (b"+", "a number begins with a digit or a minus in JSON"),
];

/// What to do about a text that stops being JSON in this line and column, both counted from 1.
pub(super) fn advice_at(text: &[u8], line: usize, column: usize) -> Option<&'static str> {
    let line = text.split(|byte| *byte == b'\n').nth(line.checked_sub(1)?)?;
    let rest = line.get(column.checked_sub(1)?..)?;
    let (_, advice) = OTHER_WORDS.iter().find(|(word, _)| rest.starts_with(word))?;
    Some(advice)
}

/// Describes a JSON value that is no object, as the end of a sentence.
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

/// Celery's second protocol: arguments, named arguments, and what follows the task.
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

/// Whether it looks like a start message, whatever is wrong with it.
pub(super) fn looks_like_start(object: &Map<String, Value>) -> bool {
    START_FIELDS.iter().filter(|field| object.contains_key(**field)).count() >= 2
}

/// Whether it has the fields of a stop message, and no others.
pub(super) fn looks_like_stop(object: &Map<String, Value>) -> bool {
    object.contains_key("id") && object.keys().all(|field| STOP_FIELDS.contains(&field.as_str()))
}

#[cfg(test)]
mod tests;
