//! The messages that publishers send, as they stand on the wire.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use schemars::JsonSchema;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use super::inputs::Input;
use super::json::{self, JsonText};
use super::state::StateRequest;
use super::sweep::SweepRequest;
use super::{JobId, RunId, RuntimeName, env};

/// A start message: what to run, and how. Debug output shows no values of config and environment.
#[derive(Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(
    title = "Start message",
    extend("allOf" = [
        {
            "if": {"properties": {"entrypoint": {"const": "bot"}}},
            "then": {"properties": {"entrypoint_files": {
                "required": ["bot"],
                "properties": {"bot": {"minLength": 1, "maxLength": 1024, "pattern": r"^[^/\\][^\\]*$"}}
            }}}
        },
        {
            "if": {"properties": {"entrypoint": {"const": "backtest"}}},
            "then": {"properties": {"entrypoint_files": {
                "required": ["backtest"],
                "properties": {"backtest": {"minLength": 1, "maxLength": 1024, "pattern": r"^[^/\\][^\\]*$"}}
            }}}
        },
        {
            "if": {"properties": {"is_long_running": {"const": false}}},
            "then": {"properties": {
                "restart": {"type": "null"}, "health_check": {"type": "null"}, "state": {"type": "null"}
            }}
        },
        {
            "if": {"properties": {"is_long_running": {"const": true}}},
            "then": {"properties": {"sweep": {"type": "null"}}}
        }
    ])
)]
pub struct Executable {
    /// The job's id. One job of an id runs at a time.
    pub id: JobId,
    /// What the program runs in: a language with its version, or a program of its own.
    pub runtime: RuntimeName,
    /// Which of the entrypoint files to run.
    pub entrypoint: Entrypoint,
    /// The script of each entrypoint, relative to the archive's root.
    #[schemars(example = serde_json::json!({"bot": "main.py", "backtest": "backtest.py"}))]
    pub entrypoint_files: BTreeMap<String, String>,
    /// The key of the zip in the code bucket. It does not end in a slash and has no backslash.
    #[schemars(
        length(min = 1, max = 1024),
        regex(pattern = r"^[^\u0000-\u001f\u007f\\]*[^\u0000-\u001f\u007f\\/]$")
    )]
    pub file_path: String,
    /// Passed to the code unchanged.
    #[serde(deserialize_with = "json::object")]
    #[schemars(with = "Map<String, Value>")]
    pub config: JsonText,
    /// `true`: runs until it is stopped. `false`: runs to its end and returns a result.
    pub is_long_running: bool,
    /// Whether a terminating run's result.json is stored as `{id}/analysis.json`.
    pub persist_results: bool,
    /// The id of this execution. By default derived from the message's `message_id`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_id: Option<RunId>,
    /// SHA-256 of the zip, in hexadecimal. Checked when given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = "^[0-9a-f]{64}$"))]
    pub code_sha256: Option<String>,
    /// Seconds after which the run is ended as `timed_out`.
    /// By default the worker's setting for terminating runs, and none for long-running ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub timeout_seconds: Option<u64>,
    /// Resources. By default, and at most, what the worker's settings say.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "only_object")]
    pub limits: Option<LimitsRequest>,
    /// The container's network. By default the worker's setting.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<Network>,
    /// More environment variables, at most 1,000, with 512 KiB in all. Those by which the shell, the
    /// loader or an interpreter runs or loads something before the script are refused, and so are those
    /// that the worker sets.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend(
        "propertyNames" = env::names_schema(),
        "properties" = env::values_schema(),
        "maxProperties" = 1000
    ))]
    pub env: BTreeMap<String, String>,
    /// What must not be seen in logs, results and events: names of variables in `env`, and places of texts in `config`
    /// as JSON Pointers, such as `/exchange/api_key`. Each text must have 4 to 8,192 bytes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(inner(regex(pattern = "^([A-Za-z_][A-Za-z0-9_]{0,254}|/.*)$")), length(max = 100))]
    pub secrets: Vec<String>,
    /// Seconds between two shipments of log lines. By default the worker's setting.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 3600))]
    pub log_interval_seconds: Option<u64>,
    /// How often a terminating run is tried when its host dies or our infrastructure fails.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    pub max_attempts: Option<u32>,
    /// Whether code that ended by itself is run again. By default never.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "only_object")]
    pub restart: Option<RestartPolicy>,
    /// How to tell whether a bot is well.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "only_object")]
    pub health_check: Option<HealthCheck>,
    /// Runs the code once for each of many configs. Only for runs that end by themselves.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "only_object")]
    pub sweep: Option<SweepRequest>,
    /// Asks for artifacts: files that the program leaves in the directory `ARTIFACTS_DIR` are stored when
    /// it ends, and listed in the result event.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "only_object")]
    pub artifacts: Option<ArtifactsRequest>,
    /// Asks for a state: the program finds what it kept last in the file `STATE_FILE`, and keeps there what
    /// its next attempt, or the next run of the job, is to find. Only for runs that last until they are
    /// stopped.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "only_object")]
    pub state: Option<StateRequest>,
    /// Objects of the inputs bucket that the program finds among its own files, read-only. At most as
    /// many, and together as large, as the worker's settings allow.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "only_objects")]
    #[schemars(length(max = 100))]
    pub inputs: Vec<Input>,
}

