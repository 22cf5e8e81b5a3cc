//! JSON Schemas (2020-12) of everything that crosses the broker.

use schemars::transform::RecursiveTransform;
use schemars::{JsonSchema, Schema, generate::SchemaSettings};
use serde_json::{Value, json};

use super::{Event, Executable, LogLines, StopRequest};

/// A schema and the file that holds it.
pub struct NamedSchema {
    /// What it describes: `start`, `stop`, `event` or `log`.
    pub name: &'static str,
    /// The file's name under `schemas/`.
    pub file: &'static str,
    /// The schema.
    pub schema: Schema,
}

/// Every schema that integrators need.
#[must_use]
pub fn all() -> Vec<NamedSchema> {
    let received = SchemaSettings::draft2020_12();
    let published = SchemaSettings::draft2020_12()
        .for_serialize()
        .with_transform(RecursiveTransform(never_null));
    vec![
        named::<Executable>("start", "start.schema.json", received.clone()),
        named::<StopRequest>("stop", "stop.schema.json", received),
        named::<Event>("event", "event.schema.json", published.clone()),
        named::<LogLines>("log", "log.schema.json", published),
    ]
}

fn named<T: JsonSchema>(
    name: &'static str,
    file: &'static str,
    settings: SchemaSettings,
) -> NamedSchema {
    let tidy = RecursiveTransform(tidy as fn(&mut Schema));
    let mut schema = settings.with_transform(tidy).into_generator().into_root_schema_for::<T>();
    schema.insert("$id".to_owned(), format!("urn:longshore:schema:{name}.v1").into());
    NamedSchema { name, file, schema }
}

/// The formats that JSON Schema itself defines and that are used here.
const FORMATS: [&str; 2] = ["date-time", "uri-reference"];

/// Takes out what validators do not know, such as `uint64`, and line breaks that are there only
/// because a source line ends.
fn tidy(schema: &mut Schema) {
    let foreign = |format: &Value| format.as_str().is_some_and(|name| !FORMATS.contains(&name));
    if schema.get("format").is_some_and(foreign) {
        schema.remove("format");
    }
    if let Some(Value::String(text)) = schema.get_mut("description") {
        let paragraphs: Vec<_> = text.split("\n\n").map(|one| one.replace('\n', " ")).collect();
        *text = paragraphs.join("\n\n");
    }
}

/// What we publish leaves out what it does not have, and never writes `null`.
fn never_null(schema: &mut Schema) {
    let is_null = |one: &Value| *one == json!("null") || *one == json!({"type": "null"});
    if let Some(Value::Array(types)) = schema.get_mut("type") {
        types.retain(|one| !is_null(one));
        if let [only] = types.as_slice() {
            let only = only.clone();
            schema.insert("type".to_owned(), only);
        }
    }
    if let Some(Value::Array(choices)) = schema.get_mut("anyOf") {
        choices.retain(|one| !is_null(one));
        if let [Value::Object(only)] = choices.as_slice() {
            let only = only.clone();
            schema.remove("anyOf");
            only.into_iter().for_each(|(key, value)| {
                schema.insert(key, value);
            });
        }
    }
}

impl NamedSchema {
    /// The schema as it stands in its file.
    #[must_use]
    pub fn text(&self) -> String {
        format!("{:#}\n", self.schema.as_value())
    }
}
