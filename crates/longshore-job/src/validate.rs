//! From a start message to a job that can run. Every mistake is found here, before anything is
//! fetched.

mod runtime;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Component, Path};
use std::sync::Arc;
use std::time::Duration;

use self::runtime::check_runtime;
use super::artifacts::ArtifactBounds;
use super::bounds::{Bounds, Limits};
use super::env;
use super::inputs::{self, Input};
use super::object::{check_key, check_sha256};
use super::secrets::find_secrets;
use super::state::KeptState;
use super::sweep::Sweep;
use super::violation::{MAX_VIOLATIONS, MessageError, Violation, quoted, violation};
use super::{
    Entrypoint, Executable, HealthCheck, JobId, JsonText, LimitsRequest, Network, RestartPolicy,
    RunId, Runtime,
};

/// A validated start message: everything that a run needs, with no defaults left open. Debug output
/// shows no values of config, environment and secrets.
#[derive(Clone, PartialEq)]
pub struct Job {
    /// The job's id.
    pub id: JobId,
    /// This execution of it.
    pub run_id: RunId,
    /// What its program runs in.
    pub runtime: Arc<Runtime>,
    /// The kind of program.
    pub entrypoint: Entrypoint,
    /// The script to run, relative to the archive's root, with `/` between its parts.
    pub script: String,
    /// The key of the zip in the code bucket.
    pub code_key: String,
    /// The SHA-256 that the zip must have, in lower-case hexadecimal.
    pub code_sha256: Option<String>,
    /// Passed to the code.
    pub config: JsonText,
    /// Whether it runs until stopped.
    pub is_long_running: bool,
    /// Whether its result is stored.
    pub persist_results: bool,
    /// After which time the run ends as `timed_out`. Always set for a terminating run.
    pub timeout: Option<Duration>,
    /// Resources.
    pub limits: Limits,
    /// Network.
    pub network: Network,
    /// More environment variables.
    pub env: BTreeMap<String, String>,
    /// Texts that nobody may see.
    pub secrets: Vec<String>,
    /// Time between two shipments of log lines.
    pub log_interval: Duration,
    /// Attempts at most.
    pub max_attempts: u32,
    /// Whether code that ended by itself is run again.
    pub restart: Option<RestartPolicy>,
    /// How to tell whether a bot is well.
    pub health_check: Option<HealthCheck>,
    /// The many configs that it runs with.
    pub sweep: Option<Sweep>,
    /// How many artifacts it may leave, if any.
    pub artifacts: Option<ArtifactBounds>,
    /// What it keeps across attempts and runs, if anything.
    pub state: Option<KeptState>,
    /// The objects that it finds among its files.
    pub inputs: Vec<Input>,
}

impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Job")
            .field("id", &self.id)
            .field("run_id", &self.run_id)
            .field("runtime", &self.runtime.name)
            .field("entrypoint", &self.entrypoint)
            .field("script", &self.script)
            .field("code_key", &self.code_key)
            .field("is_long_running", &self.is_long_running)
            .field("limits", &self.limits)
            .field("config", &self.config.keys())
            .field("env", &self.env.keys().collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}

