//! The start message of a command line: a file, and flags on top of it. Pure but for the file.

use std::io::Read as _;
use std::path::Path;

use anyhow::Context as _;
use clap::Args;
use serde_json::{Map, Value, json};

use super::Failure;
use crate::job::{Executable, parse_executable};

/// The largest file or standard input that is read as JSON, in bytes.
const MAX_JSON_BYTES: u64 = 16 * 1024 * 1024;

/// The fields of a start message. A flag wins over the file.
#[derive(Debug, Default, Args)]
pub(super) struct OrderArguments {
    /// The job's id
    #[arg(long)]
    pub(super) id: Option<String>,
    /// python3.11 or nodejs20; by default as the script's name tells
    #[arg(long)]
    pub(super) runtime: Option<String>,
    /// bot or backtest; by default bot with --long-running, else backtest
    #[arg(long)]
    pub(super) entrypoint: Option<String>,
    /// The script of the entrypoint, as it is called in the zip; KIND=SCRIPT names another's
    #[arg(long = "file", value_name = "[KIND=]SCRIPT")]
    pub(super) files: Vec<String>,
    /// The key of the zip in the code bucket
    #[arg(long, value_name = "KEY")]
    pub(super) code: Option<String>,
    /// What the zip must hash to (SHA-256)
    #[arg(long, value_name = "HEX")]
    pub(super) code_sha256: Option<String>,
    /// What the code is given: a JSON object, or @FILE with one
    #[arg(long, value_name = "JSON|@FILE")]
    pub(super) job_config: Option<String>,
    /// Run until it is stopped, instead of to its end
    #[arg(long)]
    pub(super) long_running: bool,
    /// Store the result; by default true unless --long-running
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    pub(super) persist_results: Option<bool>,
    /// The id of this run; by default a new one
    #[arg(long, value_name = "ID")]
    pub(super) run_id: Option<String>,
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
    /// Seconds between two shipments of log lines
    #[arg(long, value_name = "SECONDS")]
    pub(super) log_interval: Option<u64>,
    /// Attempts when the host dies or the infrastructure fails
    #[arg(long, value_name = "N")]
    pub(super) max_attempts: Option<u32>,
}

impl OrderArguments {
    /// The message, of a file or `-` for standard input, and the flags.
    pub(super) fn executable(&self, file: Option<&Path>) -> Result<Executable, Failure> {
        self.executable_with(file, None)
    }

    /// As [`OrderArguments::executable`], with a key for the code where nothing names one.
    pub(super) fn executable_with(
        &self,
        file: Option<&Path>,
        key: Option<&str>,
    ) -> Result<Executable, Failure> {
        let mut message = match file {
            Some(path) => object(&read(path)?, &path.display().to_string())?,
            None => Map::new(),
        };
        self.lay_over(&mut message)?;
        if let Some(key) = key {
            message.entry("file_path").or_insert_with(|| key.into());
        }
        let body = Value::Object(message).to_string();
        parse_executable(body.as_bytes()).map_err(|error| {
            let problems: Vec<_> = error.violations.iter().map(ToString::to_string).collect();
            Failure::Usage(format!("the start message is wrong: {}", problems.join("; ")))
        })
    }

    fn lay_over(&self, message: &mut Map<String, Value>) -> Result<(), Failure> {
        let mut set = |field: &str, value: Option<Value>| {
            if let Some(value) = value {
                message.insert(field.to_owned(), value);
            }
        };
        let text = |text: &Option<String>| text.clone().map(Value::String);
        set("id", text(&self.id));
        set("runtime", text(&self.runtime));
        set("entrypoint", text(&self.entrypoint));
        set("file_path", text(&self.code));
        set("code_sha256", text(&self.code_sha256));
        set("run_id", text(&self.run_id));
        set("network", text(&self.network));
        set("is_long_running", self.long_running.then_some(Value::Bool(true)));
        set("persist_results", self.persist_results.map(Value::Bool));
        set("timeout_seconds", self.timeout.map(Value::from));
        set("log_interval_seconds", self.log_interval.map(Value::from));
        set("max_attempts", self.max_attempts.map(Value::from));
        set("config", self.job_config.as_deref().map(config).transpose()?);
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
        self.fill_in(message);
        Ok(())
    }

    /// What follows from what is there.
    fn fill_in(&self, message: &mut Map<String, Value>) {
        let or = |message: &mut Map<String, Value>, field: &str, value: Value| {
            message.entry(field.to_owned()).or_insert(value);
        };
        or(message, "is_long_running", false.into());
        let is_long_running = message["is_long_running"] == true;
        or(message, "persist_results", (!is_long_running).into());
        or(message, "entrypoint", if is_long_running { "bot" } else { "backtest" }.into());
        or(message, "config", json!({}));
        let kind = message["entrypoint"].as_str().unwrap_or_default().to_owned();
        for file in &self.files {
            let (kind, script) = file.split_once('=').unwrap_or((&kind, file));
            insert_below(message, "entrypoint_files", kind, script.into());
        }
        let script = message.get("entrypoint_files").and_then(|files| files.get(&kind));
        let runtime = script.and_then(Value::as_str).and_then(runtime_of);
        if let Some(runtime) = runtime {
            or(message, "runtime", runtime.into());
        }
    }
}

