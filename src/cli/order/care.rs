//! The flags for bots that must go on: restarts, health checks and their state.

use clap::{Args, ValueEnum};
use serde_json::{Map, Value, json};

use super::fields::{insert_below, set};
use crate::cli::Failure;

/// After which ends a program is started again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum When {
    /// After a failure or running out of memory
    OnFailure,
    /// After every end that nobody asked for
    Always,
}

/// Restarts, health checks and the state. Only for long-running jobs.
#[derive(Debug, Default, Args)]
pub(in crate::cli) struct CareArguments {
    /// Start a long-running program again when it ends by itself
    #[arg(long, value_enum, value_name = "WHEN")]
    pub(super) restart: Option<When>,
    /// How often at most; by default 3 times
    #[arg(long, value_name = "N")]
    pub(super) max_restarts: Option<u32>,
    /// Seconds before the first restart, doubled for each further one; by default 1
    #[arg(long, value_name = "SECONDS")]
    pub(super) restart_backoff: Option<u64>,
    /// A command that the engine runs in the container of a long-running program: exit code 0 means
    /// well. Its words are separated by spaces, or it is a JSON array of words
    #[arg(long, value_name = "COMMAND")]
    pub(super) health_check: Option<String>,
    /// Seconds between two checks; by default 30
    #[arg(long, value_name = "SECONDS")]
    pub(super) health_interval: Option<u64>,
    /// Hand the state of a long-running program on from attempt to attempt and from run to run (see
    /// longshore state)
    #[arg(long)]
    pub(super) state: bool,
}

impl CareArguments {
    pub(super) fn lay_over(&self, message: &mut Map<String, Value>) -> Result<(), Failure> {
        let when = self.restart.map(|when| match when {
            When::OnFailure => "on_failure",
            When::Always => "always",
        });
        let command = self.health_check.as_deref().map(words).transpose()?;
        for (field, name, value) in [
            ("restart", "when", when.map(Value::from)),
            ("restart", "max_restarts", self.max_restarts.map(Value::from)),
            ("restart", "backoff_seconds", self.restart_backoff.map(Value::from)),
            ("health_check", "command", command.map(Value::from)),
            ("health_check", "interval_seconds", self.health_interval.map(Value::from)),
        ] {
            if let Some(value) = value {
                if message.get(field).is_some_and(Value::is_null) {
                    message.remove(field);
                }
                insert_below(message, field, name, value);
            }
        }
        if self.state {
            if message.get("state").is_some_and(Value::is_null) {
                message.remove("state");
            }
            message.entry("state").or_insert_with(|| json!({}));
        }
        set(message, "is_long_running", self.is_for_bots(message).then_some(Value::Bool(true)));
        Ok(())
    }

    /// Whether the flags mean a bot, where nothing says what it is.
    fn is_for_bots(&self, message: &Map<String, Value>) -> bool {
        let is_asked = self.restart.is_some() || self.health_check.is_some() || self.state;
        is_asked && !message.contains_key("is_long_running")
    }
}

/// The words of a command.
fn words(command: &str) -> Result<Vec<String>, Failure> {
    if command.trim_start().starts_with('[') {
        return serde_json::from_str(command).map_err(|error| {
            Failure::Usage(format!("--health-check is not a JSON array of words: {error}"))
        });
    }
    Ok(command.split_whitespace().map(str::to_owned).collect())
}
