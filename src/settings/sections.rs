//! The sections, as the rest of the crate receives them.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::broker_url::mask_broker_urls;
use super::profile::Profile;
use crate::job::artifacts::ArtifactBounds;
use crate::job::{Limits, Network, Runtimes, SweepBounds};
use crate::tls::TlsFiles;

/// RabbitMQ.
#[derive(Clone)]
pub struct BrokerSettings {
    /// `AMQP_URL`: where RabbitMQ is, with user, password and virtual host; one URL for each host,
    /// see [`broker_urls`](super::broker_urls). A secret.
    pub url: String,
    /// `AMQP_CA_FILE` (the system's authorities), `AMQP_CLIENT_CERT_FILE` and
    /// `AMQP_CLIENT_KEY_FILE` (none): for `amqps://` alone.
    pub tls: TlsFiles,
    /// `AMQP_NAMESPACE` (longshore): the first part of every name on the broker.
    pub namespace: String,
    /// `AMQP_PUBLISH_CHANNELS` (4): confirm channels in the pool.
    pub publish_channels: usize,
    /// `AMQP_CONFIRM_TIMEOUT_SECONDS` (10): how long a publisher confirm may take.
    pub confirm_timeout: Duration,
    /// `AMQP_RECONNECT_MAX_SECONDS` (5): the longest pause between two attempts to connect.
    pub reconnect_max: Duration,
    /// `RETRY_DELAYS_SECONDS` (5,30,120): the back-off steps, one retry queue each.
    pub retry_delays: Vec<Duration>,
    /// The time between heartbeats on the connection for locks: a fifth of `SEGMENT_GRACE_SECONDS`.
    /// So the worker notices a dead connection, and connects again, before the bots end themselves.
    pub lock_heartbeat: Duration,
    /// `DEAD_LETTERS_MAX` (10000) and `DEAD_LETTERS_MAX_MB` (256): how many messages are kept that
    /// could not be processed.
    pub dead_letters: DeadLetterBounds,
    /// `DEAD_LETTERS_MAX_DAYS` (for ever): how many days `longshore gc` leaves them.
    pub dead_letters_max_days: Option<u32>,
    /// `REPLY_TO_PREFIXES`: prefixes of queues to which results may be sent, in addition to queues
    /// that the broker names.
    pub reply_to_prefixes: Vec<String>,
}

/// How much the queue of dead letters keeps. Beyond either bound the oldest ones go.
///
/// The queue must never refuse a message. Dead-lettering with at-least-once delivery stops if the
/// target queue is full and refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeadLetterBounds {
    /// Messages.
    pub messages: u64,
    /// Bytes of their bodies.
    pub bytes: u64,
}

impl Default for DeadLetterBounds {
    fn default() -> Self {
        Self { messages: 10_000, bytes: 256 * 1024 * 1024 }
    }
}

impl fmt::Debug for BrokerSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BrokerSettings")
            .field("url", &mask_broker_urls(&self.url))
            .field("tls", &self.tls)
            .field("namespace", &self.namespace)
            .field("publish_channels", &self.publish_channels)
            .field("confirm_timeout", &self.confirm_timeout)
            .field("reconnect_max", &self.reconnect_max)
            .field("retry_delays", &self.retry_delays)
            .field("lock_heartbeat", &self.lock_heartbeat)
            .field("dead_letters", &self.dead_letters)
            .field("dead_letters_max_days", &self.dead_letters_max_days)
            .field("reply_to_prefixes", &self.reply_to_prefixes)
            .finish()
    }
}

/// The object store.
#[derive(Clone)]
pub struct StoreSettings {
    /// `MINIO_ENDPOINT`: host and port, or a URL.
    pub endpoint: String,
    /// `MINIO_ACCESS_KEY`. A secret.
    pub access_key: String,
    /// `MINIO_SECRET_KEY`. A secret.
    pub secret_key: String,
    /// `MINIO_SSL` (false): whether to use TLS if the endpoint names no scheme.
    pub ssl: bool,
    /// `MINIO_CA_FILE` (the system's authorities): only for TLS.
    pub tls: TlsFiles,
    /// `MINIO_REGION` (us-east-1).
    pub region: String,
    /// `MINIO_CODE_BUCKET` (custom-bots): zips.
    pub code_bucket: String,
    /// `MINIO_INPUTS_BUCKET` (inputs): data sets that start messages name.
    pub inputs_bucket: String,
    /// `MINIO_BACKTESTS_BUCKET` (test-results): results.
    pub results_bucket: String,
    /// `MINIO_LOGS_BUCKET` (bot-logs): logs.
    pub logs_bucket: String,
    /// `MINIO_STATE_BUCKET` (longshore-state): the journal.
    pub state_bucket: String,
    /// `STORE_MAX_ATTEMPTS` (5): attempts of one operation.
    pub max_attempts: usize,
    /// `STORE_TIMEOUT_SECONDS` (60): how long one request may take, its body included.
    pub timeout: Duration,
}

