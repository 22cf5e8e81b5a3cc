//! JSON Schemas (2020-12) of everything that crosses the broker.

use schemars::{JsonSchema, Schema, generate::SchemaSettings};

use super::{Event, Executable, StopRequest};

/// A schema and the file that holds it.
pub struct NamedSchema {
    /// The file's name under `schemas/`.
    pub file: &'static str,
    /// The schema.
    pub schema: Schema,
}

/// Every schema that integrators need.
#[must_use]
pub fn all() -> Vec<NamedSchema> {
    vec![
        NamedSchema { file: "start.schema.json", schema: of::<Executable>() },
        NamedSchema { file: "stop.schema.json", schema: of::<StopRequest>() },
        NamedSchema { file: "event.schema.json", schema: of::<Event>() },
    ]
}

fn of<T: JsonSchema>() -> Schema {
    SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<T>()
}

impl NamedSchema {
    /// The schema as it stands in its file.
    #[must_use]
    pub fn text(&self) -> String {
        format!("{:#}\n", self.schema.as_value())
    }
}
