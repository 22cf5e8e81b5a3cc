//! Every setting: its variable, its key in `longshore.toml`, its allowed values, and its purpose.
//!
//! The documentation, the checks and the list that `--print-settings` shows are made from this.

use super::kind::{Kind, count, kilobytes, megabytes, seconds};
pub use super::setting::{Fallback, Setting};

/// The most that `MESSAGE_MAX_KB` can be: the journal must be able to keep and read the message of a job, in
/// which JSON may need two bytes for one.
pub(crate) const MAX_MESSAGE_KB: u64 = 8192;

/// The same in bytes.
pub(crate) const MAX_MESSAGE_BYTES: usize = 8192 * 1024;

macro_rules! settings {
    ($($(#[doc = $doc:literal])+ $variable:ident = $key:literal, $fallback:expr, $kind:expr;)+) => {
        $(
            $(#[doc = $doc])+
            pub(super) static $variable: Setting = Setting {
                variable: stringify!($variable),
                key: $key,
                fallback: $fallback,
                kind: $kind,
                doc: &[$($doc),+],
            };
        )+

        /// Every setting, in the order in which the documentation lists them.
        pub static ALL: &[&Setting] = &[$(&$variable),+];
    };
}

use Fallback::{HostName, Required, Unset, Value};
use Kind::{
    Address, AmqpUrl, Bool, Bucket, Choice, Choices, Decimal, Delays, Directory, Endpoint, Engine,
    File, Hosts, HttpUrl, Image, LogFilter, Name, Prefixes, Secret, Text, Token,
};

/// The networks of a container, as the engine calls them.
pub(super) const NETWORKS: &[&str] = &["host", "bridge", "none"];

/// A day in seconds.
const DAY: u64 = 86_400;

settings! {
    /// Where RabbitMQ is, with user, password and virtual host. For a cluster, name every host, each
    /// with a whole URL: the worker begins with any of them and goes to the next when one fails. All
    /// URLs have the same virtual host, and all or none begin with `amqps://`.
    AMQP_URL = "broker.url", Required, AmqpUrl;
    /// The certificate authorities that may vouch for RabbitMQ, in PEM. Only with `amqps://`. Read
    /// again at each attempt to connect, like the next two files.
    AMQP_CA_FILE = "broker.ca_file", Unset("those of the system"), File;
    /// The client certificate for RabbitMQ, in PEM, followed by its intermediates. Only with
    /// `amqps://`.
    AMQP_CLIENT_CERT_FILE = "broker.client_cert_file", Unset("none"), File;
    /// The private key of that certificate, in PEM, without a passphrase.
    AMQP_CLIENT_KEY_FILE = "broker.client_key_file", Unset("none"), File;
    /// The first part of every name on the broker, and a label on every container.
    AMQP_NAMESPACE = "broker.namespace", Value("longshore"), Name;
    /// Confirm channels in the pool of publishers.
    AMQP_PUBLISH_CHANNELS = "broker.publish_channels", Value("4"), count(1, 64);
    /// How long a publisher confirm may take.
    AMQP_CONFIRM_TIMEOUT_SECONDS = "broker.confirm_timeout_seconds", Value("10"), seconds(1, 300);
    /// The longest pause between two attempts to connect. If it is much longer than a restart of the
    /// broker takes, bots end themselves meanwhile: see `SEGMENT_GRACE_SECONDS`.
    AMQP_RECONNECT_MAX_SECONDS = "broker.reconnect_max_seconds", Value("5"), seconds(1, 3600);
    /// The pauses before a message is tried again. Each has a retry queue of its own.
    RETRY_DELAYS_SECONDS = "broker.retry_delays_seconds", Value("5,30,120"),
        Delays { max: DAY, count: 16 };
    /// How many messages the queue of dead letters keeps. Beyond that, each new one displaces the
    /// oldest. An existing queue keeps the bound that it was made with; a worker warns of that when
    /// it starts.
    DEAD_LETTERS_MAX = "broker.dead_letters_max", Value("10000"), count(1, 10_000_000);
    /// The same bound, in bytes of the messages' bodies.
    DEAD_LETTERS_MAX_MB = "broker.dead_letters_max_mb", Value("256"), megabytes(1, 1 << 20);
    /// How many days after its publication `longshore gc` removes a dead letter. A letter that does not say when
    /// it was published stays. No worker removes one because of its age.
    DEAD_LETTERS_MAX_DAYS = "broker.dead_letters_max_days", Unset("for ever"), count(1, 36_500);
    /// A start may name a queue in `reply_to` if the queue's name begins with one of these, or if the
    /// broker itself named the queue. Workers write there with their own rights. Never allow a queue
    /// of Longshore's own.
    REPLY_TO_PREFIXES = "broker.reply_to_prefixes", Unset("none"), Prefixes { count: 64 };

    /// The object store, any that speaks S3.
    MINIO_ENDPOINT = "store.endpoint", Required, Endpoint;
    /// The access key of the object store.
    MINIO_ACCESS_KEY = "store.access_key", Required, Secret;
    /// The secret key of the object store.
    MINIO_SECRET_KEY = "store.secret_key", Required, Secret;
    /// Whether to use TLS if the endpoint names no scheme.
    MINIO_SSL = "store.ssl", Value("false"), Bool;
    /// The certificate authorities that may vouch for the object store, in PEM. Only with TLS. Read
    /// again when the file changes.
    MINIO_CA_FILE = "store.ca_file", Unset("those of the system"), File;
    /// The region of the object store.
    MINIO_REGION = "store.region", Value("us-east-1"), Text;
    /// The bucket of the zips with the code.
    MINIO_CODE_BUCKET = "store.code_bucket", Value("custom-bots"), Bucket;
    /// The bucket of inputs: data sets that start messages name.
    MINIO_INPUTS_BUCKET = "store.inputs_bucket", Value("inputs"), Bucket;
    /// The bucket of results and whole outputs.
    MINIO_BACKTESTS_BUCKET = "store.results_bucket", Value("test-results"), Bucket;
    /// The bucket of daily logs.
    MINIO_LOGS_BUCKET = "store.logs_bucket", Value("bot-logs"), Bucket;
    /// The bucket of the journal. It must be a bucket of its own.
    MINIO_STATE_BUCKET = "store.state_bucket", Value("longshore-state"), Bucket;
    /// Attempts of one operation.
    STORE_MAX_ATTEMPTS = "store.max_attempts", Value("5"), count(1, 100);
    /// How long one request may take, including its body.
    STORE_TIMEOUT_SECONDS = "store.timeout_seconds", Value("60"), seconds(1, 3600);

    /// Where the container engine is.
    DOCKER_HOST = "runner.docker_host", Unset("the local socket"), Engine;
    /// The directories of the jobs. The same path on the host and in the worker's container.
    TEMP_DIR = "runner.temp_dir", Value("/tmp/runtime"), Directory;
    /// Memory of a container. A message may ask for less.
    BOT_MEMORY_LIMIT_MB = "runner.memory_limit_mb", Value("512"), megabytes(6, 1 << 24);
    /// Weight of a container when processors are scarce; 1,024 is a full share.
    /// A message may ask for less.
    BOT_CPU_SHARES = "runner.cpu_shares", Value("512"), count(2, 262_144);
    /// Processors of a container at most. A message may ask for less.
    BOT_CPUS = "runner.cpus", Unset("as many as there are"), Decimal { min: 0.01, max: 4096.0 };
    /// Processes and threads of a container at most. A message may ask for less.
    BOT_PIDS_LIMIT = "runner.pids_limit", Value("256"), count(1, 4_194_304);
    /// The users as which programs run, by number. With a range, each container has one of its own,
    /// so that what the kernel counts by user is counted for one job. A single user serves all. None
    /// of them should be a user of the host. `0:0` is root. An engine that maps users uses
    /// 30000-65533 in place of a range beyond 65535.
    BOT_USER = "runner.user", Value("65536-99999"), Kind::Users;
    /// A seccomp profile in Docker's JSON: the system calls that programs may make. Read when the
    /// worker starts.
    BOT_SECCOMP_PROFILE = "runner.seccomp_profile", Unset("the engine's default"), File;
    /// Whether the image's file system is read-only, with a `/tmp` in memory. If it is not, what a
    /// program writes fills the engine's disk.
    BOT_READ_ONLY_ROOT = "runner.read_only_root", Value("true"), Bool;
    /// Whether the job's directory is read-only, except its result.json. If it is not, what a program
    /// writes there fills the disk of `TEMP_DIR`.
    BOT_READ_ONLY_CODE = "runner.read_only_code", Value("true"), Bool;
    /// The size of `/tmp` in a container. Its content counts as the container's memory.
    BOT_TMP_MB = "runner.tmp_mb", Value("64"), megabytes(1, 1 << 24);
    /// Open files of one process in a container.
    BOT_OPEN_FILES_LIMIT = "runner.open_files_limit", Value("4096"), count(64, 1 << 20);
    /// The largest file that a program may write, also in `/tmp`. Must be more than `RESULT_MAX_MB`.
    BOT_FILE_SIZE_LIMIT_MB = "runner.file_size_limit_mb", Value("128"), megabytes(2, 1 << 24);
    /// Whether process 1 of a container is the engine's init, which reaps zombie processes.
    BOT_INIT = "runner.init", Value("true"), Bool;
    /// The OCI runtime, by the engine's name for it, such as gVisor's `runsc`.
    BOT_OCI_RUNTIME = "runner.oci_runtime", Unset("the engine's default"), Text;
    /// The network of a job if its message names none.
    BOT_NETWORK = "runner.network", Value("host"), Choice(NETWORKS);
    /// The networks that a message may name.
    BOT_ALLOWED_NETWORKS = "runner.allowed_networks", Value("host,bridge,none"), Choices(NETWORKS);
    /// The image of the runtime python3.11.
    PYTHON_IMAGE = "runner.python_image", Value("python:3.11-slim"), Image;
    /// The image of the runtime nodejs20.
    NODE_IMAGE = "runner.node_image", Value("node:20-alpine"), Image;
    /// More runtimes by their names, and changes to the built-in ones. In the file each is a table of its own,
    /// `[runtimes."NAME"]`: see below. The variable replaces all of them.
    BOT_RUNTIMES = "runtimes", Unset("the built-in ones"), Kind::Runtimes;
    /// How long pulling an image may take.
    IMAGE_PULL_TIMEOUT_SECONDS = "runner.image_pull_timeout_seconds", Value("600"),
        seconds(1, DAY);
    /// The time-out of a terminating run if its message names none.
    JOB_TIMEOUT_SECONDS = "runner.timeout_seconds", Value("3600"), seconds(1, 30 * DAY);
    /// The longest time-out that the message of a terminating run may name.
    JOB_MAX_TIMEOUT_SECONDS = "runner.max_timeout_seconds", Value("86400"), seconds(1, 30 * DAY);
    /// How often a run is tried if its host dies or the infrastructure fails, and its message does
    /// not say.
    JOB_MAX_ATTEMPTS = "runner.max_attempts", Value("3"), count(1, 100);
    /// Time between SIGTERM and SIGKILL at a time-out or a drain.
    STOP_TIMEOUT_SECONDS = "runner.stop_timeout_seconds", Value("30"), seconds(0, 600);
    /// The shortest time between two health checks that a message may name. Each check starts a
    /// process in the container.
    HEALTH_CHECK_MIN_INTERVAL_SECONDS = "runner.health_check_min_interval_seconds", Value("5"),
        seconds(1, 30);
    /// How many containers are started at the same time.
    MAX_CONCURRENT_STARTS = "runner.max_concurrent_starts", Value("4"), count(1, 256);
    /// The largest zip.
    CODE_MAX_ARCHIVE_MB = "runner.code_max_archive_mb", Value("256"), megabytes(1, 65_536);
    /// The most that a zip may unpack to.
    CODE_MAX_EXTRACTED_MB = "runner.code_max_extracted_mb", Value("1024"), megabytes(1, 1 << 20);
    /// The most files in a zip, and the most folders. A link counts as what it points to. Large
    /// numeric stacks have some 30,000 files. Reading the names takes about 1 KB of memory each.
    CODE_MAX_ENTRIES = "runner.code_max_entries", Value("50000"), count(1, 10_000_000);
    /// How many times its own size a zip may unpack to.
    CODE_MAX_RATIO = "runner.code_max_ratio", Value("200"), count(1, 1_000_000);
    /// How deep an entry of a zip may lie in folders, with its own name counted as one.
    CODE_MAX_DEPTH = "runner.code_max_depth", Value("64"), count(1, 1000);
    /// The longest name of an entry of a zip, folders included, in bytes.
    CODE_MAX_NAME_BYTES = "runner.code_max_name_bytes", Value("1024"), count(1, 2048);
    /// How long unpacking a zip may take.
    CODE_UNPACK_TIMEOUT_SECONDS = "runner.code_unpack_timeout_seconds", Value("120"),
        seconds(1, DAY);
    /// The directory of the code cache: code and inputs that runs share, unpacked. Best on the
    /// file system of `TEMP_DIR`, because files are copied from another one. Workers of a host may
    /// share it.
    CODE_CACHE_DIR = "runner.code_cache_dir", Unset("`.cache` in `TEMP_DIR`"), Directory;
    /// The most that the code cache takes of the disk. What was not used for longest is removed
    /// first; what a run uses stays. 0 switches the cache off: then each run fetches and unpacks its
    /// code and inputs for itself.
    CODE_CACHE_MAX_MB = "runner.code_cache_max_mb", Value("2048"), megabytes(0, 1 << 24);
    /// How long compiling the byte code of a zip may take. It happens in the background, once for
    /// each zip and image. 0 switches it off.
    CODE_COMPILE_TIMEOUT_SECONDS = "runner.code_compile_timeout_seconds", Value("120"),
        seconds(0, DAY);
    /// How many containers of each runtime whose image is here wait started for a job, so that a terminating run
    /// need not wait for the engine. A run takes one if its message asks for no other limits and network, and
    /// sets no variable that an interpreter reads when it starts. 0 switches this off, and `warm` of a runtime
    /// says otherwise for that one. There are none for the launcher `exec`, and none with
    /// `BOT_READ_ONLY_CODE=false` or `BOT_OCI_RUNTIME`.
    WARM_CONTAINERS = "runner.warm_containers", Value("2"), count(0, 64);
    /// How long a container waits for a job before a new one takes its place.
    WARM_MAX_AGE_SECONDS = "runner.warm_max_age_seconds", Value("3600"), seconds(10, DAY);
    /// The largest result.json.
    RESULT_MAX_MB = "runner.result_max_mb", Value("64"), megabytes(1, 4096);
    /// The most configs of a sweep.
    SWEEP_MAX_CONFIGS = "runner.sweep_max_configs", Value("100000"), count(1, 10_000_000);
    /// The most configs of a sweep that a message may let run at the same time.
    SWEEP_MAX_PARALLEL = "runner.sweep_max_parallel", Value("64"), count(1, 1024);
    /// The most that the configs of a sweep may take together, and the most that its rows may take.
    /// A smaller `BOT_FILE_SIZE_LIMIT_MB` bounds it, too.
    SWEEP_MAX_MB = "runner.sweep_max_mb", Value("64"), megabytes(1, 4096);
    /// The largest result of one config of a sweep.
    SWEEP_RESULT_MAX_KB = "runner.sweep_result_max_kb", Value("64"), kilobytes(1, 65_536);
    /// How much of the output of one config of a sweep is kept in its row: the end of it.
    SWEEP_OUTPUT_KB = "runner.sweep_output_kb", Value("4"), kilobytes(0, 1024);

    /// The most that the artifacts of a run may hold together, which is also what a message gets that asks
    /// for artifacts and does not say how much. They lie in `/tmp` until the run ends, so `BOT_TMP_MB` bounds
    /// them, too, and so does `BOT_FILE_SIZE_LIMIT_MB`.
    ARTIFACTS_MAX_MB = "runner.artifacts_max_mb", Value("32"), megabytes(1, 4096);
    /// The most files that a run may leave as artifacts. Each takes some 300 bytes of the result event.
    ARTIFACTS_MAX_FILES = "runner.artifacts_max_files", Value("200"), count(1, 1000);

    /// The largest state of a bot, as JSON, which is also what a message gets that asks for a state and does
    /// not say how large. Its file has two copies, so it stays below half of `BOT_FILE_SIZE_LIMIT_MB`.
    STATE_MAX_KB = "runner.state_max_kb", Value("256"), kilobytes(1, 4096);

    /// The most inputs of a run. 0 refuses all.
    BOT_INPUTS_MAX = "runner.inputs_max", Value("16"), count(0, 100);
    /// The most that all inputs of a run may hold together, unpacked. What is unpacked has the bounds
    /// of a zip with code as well (`CODE_MAX_*`).
    BOT_INPUTS_MB = "runner.inputs_mb", Value("1024"), megabytes(1, 1 << 20);

    /// The directory of the cache of installed packages, which `longshore pack`, `run` and `start` keep
    /// on the machine of a program's author. The engine must see it under the same path.
    PACK_CACHE_DIR = "pack.cache_dir", Unset("`.cache/longshore/packages` in the home directory"),
        Directory;
    /// The most that this cache takes of the disk. What was not used for longest is removed first.
    PACK_CACHE_MAX_MB = "pack.cache_max_mb", Value("4096"), megabytes(1, 1 << 24);
    /// The network of the container that installs packages. It must reach the package index.
    PACK_NETWORK = "pack.network", Value("bridge"), Choice(&["bridge", "host"]);
    /// How long installing the packages of a program may take.
    PACK_TIMEOUT_SECONDS = "pack.timeout_seconds", Value("900"), seconds(1, DAY);
    /// The directory in which `longshore run` keeps the states of bots. No worker uses it.
    RUN_STATE_DIR = "pack.run_state_dir", Unset("`.local/state/longshore` in the home directory"), Directory;

    /// This worker's name in events and logs.
    WORKER_NAME = "worker.name", HostName, Text;
    /// The number of segments, and so the most workers at a time.
    MAX_SEGMENTS = "worker.max_segments", Value("1000"), count(1, 10_000);
    /// How long a bot runs on while its worker cannot prove that it still owns the segment, for
    /// example while the broker is away. Then the bot ends itself, and the segment's next owner
    /// starts it again.
    SEGMENT_GRACE_SECONDS = "worker.segment_grace_seconds", Value("15"), seconds(10, 3600);
    /// The same after a drain: how long a bot waits for the next worker.
    HANDOVER_GRACE_SECONDS = "worker.handover_grace_seconds", Value("120"), seconds(10, DAY);
    /// Terminating runs at a time.
    MAX_TERMINATING = "worker.max_terminating", Value("4"), count(0, 10_000);
    /// Long-running jobs at a time.
    MAX_LONG_RUNNING = "worker.max_long_running", Value("50"), count(0, 10_000);
    /// The largest start or stop message. In memory, JSON can take some sixteen times its size.
    MESSAGE_MAX_KB = "worker.message_max_kb", Value("2048"), kilobytes(1, MAX_MESSAGE_KB);
    /// How long terminating runs may go on after SIGTERM.
    DRAIN_GRACE_SECONDS = "worker.drain_grace_seconds", Value("60"), seconds(0, DAY);
    /// The longest pause before a result that RabbitMQ did not confirm is published again. The first
    /// pause is 5 seconds, and each doubles. Subscribers get the result again each time, with the
    /// same event id.
    PUBLISH_RETRY_MAX_SECONDS = "worker.publish_retry_max_seconds", Value("300"), seconds(1, DAY);
    /// How many days the journal keeps what nobody needs any more: records of jobs that have ended, stops,
    /// refusals. A start that comes again later than that runs again, so it must be longer than messages may
    /// wait in the broker.
    RECORD_RETENTION_DAYS = "worker.record_retention_days", Unset("for ever"), count(1, 36_500);
    /// How many keys of the journal are checked in one day for records that are too old. The rest is left for
    /// the next day.
    RECORD_RETENTION_KEYS_PER_DAY = "worker.record_retention_keys_per_day", Value("1000000"),
        count(1, 1_000_000_000);
    /// How many days results, whole outputs and the tables of sweeps are kept, for the whole results bucket. It
    /// should be longer than the longest sweep.
    RESULT_RETENTION_DAYS = "worker.result_retention_days", Unset("for ever"), count(1, 36_500);
    /// How many days artifacts are kept, for the whole results bucket.
    ARTIFACT_RETENTION_DAYS = "worker.artifact_retention_days", Unset("for ever"), count(1, 36_500);
    /// How many keys of the results bucket are checked in one day for results and artifacts that are too old.
    /// The rest is left for the next day.
    RESULT_RETENTION_KEYS_PER_DAY = "worker.result_retention_keys_per_day", Value("1000000"),
        count(1, 1_000_000_000);

    /// Time between two shipments of log lines if the message names none.
    LOG_INTERVAL_SECONDS = "logs.interval_seconds", Value("30"), seconds(1, 3600);
    /// Unshipped lines of this size are shipped at once.
    LOG_CHUNK_MAX_KB = "logs.chunk_max_kb", Value("1024"), kilobytes(1, 65_536);
    /// The most unshipped lines of one container in memory. The rest goes to disk.
    LOG_BUFFER_MAX_KB = "logs.buffer_max_kb", Value("2048"), kilobytes(1, 1 << 20);
    /// The most unshipped lines of all containers in memory. The rest goes to disk.
    LOG_MEMORY_MAX_MB = "logs.memory_max_mb", Value("16"), megabytes(1, 65_536);
    /// The directory for unshipped lines that memory has no room for, and for whole outputs until
    /// they are stored. Each worker makes a directory of its own in it, and removes those of dead
    /// workers.
    LOG_SPOOL_DIR = "logs.spool_dir", Value("/tmp/longshore-spool"), Directory;
    /// The most unshipped lines of one container on disk. While the store is away, further lines are
    /// dropped, and the log says how many.
    LOG_SPOOL_CONTAINER_MAX_MB = "logs.spool_container_max_mb", Value("256"),
        megabytes(1, 1 << 20);
    /// The most unshipped lines of all containers on disk.
    LOG_SPOOL_MAX_MB = "logs.spool_max_mb", Value("2048"), megabytes(1, 1 << 24);
    /// The size of one file of the engine's log of a container. That log bridges the time in which no
    /// worker reads it.
    LOG_ENGINE_FILE_MB = "logs.engine_file_mb", Value("64"), megabytes(1, 65_536);
    /// How many files the engine's log of a container has. The oldest is deleted when a new one
    /// begins.
    LOG_ENGINE_FILES = "logs.engine_files", Value("2"), count(2, 1000);
    /// How many days logs are kept, for the whole log bucket.
    LOG_RETENTION_DAYS = "logs.retention_days", Unset("for ever"), count(1, 36_500);
    /// How many keys of the log bucket are checked in one day for logs that are too old. The rest is
    /// left for the next day.
    LOG_RETENTION_KEYS_PER_DAY = "logs.retention_keys_per_day", Value("1000000"),
        count(1, 1_000_000_000);
    /// How many series a program may measure. Points of further ones are left out, and the result
    /// says how many.
    SERIES_MAX_NAMES = "logs.series_max_names", Value("32"), count(1, 64);
    /// How many points of a series are kept. A longer one is thinned out evenly; its newest point stays.
    SERIES_MAX_POINTS = "logs.series_max_points", Value("2000"), count(10, 8000);
    /// The least time between two times that the series of a run are stored. They are stored with its
    /// log, if they have changed, and at its end.
    SERIES_INTERVAL_SECONDS = "logs.series_interval_seconds", Value("30"), seconds(1, 3600);
    /// The most stored output of one terminating run.
    OUTPUT_MAX_MB = "logs.output_max_mb", Value("64"), megabytes(1, 4096);
    /// The last part of the output, which a result event carries.
    OUTPUT_TAIL_KB = "logs.output_tail_kb", Value("64"), kilobytes(1, 1024);

    /// The address of the health server. Port 0 takes a free port. An address beyond the loopback
    /// needs `HTTP_TOKEN`.
    HTTP_LISTEN = "http.listen", Value("127.0.0.1:8080"), Address;
    /// The token that a request must carry as `Authorization: Bearer …`, except for `/healthz`, which
    /// says only that the process lives, and for the files of the dashboard. Without it, the API is off.
    HTTP_TOKEN = "http.token", Unset("none is wanted"), Token;
    /// More host names under which a request without a token is answered, such as the name of a proxy
    /// on this machine. A request with another name in its header `Host` is refused, because a
    /// stranger's page may have sent it through a browser.
    HTTP_ALLOWED_HOSTS = "http.allowed_hosts", Unset("those of the loopback"), Hosts;

    /// What the program logs: off, error, warn, info, debug, trace, or a filter such as
    /// `info,longshore=debug`. Libraries log at info at most, because below that they log whole
    /// requests.
    LOG_LEVEL = "telemetry.level", Value("info"), LogFilter;
    /// The form of the program's log. auto is text on a terminal and json elsewhere.
    LOG_FORMAT = "telemetry.format", Value("auto"), Choice(&["auto", "text", "json"]);
    /// The collector that gets traces by OTLP over HTTP: a span for each run, and one for each of its stages. Its
    /// library reads other variables itself: `OTEL_EXPORTER_OTLP_HEADERS`, `OTEL_TRACES_SAMPLER`, `OTEL_BSP_…`.
    OTEL_EXPORTER_OTLP_ENDPOINT = "telemetry.otlp_endpoint", Unset("no traces are sent"), HttpUrl;
    /// The name of the service in traces.
    OTEL_SERVICE_NAME = "telemetry.service_name", Value("longshore"), Text;
}

/// Variables that other programs use for a setting of ours, and the one that is read here.
///
/// Ignoring such a one in silence could mean a connection without TLS.
pub(super) const OTHER_SPELLINGS: &[(&str, &Setting)] = &[
    ("MINIO_USE_SSL", &MINIO_SSL),
    ("MINIO_USE_TLS", &MINIO_SSL),
    ("MINIO_SECURE", &MINIO_SSL),
    ("MINIO_TLS", &MINIO_SSL),
];
