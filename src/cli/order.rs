//! The start message of a command line: a file, and flags that change it. Pure, except for reading
//! the file.

mod care;
mod fields;
mod inputs;

use std::io::Read as _;
use std::path::Path;

use anyhow::Context as _;
use clap::Args;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use self::care::CareArguments;
use self::fields::{insert_below, set};
use super::Failure;
use crate::job::{Executable, Runtimes, parse_executable};

/// The largest file or standard input that is read as JSON, in bytes.
const MAX_JSON_BYTES: u64 = 16 * 1024 * 1024;

/// What a job is, wherever it runs. A flag wins over the file.
#[derive(Debug, Default, Args)]
pub(super) struct JobArguments {
    /// The job's id
    #[arg(long)]
    pub(super) id: Option<String>,
    #[arg(long, help = runtime_help())]
    pub(super) runtime: Option<String>,
    /// bot or backtest; by default bot with --long-running, else backtest
    #[arg(long)]
    pub(super) entrypoint: Option<String>,
    /// The script's path inside the zip; KIND=SCRIPT names the script of another entrypoint
    #[arg(long = "file", value_name = "[KIND=]SCRIPT")]
    pub(super) files: Vec<String>,
    /// The JSON object that the script gets as its config, or @FILE with one
    #[arg(long, value_name = "JSON|@FILE")]
    pub(super) job_config: Option<String>,
    /// Run until it is stopped, instead of to its end
    #[arg(long)]
    pub(super) long_running: bool,
    /// Seconds after which it is ended
    #[arg(long, value_name = "SECONDS")]
    pub(super) timeout: Option<u64>,
    /// Memory in MB
    #[arg(long, value_name = "MB")]
    pub(super) memory_mb: Option<u64>,
    /// Processors at most
    #[arg(long, value_name = "N")]
    pub(super) cpus: Option<f64>,
    /// Weight when processors are scarce; 1024 is a full share
    #[arg(long, value_name = "N")]
    pub(super) cpu_shares: Option<u64>,
    /// Processes and threads at most
    #[arg(long, value_name = "N")]
    pub(super) pids: Option<u64>,
    /// host, bridge or none
    #[arg(long)]
    pub(super) network: Option<String>,
    /// One more environment variable; may be repeated
    #[arg(long, value_name = "NAME=VALUE")]
    pub(super) env: Vec<String>,
    /// What must not be seen in logs, results and events: a variable of --env, or a place in the
    /// config such as /exchange/password; may be repeated
    #[arg(long = "secret", value_name = "NAME|POINTER")]
    pub(super) secrets: Vec<String>,
    /// Store the files that the program leaves as artifacts (see longshore get)
    #[arg(long)]
    pub(super) artifacts: bool,
    /// A data set that the program finds at PATH among its files: its key in the inputs bucket, or a file
    /// here such as ./prices.csv. A zip or a tar is unpacked with FOLDER/ for PATH; may be repeated
    #[arg(long = "input", value_name = "KEY=PATH")]
    pub(super) inputs: Vec<String>,
    #[command(flatten)]
    pub(super) care: CareArguments,
}

fn runtime_help() -> String {
    let runtimes = Runtimes::default();
    let names: Vec<_> = runtimes.iter().map(|runtime| runtime.name.as_str()).collect();
    let names = names.join(", ");
    format!(
        "{names}, or another one of the workers; by default that of the script's file extension"
    )
}

/// The fields of a start message. A field's flag has the field's name, see the tests.
#[derive(Debug, Default, Args)]
pub(super) struct OrderArguments {
    #[command(flatten)]
    pub(super) job: JobArguments,
    /// The key of the zip in the code bucket
    #[arg(long, value_name = "KEY")]
    pub(super) code: Option<String>,
    /// What the zip must hash to (SHA-256)
    #[arg(long, value_name = "HEX")]
    pub(super) code_sha256: Option<String>,
    /// Store the result; by default true unless --long-running
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    pub(super) persist_results: Option<bool>,
    /// The id of this run; by default a new one
    #[arg(long, value_name = "ID")]
    pub(super) run_id: Option<String>,
    /// Seconds between two shipments of log lines
    #[arg(long, value_name = "SECONDS")]
    pub(super) log_interval: Option<u64>,
    /// Attempts when the host dies or the infrastructure fails
    #[arg(long, value_name = "N")]
    pub(super) max_attempts: Option<u32>,
}

impl OrderArguments {
    /// The message, of a file or `-` for standard input, and the flags.
    pub(super) fn executable(
        &self,
        file: Option<&Path>,
        runtimes: &Runtimes,
    ) -> Result<Executable, Failure> {
        let mut message = file.map_or_else(|| Ok(Draft::default()), message_of)?;
        self.lay_over(&mut message, runtimes)?;
        checked(&message)
    }

    /// Sets the fields of the flags, and fills in what follows from other fields.
    pub(super) fn lay_over(&self, message: &mut Draft, runtimes: &Runtimes) -> Result<(), Failure> {
        let fields = &mut message.fields;
        let text = |text: &Option<String>| text.clone().map(Value::String);
        set(fields, "file_path", text(&self.code));
        set(fields, "code_sha256", text(&self.code_sha256));
        set(fields, "run_id", text(&self.run_id));
        set(fields, "persist_results", self.persist_results.map(Value::Bool));
        set(fields, "log_interval_seconds", self.log_interval.map(Value::from));
        set(fields, "max_attempts", self.max_attempts.map(Value::from));
        self.job.lay_over(message, runtimes)
    }
}

/// An unfinished message, of a file or `-` for standard input.
pub(super) fn message_of(file: &Path) -> Result<Draft, Failure> {
    object(&read(file)?, &shown(file))
}

