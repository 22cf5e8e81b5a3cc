//! Settings: one struct a concern, read once, handed down. Nothing below reads the environment.
//!
//! [`Sources`] says where they come from, [`table`] what there is, [`Loader`] gives the sections,
//! or every mistake at once. The words for people are in `docs/settings.md`, made by [`doc`].

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
mod seccomp;
mod sections;
mod sources;
pub mod table;
mod users;

#[cfg(test)]
mod tests;

pub use exposure::{Exposure, NO_HOST_NETWORK, allows_host_network, exposures, is_loopback_host};
pub use kind::{Kind, Unit, mask_url};
pub use loader::{Effective, Loader, Reader};
pub use mistake::{Mistake, Origin, SettingsErrors};
pub use profile::Profile;
pub use seccomp::SeccompProfile;
pub use sections::{
    BrokerSettings, DeadLetterBounds, EngineLog, HttpSettings, ImageSettings, LogFormat,
    LogSettings, RunnerSettings, StoreSettings, TelemetrySettings, WorkerSettings,
};
pub use sources::{FILE_VARIABLE, Sources};
pub use users::{NoUser, User, Users};

use crate::job::Bounds;

/// Everything that can be set.
#[derive(Debug, Clone)]
pub struct Settings {
    /// RabbitMQ.
    pub broker: BrokerSettings,
    /// The object store.
    pub store: StoreSettings,
    /// Containers.
    pub runner: RunnerSettings,
    /// The queue side.
    pub worker: WorkerSettings,
    /// Container logs.
    pub logs: LogSettings,
    /// Health.
    pub http: HttpSettings,
    /// The worker's own log.
    pub telemetry: TelemetrySettings,
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
            worker: reader.worker(),
            logs: reader.logs(),
            http: reader.http(),
            telemetry: reader.telemetry(),
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

/// What a message may ask for, where only these sections are at hand.
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
    }
}