impl Job {
    /// Checks a start message against what this worker allows.
    ///
    /// If the message names no run, `message_id` names it. Without either, the run is new each
    /// time.
    pub fn validate(
        mut executable: Executable,
        bounds: &Bounds,
        message_id: Option<&str>,
    ) -> Result<Self, MessageError> {
        let mut found = Vec::new();
        let runtime = check_runtime(&executable, bounds, &mut found);
        let script = check_script(&executable, &mut found);
        check_texts(&executable, &mut found);
        let limits = check_limits(executable.limits.as_ref(), &bounds.limits, &mut found);
        let timeout = check_timeout(&executable, bounds, &mut found);
        check_policies(&executable, bounds, &mut found);
        let artifacts = check_artifacts(&executable, bounds.artifacts, &mut found);
        let state = KeptState::check(&executable, bounds.state_max_kb, &mut found);
        let secrets = find_secrets(&executable, &mut found);
        let asked = std::mem::take(&mut executable.inputs);
        let inputs = inputs::check(asked, &script, bounds.max_inputs, &mut found);
        let sweep =
            Sweep::check(&executable, runtime.as_deref(), &bounds.sweep, timeout, &mut found);
        let Some(runtime) = runtime.filter(|_| found.is_empty()) else {
            return Err(MessageError {
                violations: found,
                id: Some(executable.id),
                entrypoint: Some(executable.entrypoint),
                run_id: executable.run_id,
            });
        };
        let run_id = executable.run_id.unwrap_or_else(|| {
            let fresh = || uuid::Uuid::new_v4().to_string();
            RunId::derived(&executable.id, &message_id.map_or_else(fresh, str::to_owned))
        });
        Ok(Self {
            id: executable.id,
            run_id,
            runtime,
            entrypoint: executable.entrypoint,
            script,
            code_key: executable.file_path,
            code_sha256: executable.code_sha256,
            config: executable.config,
            is_long_running: executable.is_long_running,
            persist_results: executable.persist_results,
            timeout,
            limits,
            network: executable.network.unwrap_or(bounds.network),
            env: executable.env,
            secrets,
            log_interval: executable
                .log_interval_seconds
                .map_or(bounds.log_interval, Duration::from_secs),
            max_attempts: executable.max_attempts.unwrap_or(bounds.max_attempts),
            restart: executable.restart,
            health_check: executable.health_check,
            sweep,
            artifacts,
            state,
            inputs,
        })
    }
}

/// The script of the named entrypoint, with `.` parts removed.
fn check_script(executable: &Executable, found: &mut Vec<Violation>) -> String {
    let kind = executable.entrypoint.as_str();
    let Some(file) = executable.entrypoint_files.get(kind) else {
        let known: Vec<_> = executable.entrypoint_files.keys().map(String::as_str).collect();
        let problem = format!("has no file for the entrypoint {kind:?}; it names {known:?}");
        found.push(violation("entrypoint_files", problem));
        return String::new();
    };
    let mut parts = Vec::new();
    let mut plain = !file.is_empty() && file.len() <= 1024 && !file.chars().any(char::is_control);
    for component in Path::new(file).components() {
        match component {
            Component::Normal(part) => parts.push(part.to_string_lossy().into_owned()),
            Component::CurDir => {}
            Component::RootDir | Component::ParentDir | Component::Prefix(_) => plain = false,
        }
    }
    if !plain || parts.is_empty() {
        let problem = format!("{} is not a relative path inside the archive", quoted(file));
        found.push(violation(&format!("entrypoint_files.{kind}"), problem));
    } else if file.contains('\\') {
        let problem = format!("{} has a backslash: separate folders by '/'", quoted(file));
        found.push(violation(&format!("entrypoint_files.{kind}"), problem));
    }
    parts.join("/")
}

fn check_texts(executable: &Executable, found: &mut Vec<Violation>) {
    check_key("file_path", &executable.file_path, "a zip", found);
    if let Some(hash) = &executable.code_sha256 {
        check_sha256("code_sha256", hash, found);
    }
    check_env(executable, found);
}