/// The message, as a worker would read it.
pub(super) fn checked(message: &Draft) -> Result<Executable, Failure> {
    let wrong = |why: &str| Failure::Usage(format!("the start message is wrong: {why}"));
    let body = serde_json::to_vec(message).map_err(|error| wrong(&error.to_string()))?;
    parse_executable(&body).map_err(|error| wrong(&error.to_string()))
}

/// An unfinished start message.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Draft {
    /// Its fields, except config and sweep.
    #[serde(flatten)]
    pub(super) fields: Map<String, Value>,
    /// The config as it was written, with every digit.
    #[serde(default, deserialize_with = "raw", skip_serializing_if = "Option::is_none")]
    pub(super) config: Option<Box<RawValue>>,
    /// The sweep as it was written: the order of a grid's keys decides about the order of its rows.
    #[serde(default, deserialize_with = "raw", skip_serializing_if = "Option::is_none")]
    pub(super) sweep: Option<Box<RawValue>>,
}

/// A value as it was written, including `null`.
fn raw<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Box<RawValue>>, D::Error> {
    Box::deserialize(deserializer).map(Some)
}

impl JobArguments {
    /// Sets the fields of the flags, and fills in what follows from other fields.
    pub(super) fn lay_over(&self, draft: &mut Draft, runtimes: &Runtimes) -> Result<(), Failure> {
        if let Some(text) = &self.job_config {
            draft.config = Some(config(text)?);
        }
        if draft.config.is_none() {
            draft.config = Some(config("{}")?);
        }
        let message = &mut draft.fields;
        let text = |text: &Option<String>| text.clone().map(Value::String);
        set(message, "id", text(&self.id));
        set(message, "runtime", text(&self.runtime));
        set(message, "entrypoint", text(&self.entrypoint));
        set(message, "network", text(&self.network));
        set(message, "is_long_running", self.long_running.then_some(Value::Bool(true)));
        set(message, "timeout_seconds", self.timeout.map(Value::from));
        let limits = [
            ("memory_mb", self.memory_mb.map(Value::from)),
            ("cpus", self.cpus.map(Value::from)),
            ("cpu_shares", self.cpu_shares.map(Value::from)),
            ("pids", self.pids.map(Value::from)),
        ];
        for (name, value) in limits {
            if let Some(value) = value {
                insert_below(message, "limits", name, value);
            }
        }
        for pair in &self.env {
            let (name, value) = pair.split_once('=').ok_or_else(|| {
                Failure::Usage(format!("--env {pair:?} is not of the form NAME=VALUE"))
            })?;
            insert_below(message, "env", name, value.into());
        }
        if !self.secrets.is_empty() {
            message.insert("secrets".to_owned(), json!(self.secrets));
        }
        if self.artifacts {
            message.entry("artifacts").or_insert_with(|| json!({}));
        }
        inputs::lay_over(&self.inputs, message)?;
        self.care.lay_over(message)?;
        self.fill_in(message, runtimes);
        Ok(())
    }

    fn fill_in(&self, message: &mut Map<String, Value>, runtimes: &Runtimes) {
        let or = |message: &mut Map<String, Value>, field: &str, value: Value| {
            message.entry(field.to_owned()).or_insert(value);
        };
        or(message, "is_long_running", false.into());
        let is_long_running = message["is_long_running"] == true;
        or(message, "persist_results", (!is_long_running).into());
        or(message, "entrypoint", if is_long_running { "bot" } else { "backtest" }.into());
        let kind = message["entrypoint"].as_str().unwrap_or_default().to_owned();
        for file in &self.files {
            let (kind, script) = file.split_once('=').unwrap_or((&kind, file));
            insert_below(message, "entrypoint_files", kind, script.into());
        }
        let script = message.get("entrypoint_files").and_then(|files| files.get(&kind));
        let script = script.and_then(Value::as_str);
        let runtime = script.and_then(|script| runtimes.of_script(script));
        if let Some(runtime) = runtime {
            or(message, "runtime", runtime.name.as_str().into());
        }
    }
}

/// The JSON of a flag, and what to call it: the flag's own text, or the file after an `@`.
pub(super) fn source<'a>(flag: &'a str, text: &'a str) -> Result<(&'a str, Vec<u8>), Failure> {
    match text.strip_prefix('@') {
        Some(path) => Ok((path, read(Path::new(path))?)),
        None => Ok((flag, text.as_bytes().to_vec())),
    }
}

/// The config of `--job-config`.
fn config(text: &str) -> Result<Box<RawValue>, Failure> {
    let (source, body) = source("--job-config", text)?;
    let raw: Box<RawValue> = object(&body, source)?;
    if raw.get().starts_with('{') {
        return Ok(raw);
    }
    Err(Failure::Usage(format!("{source} is not a JSON object")))
}

fn object<T: for<'de> Deserialize<'de>>(body: &[u8], source: &str) -> Result<T, Failure> {
    // Editors on Windows put it there.
    let text = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    serde_json::from_slice(text)
        .map_err(|error| Failure::Usage(format!("{source} is not a JSON object: {error}")))
}

fn shown(path: &Path) -> String {
    if path == Path::new("-") { "standard input".to_owned() } else { path.display().to_string() }
}

/// The content of a file, or of standard input for `-`, of which some is read as JSON.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    let mut body = Vec::new();
    let read = if path == Path::new("-") {
        std::io::stdin().lock().take(MAX_JSON_BYTES).read_to_end(&mut body)
    } else {
        std::fs::File::open(path).and_then(|file| file.take(MAX_JSON_BYTES).read_to_end(&mut body))
    };
    read.with_context(|| format!("{} cannot be read", shown(path)))
        .map_err(|error| Failure::Usage(format!("{error:#}")))?;
    Ok(body)
}

#[cfg(test)]
mod tests;