impl fmt::Debug for StoreSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreSettings")
            .field("endpoint", &self.endpoint)
            .field("ssl", &self.ssl)
            .field("tls", &self.tls)
            .field("region", &self.region)
            .field("code_bucket", &self.code_bucket)
            .field("inputs_bucket", &self.inputs_bucket)
            .field("results_bucket", &self.results_bucket)
            .field("logs_bucket", &self.logs_bucket)
            .field("state_bucket", &self.state_bucket)
            .field("max_attempts", &self.max_attempts)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

/// Containers.
#[derive(Debug, Clone)]
pub struct RunnerSettings {
    /// `DOCKER_HOST` (the local socket): where the engine is.
    pub docker_host: Option<String>,
    /// `TEMP_DIR` (/tmp/runtime): the jobs' directories; the same path on host and worker.
    pub temp_dir: PathBuf,
    /// `BOT_MEMORY_LIMIT_MB` (512), `BOT_CPU_SHARES` (512), `BOT_CPUS` (none),
    /// `BOT_PIDS_LIMIT` (256): limits of a job, which a message may lower.
    pub limits: Limits,
    /// What else every container may do.
    pub profile: Profile,
    /// `BOT_NETWORK` (host): the network of a job that names none.
    pub network: Network,
    /// `BOT_ALLOWED_NETWORKS` (host,bridge,none): what a message may name.
    pub allowed_networks: Vec<Network>,
    /// The runtimes that messages may name: `BOT_RUNTIMES` (those built in), `PYTHON_IMAGE`, `NODE_IMAGE`.
    pub runtimes: Runtimes,
    /// `IMAGE_PULL_TIMEOUT_SECONDS` (600).
    pub pull_timeout: Duration,
    /// `JOB_TIMEOUT_SECONDS` (3600): the time-out of a terminating run that names none.
    pub timeout: Duration,
    /// `JOB_MAX_TIMEOUT_SECONDS` (86400): the longest that a terminating run may name.
    pub max_timeout: Duration,
    /// `JOB_MAX_ATTEMPTS` (3): attempts of a run, if its message names none.
    pub max_attempts: u32,
    /// `STOP_TIMEOUT_SECONDS` (30): between SIGTERM and SIGKILL at a time-out or a drain.
    pub stop_timeout: Duration,
    /// `HEALTH_CHECK_MIN_INTERVAL_SECONDS` (5): the shortest time between two health checks.
    pub min_health_interval: Duration,
    /// `MAX_CONCURRENT_STARTS` (4): containers that start at the same time.
    pub max_concurrent_starts: usize,
    /// `CODE_MAX_ARCHIVE_MB` (256): the largest zip, in bytes here.
    pub max_archive_bytes: u64,
    /// `CODE_MAX_EXTRACTED_MB` (1024): the most it may unpack to, in bytes here.
    pub max_extracted_bytes: u64,
    /// `CODE_MAX_ENTRIES` (50000): the most files in a zip, and the most folders.
    pub max_entries: usize,
    /// `CODE_MAX_RATIO` (200): how many times its own size a zip may unpack to.
    pub max_ratio: u64,
    /// `CODE_MAX_DEPTH` (64): parts of an entry's name.
    pub max_depth: usize,
    /// `CODE_MAX_NAME_BYTES` (1024): bytes of an entry's whole name.
    pub max_name_bytes: usize,
    /// `CODE_UNPACK_TIMEOUT_SECONDS` (120): how long unpacking a zip may take.
    pub unpack_timeout: Duration,
    /// The cache of unpacked code.
    pub code_cache: CodeCacheSettings,
    /// Containers that wait started for a job.
    pub warm: WarmSettings,
    /// `RESULT_MAX_MB` (64): the largest result.json, in bytes here.
    pub max_result_bytes: u64,
    /// `SWEEP_MAX_CONFIGS` (100000) and its like: how large a sweep may be.
    pub sweep: SweepBounds,
    /// `ARTIFACTS_MAX_MB` (32) and `ARTIFACTS_MAX_FILES` (200): what a run may leave as artifacts.
    pub artifacts: ArtifactBounds,
    /// `STATE_MAX_KB` (256): the largest state of a bot, in KiB.
    pub state_max_kb: u64,
    /// `BOT_INPUTS_MAX` (16): the most inputs of a run.
    pub max_inputs: u32,
    /// `BOT_INPUTS_MB` (1024): the most that they may hold together, in bytes here.
    pub max_input_bytes: u64,
    /// The engine's own log of each container.
    pub engine_log: EngineLog,
}

