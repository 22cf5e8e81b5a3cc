//! Sets the fields of an unfinished message.

use serde_json::{Map, Value, json};

pub(super) fn set(message: &mut Map<String, Value>, field: &str, value: Option<Value>) {
    if let Some(value) = value {
        message.insert(field.to_owned(), value);
    }
}

/// Sets a field of an object within the message. If the value there is no object, it stays, and the
/// check of the message refuses it.
pub(super) fn insert_below(
    message: &mut Map<String, Value>,
    field: &str,
    name: &str,
    value: Value,
) {
    let inner = message.entry(field.to_owned()).or_insert_with(|| json!({}));
    if let Value::Object(inner) = inner {
        inner.insert(name.to_owned(), value);
    }
}