/// The runtime that a script's name tells.
pub(super) fn runtime_of(script: &str) -> Option<&'static str> {
    match Path::new(script).extension()?.to_str()? {
        "py" => Some("python3.11"),
        "js" | "mjs" | "cjs" => Some("nodejs20"),
        _ => None,
    }
}

/// Sets a field of an object within the message. Where something else is in its place, that is
/// left for the message's own check to refuse.
fn insert_below(message: &mut Map<String, Value>, field: &str, name: &str, value: Value) {
    let inner = message.entry(field.to_owned()).or_insert_with(|| json!({}));
    if let Value::Object(inner) = inner {
        inner.insert(name.to_owned(), value);
    }
}

/// The config of `--job-config`.
pub(super) fn config(text: &str) -> Result<Value, Failure> {
    let object = match text.strip_prefix('@') {
        Some(path) => object(&read(Path::new(path))?, path)?,
        None => object(text.as_bytes(), "--job-config")?,
    };
    Ok(Value::Object(object))
}

fn object(body: &[u8], source: &str) -> Result<Map<String, Value>, Failure> {
    serde_json::from_slice(body)
        .map_err(|error| Failure::Usage(format!("{source} is not a JSON object: {error}")))
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    let mut body = Vec::new();
    let read = if path == Path::new("-") {
        std::io::stdin().lock().take(MAX_JSON_BYTES).read_to_end(&mut body)
    } else {
        std::fs::File::open(path).and_then(|file| file.take(MAX_JSON_BYTES).read_to_end(&mut body))
    };
    read.with_context(|| format!("{} cannot be read", path.display()))
        .map_err(|error| Failure::Usage(format!("{error:#}")))?;
    Ok(body)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::{Entrypoint, Network, Runtime};

    fn flags() -> OrderArguments {
        OrderArguments {
            id: Some("a".to_owned()),
            files: vec!["src/run.py".to_owned()],
            code: Some("a.zip".to_owned()),
            ..OrderArguments::default()
        }
    }

    fn problem(flags: &OrderArguments) -> String {
        match flags.executable(None) {
            Err(Failure::Usage(problem)) => problem,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_few_flags_are_a_backtest() {
        let message = flags().executable(None).unwrap();
        assert_eq!(
            (message.runtime, message.entrypoint),
            (Runtime::Python311, Entrypoint::Backtest)
        );
        assert_eq!(message.entrypoint_files["backtest"], "src/run.py");
        assert!(message.persist_results && !message.is_long_running);
        assert!(message.config.is_empty() && message.limits.is_none());
    }

    #[test]
    fn long_running_is_a_bot() {
        let flags = OrderArguments {
            long_running: true,
            files: vec!["main.mjs".to_owned(), "backtest=b.mjs".to_owned()],
            ..flags()
        };
        let message = flags.executable(None).unwrap();
        assert_eq!((message.runtime, message.entrypoint), (Runtime::NodeJs20, Entrypoint::Bot));
        assert_eq!(message.entrypoint_files.len(), 2);
        assert!(!message.persist_results && message.is_long_running);
    }

    #[test]
    fn flags_win_over_the_file_and_leave_the_rest_of_it() {
        let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas/examples");
        let flags = OrderArguments {
            id: Some("other".to_owned()),
            memory_mb: Some(64),
            network: Some("host".to_owned()),
            env: vec!["A=b=c".to_owned()],
            job_config: Some(r#"{"x": 1}"#.to_owned()),
            ..OrderArguments::default()
        };
        let message = flags.executable(Some(&examples.join("start.bot-all-fields.json"))).unwrap();
        assert_eq!((message.id.as_str(), message.network), ("other", Some(Network::Host)));
        assert_eq!(message.limits.unwrap().memory_mb, Some(64));
        assert_eq!(
            (message.env["A"].as_str(), message.env["NODE_ENV"].as_str()),
            ("b=c", "production")
        );
        assert_eq!(Value::Object(message.config), json!({"x": 1}));
        assert!(message.restart.is_some() && message.health_check.is_some());
    }

    #[test]
    fn mistakes_name_the_flag_or_the_field() {
        let with = |change: fn(&mut OrderArguments)| {
            let mut flags = flags();
            change(&mut flags);
            problem(&flags)
        };
        assert!(with(|f| f.id = None).contains("missing field `id`"));
        assert!(with(|f| f.id = Some("../x".into())).contains("id: \"../x\" is not an id"));
        assert!(with(|f| f.files.clear()).contains("missing field `runtime`"));
        assert!(with(|f| f.env = vec!["A".into()]).contains("--env \"A\" is not"));
        assert!(with(|f| f.job_config = Some("[1]".into())).contains("--job-config is not a JSON"));
        let gone = with(|f| f.job_config = Some("@/nowhere".into()));
        assert!(gone.starts_with("/nowhere cannot be read: No such file"), "{gone}");
    }
}