impl RunnerSettings {
    /// Where the cache of unpacked code is.
    #[must_use]
    pub fn code_cache_dir(&self) -> PathBuf {
        let usual = || self.temp_dir.join(CodeCacheSettings::USUAL);
        self.code_cache.dir.clone().unwrap_or_else(usual)
    }
}

/// Containers that wait started for a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WarmSettings {
    /// `WARM_CONTAINERS` (2): how many of each runtime; 0 is off.
    pub containers: usize,
    /// `WARM_MAX_AGE_SECONDS` (3600): how long one waits before a new one takes its place.
    pub max_age: Duration,
}

/// The cache of unpacked code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CodeCacheSettings {
    /// `CODE_CACHE_DIR`: its directory (`.cache` in `TEMP_DIR`, see
    /// [`RunnerSettings::code_cache_dir`]).
    pub dir: Option<PathBuf>,
    /// `CODE_CACHE_MAX_MB` (2048): what it may take of the disk, in bytes here; 0 is off.
    pub max_bytes: u64,
    /// `CODE_COMPILE_TIMEOUT_SECONDS` (120): how long compiling the byte code of a zip may take; 0 is
    /// off.
    pub compile_timeout: Duration,
}

impl CodeCacheSettings {
    /// Its name in `TEMP_DIR`. No namespace begins with a dot.
    const USUAL: &str = ".cache";
}

/// The packages that programs need, where their authors pack them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackSettings {
    /// `PACK_CACHE_DIR` (in the home directory): where installed packages are kept.
    pub cache_dir: PathBuf,
    /// `PACK_CACHE_MAX_MB` (4096): what they may take of the disk, in bytes here.
    pub cache_max_bytes: u64,
    /// `PACK_NETWORK` (bridge): the network on which they are installed.
    pub network: Network,
    /// `PACK_TIMEOUT_SECONDS` (900): how long installing may take.
    pub timeout: Duration,
    /// `RUN_STATE_DIR` (in the home directory): where local runs keep the states of bots.
    pub run_state_dir: PathBuf,
}

impl PackSettings {
    /// Where the packages of a user are who has this home.
    pub(super) fn usual_cache_dir(home: Option<&str>) -> PathBuf {
        usual_dir(home, ".cache/longshore/packages", "packages")
    }

    /// Where the states of a user's bots are.
    pub(super) fn usual_state_dir(home: Option<&str>) -> PathBuf {
        usual_dir(home, ".local/state/longshore", "state")
    }
}

fn usual_dir(home: Option<&str>, below_home: &str, otherwise: &str) -> PathBuf {
    if let Some(home) = home.filter(|home| !home.is_empty()) {
        return PathBuf::from(home).join(below_home);
    }
    std::env::temp_dir().join(format!("longshore-{otherwise}-{}", nix::unistd::geteuid()))
}

/// How much of a container's output the engine keeps: the number of files, and their size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EngineLog {
    /// `LOG_ENGINE_FILE_MB` (64).
    pub file_mb: u64,
    /// `LOG_ENGINE_FILES` (2).
    pub files: u32,
}

/// The queue side.
#[derive(Debug, Clone)]
pub struct WorkerSettings {
    /// `WORKER_NAME` (the host's name): how events and logs call this worker.
    pub name: String,
    /// `MAX_SEGMENTS` (1000): segments 0 to this, exclusive.
    pub max_segments: u32,
    /// `SEGMENT_GRACE_SECONDS` (15): how long a bot runs on without proof that its worker owns it.
    pub segment_grace: Duration,
    /// `HANDOVER_GRACE_SECONDS` (120): the same after a drain.
    pub handover_grace: Duration,
    /// `MAX_TERMINATING` (4): terminating runs at a time.
    pub max_terminating: usize,
    /// `MAX_LONG_RUNNING` (50): long-running jobs at a time.
    pub max_long_running: usize,
    /// `MESSAGE_MAX_KB` (2048): the largest start or stop message, in bytes here.
    pub max_message_bytes: usize,
    /// `DRAIN_GRACE_SECONDS` (60): how long terminating runs may go on after SIGTERM.
    pub drain_grace: Duration,
    /// `PUBLISH_RETRY_MAX_SECONDS` (300): the longest pause before a result that the broker did not
    /// confirm is published again.
    pub publish_retry_max: Duration,
    /// `RECORD_RETENTION_DAYS` (for ever): how many days the journal keeps what nobody needs any more.
    pub record_retention_days: Option<u32>,
    /// `RECORD_RETENTION_KEYS_PER_DAY` (1000000): keys that are checked in one day for that.
    pub record_retention_keys: usize,
    /// `RESULT_RETENTION_DAYS` (for ever): how many days results are kept.
    pub result_retention_days: Option<u32>,
    /// `ARTIFACT_RETENTION_DAYS` (for ever): how many days artifacts are kept.
    pub artifact_retention_days: Option<u32>,
    /// `RESULT_RETENTION_KEYS_PER_DAY` (1000000): keys that are checked in one day for both.
    pub result_retention_keys: usize,
}