fn check_env(executable: &Executable, found: &mut Vec<Violation>) {
    let env = &executable.env;
    if env.len() > MAX_VARIABLES {
        let problem = format!(
            "has {} variables, more than the {MAX_VARIABLES} allowed: put the rest into config",
            env.len()
        );
        return found.push(violation("env", problem));
    }
    let bytes: usize = env.iter().map(|(name, value)| name.len() + value.len() + 2).sum();
    if bytes > MAX_ENV_TOTAL_BYTES {
        let problem = format!(
            "takes {bytes} bytes, names included, more than the {MAX_ENV_TOTAL_BYTES} allowed: put \
             what is large into config, or into a file of the zip"
        );
        found.push(violation("env", problem));
    }
    for (name, value) in env {
        if found.len() >= MAX_VIOLATIONS {
            found.push(violation("env", "has more that is wrong than is told here"));
            break;
        }
        let starts_well = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        let only_allowed = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        let path = format!("env.{name}");
        if !starts_well || !only_allowed || name.len() > 255 {
            found.push(violation(&path, "is not the name of an environment variable"));
        } else if let Some(problem) = env::refusal(name, value) {
            found.push(violation(&path, problem));
        }
        if value.contains('\0') || value.len() > MAX_ENV_BYTES {
            let problem = format!("has a NUL or is longer than {MAX_ENV_BYTES} bytes");
            found.push(violation(&path, problem));
        }
    }
}

/// Linux caps one environment string at 128 KiB; this leaves room for the name.
const MAX_ENV_BYTES: usize = 120 * 1024;

/// The most variables: the engine takes seconds for tens of thousands, and every process that a
/// program starts copies them.
const MAX_VARIABLES: usize = 1000;

/// All variables together, in bytes, as they stand in memory. Linux takes 2 MiB for the environment
/// and arguments of a program, and the config may be among them, twice.
const MAX_ENV_TOTAL_BYTES: usize = 512 * 1024;

/// The most parts of a health check's command, and their bytes: the engine runs it again and again.
const MAX_COMMAND_PARTS: usize = 256;
const MAX_COMMAND_BYTES: usize = 64 * 1024;

/// More processors than any host has.
const MOST_CPUS: f64 = 4096.0;

fn check_limits(
    asked: Option<&LimitsRequest>,
    most: &Limits,
    found: &mut Vec<Violation>,
) -> Limits {
    let Some(asked) = asked else {
        return *most;
    };
    let mut whole = |field: &str, value: Option<u64>, least: u64, most: u64, setting: &str| {
        let value = value.unwrap_or(most);
        if value < least || value > most {
            let problem = format!("is {value}, not between {least} and {most} ({setting})");
            found.push(violation(&format!("limits.{field}"), problem));
        }
        value
    };
    let memory_mb = whole("memory_mb", asked.memory_mb, 6, most.memory_mb, "BOT_MEMORY_LIMIT_MB");
    let cpu_shares = whole("cpu_shares", asked.cpu_shares, 2, most.cpu_shares, "BOT_CPU_SHARES");
    let pids = whole("pids", asked.pids, 1, most.pids, "BOT_PIDS_LIMIT");
    if let Some(cpus) = asked.cpus {
        let ceiling = most.cpus.unwrap_or(MOST_CPUS);
        if !(0.01..=ceiling).contains(&cpus) {
            let problem = format!("is {cpus}, not between 0.01 and {ceiling} (BOT_CPUS)");
            found.push(violation("limits.cpus", problem));
        }
    }
    Limits { memory_mb, cpu_shares, cpus: asked.cpus.or(most.cpus), pids }
}

fn check_timeout(
    executable: &Executable,
    bounds: &Bounds,
    found: &mut Vec<Violation>,
) -> Option<Duration> {
    let asked = executable.timeout_seconds.map(Duration::from_secs);
    if asked == Some(Duration::ZERO) {
        found.push(violation("timeout_seconds", "is 0, less than the 1 required"));
    }
    if executable.is_long_running {
        return asked;
    }
    let timeout = asked.unwrap_or(bounds.timeout);
    if timeout > bounds.max_timeout {
        let (asked, most) = (timeout.as_secs(), bounds.max_timeout.as_secs());
        let problem = format!(
            "is {asked}, more than the {most} that this worker allows (JOB_MAX_TIMEOUT_SECONDS)"
        );
        found.push(violation("timeout_seconds", problem));
    }
    Some(timeout)
}

