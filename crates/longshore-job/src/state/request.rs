//! What a start message says about the state of a bot.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The state that a bot keeps across attempts, runs and workers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StateRequest {
    /// The most that it may have as JSON, in KiB. By default, and at most, the worker's setting.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub max_kb: Option<u64>,
    /// Whether this run begins without what earlier runs of the job kept. Its own later attempts have
    /// what it keeps itself.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub reset: bool,
}

/// The state that a run keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeptState {
    /// The most that it may have, in KiB.
    pub max_kb: u64,
    /// Whether the run begins without what earlier runs kept.
    pub reset: bool,
}
