//! Settings: one struct for each concern, read once and passed down. Nothing below reads the
//! environment.
//!
//! [`Sources`] says where settings come from, [`table`] lists them, and [`Loader`] returns the
//! sections, or all mistakes at once. [`doc`] makes `docs/settings.md`.

mod broker_url;
mod credentials;
pub mod doc;
mod exposure;
mod kind;
mod layers;
mod loader;
mod mistake;
mod number;
mod profile;
mod read;
mod runtimes;
mod seccomp;
mod sections;
mod setting;
mod sources;
pub mod table;
mod url;
mod users;

#[cfg(test)]
mod tests;

pub use broker_url::{broker_urls, mask_broker_urls};
pub use exposure::{Exposure, NO_HOST_NETWORK, allows_host_network, exposures, is_loopback_host};
pub use kind::{Kind, Unit};
pub use loader::{Effective, Loader, Reader};
pub use mistake::{Mistake, Origin, SettingsErrors};
pub use profile::Profile;
pub use seccomp::SeccompProfile;
pub use sections::{
    BrokerSettings, CodeCacheSettings, DeadLetterBounds, EngineLog, HttpSettings, LogFormat,
    LogSettings, PackSettings, RunnerSettings, StoreSettings, TelemetrySettings, TracesSettings,
    WarmSettings, WorkerSettings,
};
pub use sources::{FILE_VARIABLE, Sources};
pub(crate) use table::{MAX_MESSAGE_BYTES, MAX_MESSAGE_KB};
pub use users::{NoUser, User, Users};

use crate::job::Bounds;
use crate::job::artifacts::ArtifactBounds;

/// Everything that can be set.
#[derive(Debug, Clone)]
pub struct Settings {
    /// RabbitMQ.
    pub broker: BrokerSettings,
    /// The object store.
    pub store: StoreSettings,
    /// Containers.
    pub runner: RunnerSettings,
    /// Packages, for the authors of programs.
    pub pack: PackSettings,
    /// The queue side.
    pub worker: WorkerSettings,
    /// Container logs.
    pub logs: LogSettings,
    /// Health.
    pub http: HttpSettings,
    /// The worker's own log.
    pub telemetry: TelemetrySettings,
    /// Traces.
    pub traces: TracesSettings,
}

impl Settings {
    /// Reads every section, as a worker needs them.
    pub fn load(sources: Sources) -> Result<Self, SettingsErrors> {
        Loader::new(sources).read(Self::read)
    }

    /// Every section.
    #[must_use]
    pub fn read(reader: &Reader<'_>) -> Self {
        Self {
            broker: reader.broker(),
            store: reader.store(),
            runner: reader.runner(),
            pack: reader.pack(),
            worker: reader.worker(),
            logs: reader.logs(),
            http: reader.http(),
            telemetry: reader.telemetry(),
            traces: reader.traces(),
        }
    }

    /// What these settings leave open to strangers.
    #[must_use]
    pub fn exposures(&self) -> Vec<Exposure> {
        exposures(&self.broker, &self.store, &self.runner)
    }

    /// What a message may ask for, and what it gets when it asks for nothing.
    #[must_use]
    pub fn bounds(&self) -> Bounds {
        bounds(&self.runner, &self.logs)
    }
}

/// What a message may ask for, from only these sections.
#[must_use]
pub fn bounds(runner: &RunnerSettings, logs: &LogSettings) -> Bounds {
    Bounds {
        limits: runner.limits,
        network: runner.network,
        allowed_networks: runner.allowed_networks.clone(),
        timeout: runner.timeout,
        max_timeout: runner.max_timeout,
        log_interval: logs.interval,
        max_attempts: runner.max_attempts,
        min_health_interval: runner.min_health_interval,
        sweep: runner.sweep,
        artifacts: ArtifactBounds {
            // In `/tmp`, and then in one file with a line about each.
            max_mb: runner
                .artifacts
                .max_mb
                .min(runner.profile.tmp_mb)
                .min((runner.profile.max_file_bytes >> 20).saturating_sub(1)),
            max_files: runner.artifacts.max_files,
        },
        max_inputs: runner.max_inputs,
        runtimes: runner.runtimes.clone(),
        // Its file has two copies, each with a line about it.
        state_max_kb: runner.state_max_kb.min((runner.profile.max_file_bytes >> 11) - 1),
    }
}