fn check_policies(executable: &Executable, bounds: &Bounds, found: &mut Vec<Violation>) {
    if let Some(network) = executable.network
        && !bounds.allowed_networks.contains(&network)
    {
        let network = network.as_str();
        let problem = format!("{network:?} is not allowed on this worker (BOT_ALLOWED_NETWORKS)");
        found.push(violation("network", problem));
    }
    let mut between = |path: &str, value: u64, least: u64, most: u64| {
        if value < least || value > most {
            found.push(violation(path, format!("is {value}, not between {least} and {most}")));
        }
    };
    if let Some(seconds) = executable.log_interval_seconds {
        between("log_interval_seconds", seconds, 1, 3600);
    }
    if let Some(attempts) = executable.max_attempts {
        between("max_attempts", attempts.into(), 1, 100);
    }
    if let Some(restart) = &executable.restart {
        between("restart.max_restarts", restart.max_restarts.into(), 1, 1000);
        between("restart.backoff_seconds", restart.backoff_seconds, 1, 300);
    }
    if let Some(check) = &executable.health_check {
        between("health_check.interval_seconds", check.interval_seconds, 1, 3600);
        between("health_check.timeout_seconds", check.timeout_seconds, 1, 3600);
        between("health_check.retries", check.retries.into(), 1, 100);
        between("health_check.start_period_seconds", check.start_period_seconds, 0, 3600);
    }
    if let Some(check) = &executable.health_check {
        check_health(check, bounds.min_health_interval, found);
    }
    let terminating = !executable.is_long_running;
    if terminating && executable.restart.is_some() {
        found.push(violation("restart", "is for long-running jobs only"));
    }
    if terminating && executable.health_check.is_some() {
        found.push(violation("health_check", "is for long-running jobs only"));
    }
}

fn check_artifacts(
    executable: &Executable,
    most: ArtifactBounds,
    found: &mut Vec<Violation>,
) -> Option<ArtifactBounds> {
    let asked = executable.artifacts.as_ref()?;
    if executable.sweep.is_some() {
        found.push(violation("artifacts", "are not for a sweep: its rows carry what it found"));
    }
    let max_mb = asked.max_mb.unwrap_or(most.max_mb);
    if !(1..=most.max_mb).contains(&max_mb) {
        let problem = format!(
            "is {max_mb}, not between 1 and {} (the least of ARTIFACTS_MAX_MB, BOT_TMP_MB and \
             BOT_FILE_SIZE_LIMIT_MB - 1)",
            most.max_mb
        );
        found.push(violation("artifacts.max_mb", problem));
    }
    let max_files = asked.max_files.unwrap_or(most.max_files);
    if !(1..=most.max_files).contains(&max_files) {
        let most = most.max_files;
        let problem = format!("is {max_files}, not between 1 and {most} (ARTIFACTS_MAX_FILES)");
        found.push(violation("artifacts.max_files", problem));
    }
    Some(ArtifactBounds { max_mb, max_files })
}

fn check_health(check: &HealthCheck, least: Duration, found: &mut Vec<Violation>) {
    if check.command.is_empty() {
        found.push(violation("health_check.command", "is empty"));
    }
    let bytes: usize = check.command.iter().map(String::len).sum();
    if check.command.len() > MAX_COMMAND_PARTS || bytes > MAX_COMMAND_BYTES {
        let problem = format!(
            "has more than {MAX_COMMAND_PARTS} parts or {MAX_COMMAND_BYTES} bytes: put it into a \
             script of the zip"
        );
        found.push(violation("health_check.command", problem));
    }
    let (interval, least) = (check.interval_seconds, least.as_secs());
    if (1..least).contains(&interval) {
        let problem = format!(
            "is {interval}, less than the {least} that this worker allows \
             (HEALTH_CHECK_MIN_INTERVAL_SECONDS)"
        );
        found.push(violation("health_check.interval_seconds", problem));
    }
}

#[cfg(test)]
mod tests;
