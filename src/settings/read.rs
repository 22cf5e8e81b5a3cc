//! The sections, each read from the table's settings.

use std::net::SocketAddr;

use super::exposure::is_loopback;
use super::kind;
use super::loader::Reader;
use super::mistake::Mistake;
use super::number::whole;
use super::profile::Profile;
use super::seccomp::SeccompProfile;
use super::sections::{
    BrokerSettings, CodeCacheSettings, DeadLetterBounds, EngineLog, HttpSettings, LogFormat,
    LogSettings, PackSettings, RunnerSettings, StoreSettings, TelemetrySettings, TracesSettings,
    WarmSettings, WorkerSettings,
};
use super::table::{self as t, Setting};
use super::users::{User, Users};
use crate::job::artifacts::ArtifactBounds;
use crate::job::{Limits, Network, SweepBounds};
use crate::tls::TlsFiles;

impl Reader<'_> {
    /// RabbitMQ.
    #[must_use]
    pub fn broker(&self) -> BrokerSettings {
        let url = self.text(&t::AMQP_URL);
        let tls = self.broker_tls(&url);
        BrokerSettings {
            url,
            tls,
            namespace: self.namespace(),
            publish_channels: self.count(&t::AMQP_PUBLISH_CHANNELS),
            confirm_timeout: self.seconds(&t::AMQP_CONFIRM_TIMEOUT_SECONDS),
            reconnect_max: self.seconds(&t::AMQP_RECONNECT_MAX_SECONDS),
            retry_delays: self
                .list(&t::RETRY_DELAYS_SECONDS)
                .iter()
                .filter_map(|delay| whole(delay))
                .map(std::time::Duration::from_secs)
                .collect(),
            lock_heartbeat: self.seconds(&t::SEGMENT_GRACE_SECONDS) / 5,
            dead_letters: DeadLetterBounds {
                messages: self.whole(&t::DEAD_LETTERS_MAX),
                bytes: self.whole(&t::DEAD_LETTERS_MAX_MB),
            },
            dead_letters_max_days: self.parsed(&t::DEAD_LETTERS_MAX_DAYS),
            reply_to_prefixes: self
                .optional(&t::REPLY_TO_PREFIXES)
                .iter()
                .flat_map(|prefixes| kind::list(prefixes))
                .map(str::to_owned)
                .collect(),
        }
    }

    /// Only the namespace, for commands that need no broker.
    #[must_use]
    pub fn namespace(&self) -> String {
        self.text(&t::AMQP_NAMESPACE)
    }

    /// Only the size of the largest result, in bytes.
    #[must_use]
    pub fn max_result_bytes(&self) -> u64 {
        self.whole(&t::RESULT_MAX_MB)
    }

    /// The files of a connection with TLS. A client certificate needs its key, and all files need
    /// TLS.
    fn broker_tls(&self, url: &str) -> TlsFiles {
        let [cert, key] =
            [&t::AMQP_CLIENT_CERT_FILE, &t::AMQP_CLIENT_KEY_FILE].map(|s| self.file(s));
        let identity = match (cert, key) {
            (Some(cert), Some(key)) => Some([cert, key]),
            (None, None) => None,
            (Some((set, _)), None) => return self.lonely(set, t::AMQP_CLIENT_KEY_FILE.variable),
            (None, Some((set, _))) => return self.lonely(set, t::AMQP_CLIENT_CERT_FILE.variable),
        };
        let files = TlsFiles { ca: self.file(&t::AMQP_CA_FILE), identity };
        let hint = "AMQP_URL begins with amqp://, which is without TLS: write amqps://";
        self.checked(files, url.starts_with("amqp://").then_some(hint))
    }

    fn lonely(&self, set: &str, missing: &str) -> TlsFiles {
        self.together(format!(
            "{set} is set without {missing}: a client certificate and its key go together"
        ));
        TlsFiles::default()
    }

    fn file(&self, setting: &'static Setting) -> Option<(&'static str, std::path::PathBuf)> {
        Some((setting.variable, self.optional(setting)?.into()))
    }

    /// Notes what is wrong with the files, or that they have no effect.
    fn checked(&self, files: TlsFiles, without_tls: Option<&str>) -> TlsFiles {
        if let Some(hint) = without_tls {
            if let Some(variable) = files.first_variable() {
                self.together(format!("{variable} is set, but {hint}"));
            }
        } else if let Err(error) = files.check() {
            self.together(error.to_string());
        }
        files
    }

    /// The object store.
    #[must_use]
    pub fn store(&self) -> StoreSettings {
        self.refuse_other_spellings();
        let (endpoint, ssl) = (self.text(&t::MINIO_ENDPOINT), self.flag(&t::MINIO_SSL));
        let uses_tls = endpoint.starts_with("https://") || (ssl && !endpoint.contains("://"));
        let files = TlsFiles { ca: self.file(&t::MINIO_CA_FILE), identity: None };
        let hint = "the object store is spoken to without TLS: write https:// in MINIO_ENDPOINT, or \
                    set MINIO_SSL=true";
        let store = StoreSettings {
            tls: self.checked(files, (!uses_tls && !endpoint.is_empty()).then_some(hint)),
            endpoint,
            ssl,
            access_key: self.text(&t::MINIO_ACCESS_KEY),
            secret_key: self.text(&t::MINIO_SECRET_KEY),
            region: self.text(&t::MINIO_REGION),
            code_bucket: self.text(&t::MINIO_CODE_BUCKET),
            inputs_bucket: self.text(&t::MINIO_INPUTS_BUCKET),
            results_bucket: self.text(&t::MINIO_BACKTESTS_BUCKET),
            logs_bucket: self.text(&t::MINIO_LOGS_BUCKET),
            state_bucket: self.text(&t::MINIO_STATE_BUCKET),
            max_attempts: self.count(&t::STORE_MAX_ATTEMPTS),
            timeout: self.seconds(&t::STORE_TIMEOUT_SECONDS),
        };
        let others =
            [&store.code_bucket, &store.inputs_bucket, &store.results_bucket, &store.logs_bucket];
        if !store.state_bucket.is_empty() && others.contains(&&store.state_bucket) {
            self.together(format!(
                "MINIO_STATE_BUCKET is {:?}, which is another setting's bucket too; the journal \
                 must have a bucket of its own",
                store.state_bucket
            ));
        }
        store
    }

    /// Containers.
    #[must_use]
    pub fn runner(&self) -> RunnerSettings {
        let runner = RunnerSettings {
            docker_host: self.optional(&t::DOCKER_HOST),
            temp_dir: self.text(&t::TEMP_DIR).into(),
            limits: Limits {
                // `whole` would return bytes, but the engine's limits are in MiB.
                memory_mb: self.parsed(&t::BOT_MEMORY_LIMIT_MB).unwrap_or_default(),
                cpu_shares: self.whole(&t::BOT_CPU_SHARES),
                cpus: self.parsed(&t::BOT_CPUS),
                pids: self.whole(&t::BOT_PIDS_LIMIT),
            },
            profile: self.profile(),
            network: network(&self.text(&t::BOT_NETWORK)),
            allowed_networks: self
                .list(&t::BOT_ALLOWED_NETWORKS)
                .iter()
                .map(|name| network(name))
                .collect(),
            runtimes: self.runtimes(),
            pull_timeout: self.seconds(&t::IMAGE_PULL_TIMEOUT_SECONDS),
            timeout: self.seconds(&t::JOB_TIMEOUT_SECONDS),
            max_timeout: self.seconds(&t::JOB_MAX_TIMEOUT_SECONDS),
            max_attempts: self.small(&t::JOB_MAX_ATTEMPTS),
            stop_timeout: self.seconds(&t::STOP_TIMEOUT_SECONDS),
            min_health_interval: self.seconds(&t::HEALTH_CHECK_MIN_INTERVAL_SECONDS),
            max_concurrent_starts: self.count(&t::MAX_CONCURRENT_STARTS),
            max_archive_bytes: self.whole(&t::CODE_MAX_ARCHIVE_MB),
            max_extracted_bytes: self.whole(&t::CODE_MAX_EXTRACTED_MB),
            max_entries: self.count(&t::CODE_MAX_ENTRIES),
            max_ratio: self.whole(&t::CODE_MAX_RATIO),
            max_depth: self.count(&t::CODE_MAX_DEPTH),
            max_name_bytes: self.count(&t::CODE_MAX_NAME_BYTES),
            unpack_timeout: self.seconds(&t::CODE_UNPACK_TIMEOUT_SECONDS),
            code_cache: CodeCacheSettings {
                dir: self.optional(&t::CODE_CACHE_DIR).map(Into::into),
                max_bytes: self.whole(&t::CODE_CACHE_MAX_MB),
                compile_timeout: self.seconds(&t::CODE_COMPILE_TIMEOUT_SECONDS),
            },
            warm: WarmSettings {
                containers: self.count(&t::WARM_CONTAINERS),
                max_age: self.seconds(&t::WARM_MAX_AGE_SECONDS),
            },
            max_result_bytes: self.max_result_bytes(),
            sweep: self.sweep(),
            artifacts: ArtifactBounds {
                max_mb: self.parsed(&t::ARTIFACTS_MAX_MB).unwrap_or_default(),
                max_files: self.small(&t::ARTIFACTS_MAX_FILES),
            },
            max_inputs: self.small(&t::BOT_INPUTS_MAX),
            max_input_bytes: self.whole(&t::BOT_INPUTS_MB),
            state_max_kb: self.parsed(&t::STATE_MAX_KB).unwrap_or_default(),
            engine_log: EngineLog {
                file_mb: self.parsed(&t::LOG_ENGINE_FILE_MB).unwrap_or_default(),
                files: self.small(&t::LOG_ENGINE_FILES),
            },
        };
        if runner.timeout > runner.max_timeout && !runner.max_timeout.is_zero() {
            self.together(format!(
                "JOB_TIMEOUT_SECONDS is {}, more than JOB_MAX_TIMEOUT_SECONDS, which is {}",
                runner.timeout.as_secs(),
                runner.max_timeout.as_secs()
            ));
        }
        runner
    }

    fn sweep(&self) -> SweepBounds {
        // Its rows leave the container in one file.
        let largest_file: u64 = self.whole(&t::BOT_FILE_SIZE_LIMIT_MB);
        let max_bytes: u64 = self.whole(&t::SWEEP_MAX_MB);
        SweepBounds {
            max_configs: self.whole(&t::SWEEP_MAX_CONFIGS),
            max_parallel: self.small(&t::SWEEP_MAX_PARALLEL),
            max_bytes: max_bytes.min(largest_file.saturating_sub(1 << 20).max(1 << 20)),
            max_result_bytes: self.whole(&t::SWEEP_RESULT_MAX_KB),
            output_bytes: self.whole(&t::SWEEP_OUTPUT_KB),
        }
    }

    /// The packages that programs need, where their authors pack them.
    #[must_use]
    pub fn pack(&self) -> PackSettings {
        let usual = || PackSettings::usual_cache_dir(self.variable("HOME"));
        let usual_state = || PackSettings::usual_state_dir(self.variable("HOME"));
        PackSettings {
            cache_dir: self.optional(&t::PACK_CACHE_DIR).map_or_else(usual, Into::into),
            cache_max_bytes: self.whole(&t::PACK_CACHE_MAX_MB),
            network: network(&self.text(&t::PACK_NETWORK)),
            timeout: self.seconds(&t::PACK_TIMEOUT_SECONDS),
            run_state_dir: self.optional(&t::RUN_STATE_DIR).map_or_else(usual_state, Into::into),
        }
    }

    fn seccomp(&self) -> Option<SeccompProfile> {
        let (variable, path) = self.file(&t::BOT_SECCOMP_PROFILE)?;
        match SeccompProfile::read(&path) {
            Ok(profile) => Some(profile),
            Err(problem) => {
                self.together(format!("{variable}: {} {problem}", path.display()));
                None
            }
        }
    }

    fn profile(&self) -> Profile {
        let profile = Profile {
            users: self.parsed(&t::BOT_USER).unwrap_or(Users::One(User::default())),
            seccomp: self.seccomp(),
            read_only_root: self.flag(&t::BOT_READ_ONLY_ROOT),
            read_only_code: self.flag(&t::BOT_READ_ONLY_CODE),
            tmp_mb: self.parsed(&t::BOT_TMP_MB).unwrap_or_default(),
            open_files: self.whole(&t::BOT_OPEN_FILES_LIMIT),
            max_file_bytes: self.whole(&t::BOT_FILE_SIZE_LIMIT_MB),
            init: self.flag(&t::BOT_INIT),
            oci_runtime: self.optional(&t::BOT_OCI_RUNTIME),
        };
        let max_result_bytes = self.max_result_bytes();
        if (1..=max_result_bytes).contains(&profile.max_file_bytes) {
            self.together(format!(
                "BOT_FILE_SIZE_LIMIT_MB is {}, not more than RESULT_MAX_MB, which is {}",
                profile.max_file_bytes >> 20,
                max_result_bytes >> 20
            ));
        }
        profile
    }

    /// The queue side.
    #[must_use]
    pub fn worker(&self) -> WorkerSettings {
        WorkerSettings {
            name: self.text(&t::WORKER_NAME),
            max_segments: self.small(&t::MAX_SEGMENTS),
            segment_grace: self.seconds(&t::SEGMENT_GRACE_SECONDS),
            handover_grace: self.seconds(&t::HANDOVER_GRACE_SECONDS),
            max_terminating: self.count(&t::MAX_TERMINATING),
            max_long_running: self.count(&t::MAX_LONG_RUNNING),
            max_message_bytes: self.count(&t::MESSAGE_MAX_KB),
            drain_grace: self.seconds(&t::DRAIN_GRACE_SECONDS),
            publish_retry_max: self.seconds(&t::PUBLISH_RETRY_MAX_SECONDS),
            record_retention_days: self.parsed(&t::RECORD_RETENTION_DAYS),
            record_retention_keys: self.count(&t::RECORD_RETENTION_KEYS_PER_DAY),
            result_retention_days: self.parsed(&t::RESULT_RETENTION_DAYS),
            artifact_retention_days: self.parsed(&t::ARTIFACT_RETENTION_DAYS),
            result_retention_keys: self.count(&t::RESULT_RETENTION_KEYS_PER_DAY),
        }
    }

    /// Container logs.
    #[must_use]
    pub fn logs(&self) -> LogSettings {
        let logs = LogSettings {
            interval: self.seconds(&t::LOG_INTERVAL_SECONDS),
            max_chunk_bytes: self.count(&t::LOG_CHUNK_MAX_KB),
            max_buffer_bytes: self.count(&t::LOG_BUFFER_MAX_KB),
            max_memory_bytes: self.whole(&t::LOG_MEMORY_MAX_MB),
            spool_dir: self.text(&t::LOG_SPOOL_DIR).into(),
            max_container_spool_bytes: self.whole(&t::LOG_SPOOL_CONTAINER_MAX_MB),
            max_spool_bytes: self.whole(&t::LOG_SPOOL_MAX_MB),
            retention_days: self.parsed(&t::LOG_RETENTION_DAYS),
            retention_keys: self.count(&t::LOG_RETENTION_KEYS_PER_DAY),
            max_series: self.count(&t::SERIES_MAX_NAMES),
            max_series_points: self.count(&t::SERIES_MAX_POINTS),
            series_interval: self.seconds(&t::SERIES_INTERVAL_SECONDS),
            max_output_bytes: self.whole(&t::OUTPUT_MAX_MB),
            tail_bytes: self.count(&t::OUTPUT_TAIL_KB),
        };
        if logs.max_chunk_bytes > logs.max_buffer_bytes && logs.max_buffer_bytes > 0 {
            self.together(format!(
                "LOG_CHUNK_MAX_KB is {}, more than LOG_BUFFER_MAX_KB, which is {}",
                logs.max_chunk_bytes / 1024,
                logs.max_buffer_bytes / 1024
            ));
        }
        logs
    }

    /// Health.
    #[must_use]
    pub fn http(&self) -> HttpSettings {
        let listen: Option<SocketAddr> = self.parsed(&t::HTTP_LISTEN);
        let token = self.optional(&t::HTTP_TOKEN);
        if let Some(listen) = listen.filter(|listen| !is_loopback(listen.ip()))
            && !self.is_given(&t::HTTP_TOKEN)
        {
            self.together(format!(
                "HTTP_LISTEN is {listen}, which others can reach, and HTTP_TOKEN is not set: set it \
                 ({}), or listen on 127.0.0.1",
                t::HTTP_TOKEN.kind.allowed()
            ));
        }
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let allowed_hosts = self.optional(&t::HTTP_ALLOWED_HOSTS);
        let allowed_hosts = allowed_hosts
            .map_or_else(Vec::new, |text| kind::list(&text).map(str::to_owned).collect());
        HttpSettings { listen: listen.unwrap_or(nowhere), token, allowed_hosts }
    }

    /// The program's own log.
    #[must_use]
    pub fn telemetry(&self) -> TelemetrySettings {
        let format = match self.text(&t::LOG_FORMAT).as_str() {
            "text" => LogFormat::Text,
            "json" => LogFormat::Json,
            _ => LogFormat::Auto,
        };
        TelemetrySettings { level: self.text(&t::LOG_LEVEL), format }
    }

    /// Traces.
    #[must_use]
    pub fn traces(&self) -> TracesSettings {
        let endpoint = self.optional(&t::OTEL_EXPORTER_OTLP_ENDPOINT);
        TracesSettings { endpoint, service: self.text(&t::OTEL_SERVICE_NAME) }
    }

    fn together(&self, sentence: String) {
        self.mistake(Mistake::Together(sentence));
    }
}

fn network(name: &str) -> Network {
    match name {
        "bridge" => Network::Bridge,
        "none" => Network::None,
        _ => Network::Host,
    }
}
