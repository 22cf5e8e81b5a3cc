//! What comes of a sweep: its rows, how far it is, and what its result event says.

use std::collections::BTreeMap;
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::json::JsonText;
use crate::verdict::Verdict;

/// How one config ended: a line of the sweep's table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SweepRow {
    /// The config's number, from 0.
    pub index: u64,
    /// What differs from the message's `config`.
    pub config: JsonText,
    /// How it ended.
    pub verdict: Verdict,
    /// One sentence about it.
    pub message: String,
    /// What its code returned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<JsonText>,
    /// The last part of what it wrote to stdout and stderr.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub output: String,
    /// How long it ran.
    pub duration_seconds: f64,
    /// The name of the worker.
    pub worker: String,
    /// In which attempt of the run.
    pub attempt: u32,
}

/// How far a sweep is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SweepProgress {
    /// How many configs have a row.
    pub done: u64,
    /// How many of these did not succeed.
    pub failed: u64,
    /// How many there are.
    pub total: u64,
    /// Rows a second, of late.
    pub per_second: f64,
    /// How many seconds the rest may take. Absent until that can be said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds_left: Option<f64>,
    /// The best row so far, if the message says what is best.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub best: Option<BestSoFar>,
}

impl fmt::Display for SweepProgress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} configs", self.done, self.total)?;
        if self.failed > 0 {
            write!(f, ", {} failed", self.failed)?;
        }
        if self.per_second > 0.0 {
            write!(f, ", {} a second", self.per_second)?;
        }
        if let Some(seconds) = self.seconds_left {
            write!(f, ", {seconds} s left")?;
        }
        match &self.best {
            Some(best) => write!(f, ", best {} (config {})", best.value, best.index),
            None => Ok(()),
        }
    }
}

/// The best row so far.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct BestSoFar {
    /// The config's number.
    pub index: u64,
    /// The value by which it is the best.
    pub value: f64,
}

/// What came of a sweep.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SweepSummary {
    /// How many configs there are. 0 if that is not known.
    pub total: u64,
    /// How many have a row.
    pub done: u64,
    /// How many of these did not succeed.
    pub failed: u64,
    /// How many rows there are of each verdict.
    pub verdicts: BTreeMap<String, u64>,
    /// The best rows, the best first, as far as they fit into 64 KiB.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub best: Vec<BestRow>,
}

/// One of the best rows. Of config and result only the numbers, texts and truth values; the names of
/// those in objects are joined by dots.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct BestRow {
    /// The config's number.
    pub index: u64,
    /// The value by which it is ranked. Absent if the result has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<f64>,
    /// What differs from the message's `config`.
    #[schemars(with = "Map<String, Value>")]
    pub config: JsonText,
    /// What its code returned.
    #[schemars(with = "Map<String, Value>")]
    pub result: JsonText,
}
