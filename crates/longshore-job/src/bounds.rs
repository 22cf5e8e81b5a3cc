//! What an operator allows, and what a message gets when it says nothing.

use std::time::Duration;

use super::artifacts::ArtifactBounds;
use super::{Executable, Launcher, LimitsRequest, Network, Runtime, Runtimes};

/// What an operator allows and what a message gets when it says nothing.
#[derive(Debug, Clone, PartialEq)]
pub struct Bounds {
    /// Limits of a job that asks for none. A message may ask for less, not for more.
    pub limits: Limits,
    /// The network of a job whose message names none.
    pub network: Network,
    /// The networks that a message may name.
    pub allowed_networks: Vec<Network>,
    /// The time-out of a terminating run that names none.
    pub timeout: Duration,
    /// The longest time-out that a terminating run may name.
    pub max_timeout: Duration,
    /// The time between two shipments of log lines, where a message names none.
    pub log_interval: Duration,
    /// Attempts of a terminating run, where a message names none.
    pub max_attempts: u32,
    /// The shortest time between two health checks of a container.
    pub min_health_interval: Duration,
    /// How large a sweep may be.
    pub sweep: SweepBounds,
    /// Artifacts of a run that asks for them and does not say how many. A message may ask for less.
    pub artifacts: ArtifactBounds,
    /// The state of a bot that asks for one and does not say how large it may be, in KiB. A message may
    /// ask for less.
    pub state_max_kb: u64,
    /// The most inputs of a run.
    pub max_inputs: u32,
    /// The runtimes that a message may name.
    pub runtimes: Runtimes,
}

/// How large a sweep may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SweepBounds {
    /// The most configs.
    pub max_configs: u64,
    /// The most configs that run at a time.
    pub max_parallel: u32,
    /// The most bytes of all configs together, and of all rows together.
    pub max_bytes: u64,
    /// The largest result of one config, in bytes.
    pub max_result_bytes: u64,
    /// How much of the output of one config is kept, in bytes.
    pub output_bytes: u64,
}

impl Default for SweepBounds {
    fn default() -> Self {
        Self {
            max_configs: 100_000,
            max_parallel: 64,
            max_bytes: 64 << 20,
            max_result_bytes: 64 << 10,
            output_bytes: 4 << 10,
        }
    }
}

/// The resources of a container.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    /// Memory in MiB.
    pub memory_mb: u64,
    /// Relative weight when processors are scarce.
    pub cpu_shares: u64,
    /// Processors at most; `None`: as many as there are.
    pub cpus: Option<f64>,
    /// Processes and threads at most.
    pub pids: u64,
}

impl Default for Bounds {
    /// What an operator allows who sets nothing.
    fn default() -> Self {
        Self {
            limits: Limits { memory_mb: 512, cpu_shares: 512, cpus: None, pids: 256 },
            network: Network::Host,
            allowed_networks: vec![Network::Host, Network::Bridge, Network::None],
            timeout: Duration::from_hours(1),
            max_timeout: Duration::from_hours(24),
            log_interval: Duration::from_secs(30),
            max_attempts: 3,
            min_health_interval: Duration::from_secs(5),
            sweep: SweepBounds::default(),
            artifacts: ArtifactBounds { max_mb: 32, max_files: 200 },
            state_max_kb: 256,
            max_inputs: 16,
            runtimes: Runtimes::default(),
        }
    }
}

impl Bounds {
    /// The largest start or stop message that is read by default, in bytes.
    pub const DEFAULT_MESSAGE_BYTES: usize = 2 * 1024 * 1024;

    /// These bounds, widened to what a message asks for. The message was accepted under other
    /// bounds, and its job may go on.
    #[must_use]
    pub fn admitting(&self, message: &Executable) -> Self {
        let mut bounds = self.clone();
        if let Some(asked) = &message.limits {
            bounds.limits = self.limits.admitting(asked);
        }
        bounds.allowed_networks.extend(message.network);
        let asked = message.timeout_seconds.map(Duration::from_secs);
        bounds.max_timeout = bounds.max_timeout.max(asked.unwrap_or(bounds.timeout));
        if let Some(check) = &message.health_check {
            let asked = Duration::from_secs(check.interval_seconds);
            bounds.min_health_interval = bounds.min_health_interval.min(asked);
        }
        let most = SweepBounds {
            max_configs: u64::MAX,
            max_parallel: u32::MAX,
            max_bytes: u64::MAX,
            ..self.sweep
        };
        bounds.sweep = most;
        if let Some(asked) = &message.artifacts {
            let bounds = &mut bounds.artifacts;
            bounds.max_mb = bounds.max_mb.max(asked.max_mb.unwrap_or_default());
            bounds.max_files = bounds.max_files.max(asked.max_files.unwrap_or_default());
        }
        if let Some(asked) = &message.state {
            bounds.state_max_kb = bounds.state_max_kb.max(asked.max_kb.unwrap_or_default());
        }
        let inputs = u32::try_from(message.inputs.len()).unwrap_or(u32::MAX);
        bounds.max_inputs = bounds.max_inputs.max(inputs);
        if bounds.runtimes.get(message.runtime.as_str()).is_none() {
            // Nothing can be started in it; a container that runs already needs nothing of it.
            bounds.runtimes.set(Runtime::new(message.runtime.clone(), "", Launcher::Python));
        }
        bounds
    }
}

impl Limits {
    fn admitting(self, asked: &LimitsRequest) -> Self {
        let most = |most: u64, asked: Option<u64>| most.max(asked.unwrap_or_default());
        Self {
            memory_mb: most(self.memory_mb, asked.memory_mb),
            cpu_shares: most(self.cpu_shares, asked.cpu_shares),
            cpus: self.cpus.map(|most| most.max(asked.cpus.unwrap_or_default())),
            pids: most(self.pids, asked.pids),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{Job, parse_executable};

    fn bounds() -> Bounds {
        Bounds {
            limits: Limits { memory_mb: 64, cpu_shares: 128, cpus: Some(0.5), pids: 32 },
            network: Network::None,
            allowed_networks: vec![Network::None],
            timeout: Duration::from_mins(1),
            max_timeout: Duration::from_mins(1),
            ..Bounds::default()
        }
    }

    #[test]
    fn what_was_accepted_under_wider_bounds_is_admitted_and_nothing_else_is() {
        let message = |id: &str| {
            let text = json!({
                "id": id, "runtime": "python3.11", "entrypoint": "backtest",
                "entrypoint_files": {"backtest": "main.py"}, "file_path": "code.zip",
                "config": {}, "is_long_running": false, "persist_results": true, "network": "host",
                "timeout_seconds": 3600,
                "limits": {"memory_mb": 512, "cpu_shares": 512, "cpus": 2.0, "pids": 256},
            });
            parse_executable(text.to_string().as_bytes()).unwrap()
        };
        let wide = bounds().admitting(&message("job"));
        assert!(Job::validate(message("job"), &bounds(), None).is_err());
        let job = Job::validate(message("job"), &wide, None).unwrap();
        assert_eq!((job.limits.memory_mb, job.limits.cpus), (512, Some(2.0)));
        assert_eq!((job.network, job.timeout), (Network::Host, Some(Duration::from_hours(1))));

        let mut bad = message("job");
        bad.file_path = "../x".to_owned();
        assert!(Job::validate(bad.clone(), &bounds().admitting(&bad), None).is_err());
    }
}
