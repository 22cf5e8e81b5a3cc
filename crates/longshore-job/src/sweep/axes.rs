//! An object whose keys keep their order: the order of a grid's configs depends on it.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The most keys that differ between the configs of a sweep.
pub(super) const MAX_AXES: usize = 16;

/// Values by key, in the order of the message.
#[derive(Debug, Clone, PartialEq)]
pub struct Axes<T>(pub Vec<(String, T)>);

impl<T: Serialize> Serialize for Axes<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(key, value)| (key, value)))
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Axes<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AxesVisitor<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for AxesVisitor<T> {
            type Value = Axes<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Axes<T>, A::Error> {
                let mut axes: Vec<(String, T)> = Vec::new();
                while let Some(key) = map.next_key::<String>()? {
                    if axes.iter().any(|(known, _)| *known == key) {
                        return Err(A::Error::custom(format!("has the key {key:?} twice")));
                    }
                    if axes.len() == MAX_AXES {
                        let problem = format!("has more than the {MAX_AXES} keys allowed");
                        return Err(A::Error::custom(problem));
                    }
                    axes.push((key, map.next_value()?));
                }
                Ok(Axes(axes))
            }
        }

        deserializer.deserialize_map(AxesVisitor(PhantomData))
    }
}

impl<T: JsonSchema> JsonSchema for Axes<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("AxesOf{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let axis = generator.subschema_for::<T>();
        json_schema!({
            "type": "object",
            "minProperties": 1,
            "maxProperties": MAX_AXES,
            "propertyNames": {"minLength": 1, "maxLength": 256},
            "additionalProperties": axis,
        })
    }
}
