//! The field `sweep` of a start message, as it is on the wire.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::axes::Axes;
use crate::Launcher;
use crate::json::JsonText;

/// Runs the code once for each of many configs. Exactly one of `grid`, `configs`, `sample` and
/// `configs_key` says which. Each is laid over the message's `config` by RFC 7396 (JSON Merge
/// Patch): objects are merged, any other value replaces the one there, and null removes it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SweepRequest {
    /// Every combination of these values. The last key changes fastest. A key is a field of
    /// `config`, or a JSON Pointer through objects, such as `/risk/stop`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grid: Option<Axes<GridAxis>>,
    /// These configs, one after the other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Vec<Map<String, Value>>>", length(min = 1, max = 100_000))]
    pub configs: Option<Vec<JsonText>>,
    /// Random configs. The same seed gives the same configs everywhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sample: Option<SampleRequest>,
    /// The key of an object in the code bucket with a config on each line (JSON Lines). It must not
    /// change while the sweep runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub configs_key: Option<String>,
    /// SHA-256 of that object, in hexadecimal. Checked when given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = "^[0-9a-f]{64}$"))]
    pub configs_sha256: Option<String>,
    /// How many configs run at a time. By default as many as the container has processors.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1024))]
    pub parallel: Option<u32>,
    /// Seconds after which a config is ended as `timed_out`. By default only the run's own
    /// `timeout_seconds` holds, for all configs together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 2_592_000))]
    pub timeout_seconds: Option<u64>,
    /// Which rows are the best.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub best: Option<BestRequest>,
    /// After how many configs that did not succeed the sweep ends as `failed`. By default never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub max_failures: Option<u64>,
    /// How configs are kept apart. By default `fork` for Python and `isolate` for Node.js.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub isolation: Option<Isolation>,
}

/// The values of one key of a grid.
#[derive(Debug, Clone, PartialEq)]
pub enum GridAxis {
    /// These values.
    Values(Vec<JsonText>),
    /// The numbers from `from` to `to`, both included, in steps of `step`. Exact decimals.
    Range {
        /// The first number.
        from: JsonText,
        /// The last number, if a step leads there.
        to: JsonText,
        /// The difference between two numbers.
        step: JsonText,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Range {
    from: JsonText,
    to: JsonText,
    step: JsonText,
}

impl<'de> Deserialize<'de> for GridAxis {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        let read = match raw.get().bytes().next() {
            Some(b'[') => serde_json::from_str(raw.get()).map(Self::Values),
            Some(b'{') => serde_json::from_str(raw.get())
                .map(|Range { from, to, step }| Self::Range { from, to, step }),
            _ => {
                return Err(D::Error::custom(
                    "is neither a list of values nor an object with from, to and step",
                ));
            }
        };
        read.map_err(D::Error::custom)
    }
}

impl Serialize for GridAxis {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.clone() {
            Self::Values(values) => values.serialize(serializer),
            Self::Range { from, to, step } => Range { from, to, step }.serialize(serializer),
        }
    }
}

impl JsonSchema for GridAxis {
    fn schema_name() -> Cow<'static, str> {
        "GridAxis".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "The values of one key of a grid: a list, or a range of numbers, both ends included.",
            "oneOf": [
                {"type": "array", "minItems": 1, "maxItems": 100_000},
                {
                    "type": "object",
                    "additionalProperties": false,
                    "required": ["from", "to", "step"],
                    "properties": {
                        "from": {"type": "number"}, "to": {"type": "number"}, "step": {"type": "number"},
                    },
                },
            ],
        })
    }
}

/// Random configs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SampleRequest {
    /// How many.
    #[schemars(range(min = 1, max = 10_000_000))]
    pub n: u64,
    /// What the values depend on, together with a config's number and the key.
    #[serde(default)]
    #[schemars(range(max = 9_007_199_254_740_991_u64))]
    pub seed: u64,
    /// From where each key takes its values. A key is written as in a grid.
    pub keys: Axes<SampleAxis>,
}

/// From where a key takes its random values.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SampleAxis {
    /// One of these values, each as likely as any other.
    Choice(#[schemars(with = "Vec<Value>", length(min = 1, max = 100_000))] Vec<JsonText>),
    /// A number between two numbers, to 12 significant digits.
    Uniform([f64; 2]),
    /// The same on a logarithmic scale; both numbers are above 0.
    LogUniform([f64; 2]),
    /// A whole number between two, both included.
    Int([i64; 2]),
}

/// Which rows are the best. Only configs that succeeded count. Of equal values, the lower number
/// comes first, and rows without the value come last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BestRequest {
    /// A number of the result: the name of a field, or a JSON Pointer.
    #[schemars(length(min = 1, max = 256))]
    pub by: String,
    /// Whether the largest or the smallest is best.
    #[serde(default)]
    pub goal: Goal,
    /// How many rows the result event names.
    #[serde(default = "default_keep")]
    #[schemars(range(min = 1, max = 100))]
    pub keep: u32,
}

fn default_keep() -> u32 {
    10
}

/// Whether the largest or the smallest value is best.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Goal {
    /// The largest.
    #[default]
    Max,
    /// The smallest.
    Min,
}

/// How the configs of a sweep are kept apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Isolation {
    /// Python's default: a process each, forked from one that has imported the script. If the import
    /// leaves more than one thread behind, each config gets a fresh interpreter as with `process`.
    Fork,
    /// Node.js's default: a worker thread each, which loads the script again.
    Isolate,
    /// Only for Node.js: many configs, one after the other, in one worker thread that has loaded the
    /// script. After a config that did not succeed, the next ones get a new thread.
    Shared,
    /// A fresh interpreter each, which imports the script again.
    Process,
}

impl Isolation {
    /// The name on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fork => "fork",
            Self::Isolate => "isolate",
            Self::Shared => "shared",
            Self::Process => "process",
        }
    }

    /// Those of a launcher, its default first. None where it has no sweeps.
    #[must_use]
    pub fn of(launcher: Launcher) -> &'static [Self] {
        match launcher {
            Launcher::Python => &[Self::Fork, Self::Process],
            Launcher::Node => &[Self::Isolate, Self::Shared, Self::Process],
            Launcher::Exec => &[],
        }
    }
}