/// Container logs.
#[derive(Debug, Clone)]
pub struct LogSettings {
    /// `LOG_INTERVAL_SECONDS` (30): time between two shipments, if the message names none.
    pub interval: Duration,
    /// `LOG_CHUNK_MAX_KB` (1024): a chunk is shipped before its time at this size, in bytes here.
    pub max_chunk_bytes: usize,
    /// `LOG_BUFFER_MAX_KB` (2048): unshipped lines of one container in memory, in bytes here.
    pub max_buffer_bytes: usize,
    /// `LOG_MEMORY_MAX_MB` (16): unshipped lines of all containers in memory, in bytes here.
    pub max_memory_bytes: u64,
    /// `LOG_SPOOL_DIR` (/tmp/longshore-spool): where lines go that memory has no room for.
    pub spool_dir: PathBuf,
    /// `LOG_SPOOL_CONTAINER_MAX_MB` (256): unshipped lines of one container on disk, in bytes here;
    /// further lines are dropped, and the log counts them.
    pub max_container_spool_bytes: u64,
    /// `LOG_SPOOL_MAX_MB` (2048): unshipped lines of all containers on disk, in bytes here.
    pub max_spool_bytes: u64,
    /// `LOG_RETENTION_DAYS` (for ever): how many days logs are kept.
    pub retention_days: Option<u32>,
    /// `LOG_RETENTION_KEYS_PER_DAY` (1000000): keys that are checked in one day for that.
    pub retention_keys: usize,
    /// `SERIES_MAX_NAMES` (32): series that a program may measure.
    pub max_series: usize,
    /// `SERIES_MAX_POINTS` (2000): points of each series that are kept.
    pub max_series_points: usize,
    /// `SERIES_INTERVAL_SECONDS` (30): time between two times that the series of a run are stored.
    pub series_interval: Duration,
    /// `OUTPUT_MAX_MB` (64): stored output of one terminating run, in bytes here.
    pub max_output_bytes: u64,
    /// `OUTPUT_TAIL_KB` (64): the last part of the output that an event carries, in bytes here.
    pub tail_bytes: usize,
}

/// Health.
#[derive(Clone)]
pub struct HttpSettings {
    /// `HTTP_LISTEN` (127.0.0.1:8080): address and port; port 0 takes a free one.
    pub listen: SocketAddr,
    /// `HTTP_TOKEN` (none): what a request must carry. A secret.
    pub token: Option<String>,
    /// `HTTP_ALLOWED_HOSTS` (those of the loopback): more hosts that a request without a token may
    /// name.
    pub allowed_hosts: Vec<String>,
}

impl fmt::Debug for HttpSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpSettings").field("listen", &self.listen).finish_non_exhaustive()
    }
}

/// The worker's own log.
#[derive(Debug, Clone)]
pub struct TelemetrySettings {
    /// `LOG_LEVEL` (info): error, warn, info, debug, trace, or a filter such as
    /// `longshore=debug,lapin=warn`.
    pub level: String,
    /// `LOG_FORMAT` (auto): auto, text or json; auto is text on a terminal.
    pub format: LogFormat,
}

/// Where traces go.
#[derive(Debug, Clone)]
pub struct TracesSettings {
    /// `OTEL_EXPORTER_OTLP_ENDPOINT`: the collector, if there is one.
    pub endpoint: Option<String>,
    /// `OTEL_SERVICE_NAME` (longshore).
    pub service: String,
}

/// How the worker writes its own log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// Text on a terminal, JSON lines elsewhere.
    Auto,
    /// Text.
    Text,
    /// One JSON object a line.
    Json,
}