/// An object or null. serde would also read a struct from an array, field by field.
fn only_object<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    struct ObjectVisitor<T>(PhantomData<T>);

    impl<'de, T: Deserialize<'de>> Visitor<'de> for ObjectVisitor<T> {
        type Value = Option<T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_unit<E>(self) -> Result<Option<T>, E> {
            Ok(None)
        }

        fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Option<T>, A::Error> {
            T::deserialize(MapAccessDeserializer::new(map)).map(Some)
        }
    }

    deserializer.deserialize_any(ObjectVisitor(PhantomData))
}

/// A list of objects, none of them null.
fn only_objects<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Vec<T>, D::Error> {
    struct Item<T>(T);

    impl<'de, T: Deserialize<'de>> Deserialize<'de> for Item<T> {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            let item = only_object(deserializer)?;
            item.map(Self).ok_or_else(|| D::Error::custom("null is not an object"))
        }
    }

    let items = Vec::<Item<T>>::deserialize(deserializer)?;
    Ok(items.into_iter().map(|Item(item)| item).collect())
}

impl fmt::Debug for Executable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Executable")
            .field("id", &self.id)
            .field("run_id", &self.run_id)
            .field("runtime", &self.runtime)
            .field("entrypoint", &self.entrypoint)
            .field("file_path", &self.file_path)
            .field("is_long_running", &self.is_long_running)
            .field("config", &self.config.keys())
            .field("env", &self.env.keys().collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}

/// The two kinds of program. The kind is also the name of the code's directory.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Entrypoint {
    /// A trading bot, at `/bot`.
    Bot,
    /// A backtest, at `/backtest`.
    Backtest,
}

impl Entrypoint {
    /// The entrypoint's name on the wire, which is also the name of its directory.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bot => "bot",
            Self::Backtest => "backtest",
        }
    }
}

impl fmt::Display for Entrypoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Resources that a message asks for. By default the worker's settings.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LimitsRequest {
    /// Memory in MiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 6))]
    pub memory_mb: Option<u64>,
    /// Relative weight when processors are scarce; 1,024 is one full share.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 2))]
    pub cpu_shares: Option<u64>,
    /// Processors at most, for example 0.5.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.01))]
    pub cpus: Option<f64>,
    /// Processes and threads at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub pids: Option<u64>,
}

/// How many artifacts there may be. By default, and at most, what the worker's settings say.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ArtifactsRequest {
    /// What they may hold together, in MiB. They lie in the container's memory until it ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub max_mb: Option<u64>,
    /// Files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub max_files: Option<u32>,
}

/// The container's network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Network {
    /// The host's own network.
    Host,
    /// The engine's default bridge.
    Bridge,
    /// No network at all.
    None,
}

impl Network {
    /// The network's name, as the engine knows it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::Bridge => "bridge",
            Self::None => "none",
        }
    }
}

/// Whether, and how often, code that ended by itself is run again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RestartPolicy {
    /// After which ends.
    pub when: RestartWhen,
    /// How often at most.
    #[serde(default = "default_max_restarts")]
    #[schemars(range(min = 1, max = 1000))]
    pub max_restarts: u32,
    /// Seconds to wait before the first restart; doubled for each further one, up to 5 minutes.
    #[serde(default = "default_restart_backoff_seconds")]
    #[schemars(range(min = 1, max = 300))]
    pub backoff_seconds: u64,
}

fn default_max_restarts() -> u32 {
    3
}

fn default_restart_backoff_seconds() -> u64 {
    1
}

/// After which ends code is run again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RestartWhen {
    /// After a failure or running out of memory.
    OnFailure,
    /// After every end that nobody asked for.
    Always,
}

/// A command that the engine runs inside the container to tell whether it is well.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HealthCheck {
    /// The program and its arguments, at most 64 KiB in all. Exit code 0 means well.
    #[schemars(length(min = 1, max = 256))]
    pub command: Vec<String>,
    /// Seconds between two checks. The worker's settings say how few there may be.
    #[serde(default = "default_health_interval_seconds")]
    #[schemars(range(min = 1, max = 3600))]
    pub interval_seconds: u64,
    /// Seconds after which a check counts as failed.
    #[serde(default = "default_health_timeout_seconds")]
    #[schemars(range(min = 1, max = 3600))]
    pub timeout_seconds: u64,
    /// Failed checks in a row that make the container unhealthy.
    #[serde(default = "default_health_retries")]
    #[schemars(range(min = 1, max = 100))]
    pub retries: u32,
    /// Seconds after the start in which failures do not count.
    #[serde(default)]
    #[schemars(range(max = 3600))]
    pub start_period_seconds: u64,
}

fn default_health_interval_seconds() -> u64 {
    30
}

fn default_health_timeout_seconds() -> u64 {
    10
}

fn default_health_retries() -> u32 {
    3
}

/// A stop message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "Stop message")]
pub struct StopRequest {
    /// The job to stop.
    pub id: JobId,
    /// Only this run of the job. By default the active run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_id: Option<RunId>,
    /// Why, for the result event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub reason: Option<String>,
    /// Seconds between SIGTERM and SIGKILL.
    #[serde(default = "default_stop_timeout_seconds")]
    #[schemars(range(max = 600))]
    pub timeout_seconds: u64,
}

fn default_stop_timeout_seconds() -> u64 {
    30
}
