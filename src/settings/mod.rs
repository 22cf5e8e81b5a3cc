//! Settings: one struct a concern, read once, handed down. Nothing below reads the environment.

mod sections;

pub use sections::{
    BrokerSettings, HttpSettings, ImageSettings, LogFormat, LogSettings, RunnerSettings,
    StoreSettings, TelemetrySettings, WorkerSettings,
};

/// Everything that can be set. Not `Debug`, for it holds secrets.
#[derive(Clone)]
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
    /// Health and metrics.
    pub http: HttpSettings,
    /// The worker's own log.
    pub telemetry: TelemetrySettings,
}
