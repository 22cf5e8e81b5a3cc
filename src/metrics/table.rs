//! Every metric: its name, its labels, and what it means. `docs/metrics.md` is made from this.

/// What a metric is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// It only grows, until the worker restarts.
    Counter,
    /// It goes up and down. It is read when somebody asks.
    Gauge,
    /// How long something took, in seconds, in buckets with these upper bounds.
    Histogram(&'static [f64]),
}

/// One metric.
#[derive(Debug)]
pub struct Metric {
    /// Its name.
    pub name: &'static str,
    /// What it is.
    pub kind: Kind,
    /// Its labels, and the values that each can have.
    pub labels: &'static [Label],
    /// What it means, in one sentence without a full stop.
    pub help: &'static str,
}

/// A label.
#[derive(Debug)]
pub struct Label {
    /// Its name.
    pub name: &'static str,
    /// Which values it can have, in words.
    pub values: &'static str,
}

const fn label(name: &'static str, values: &'static str) -> Label {
    Label { name, values }
}

/// From a step that takes no time to a backtest of hours.
const STAGE_BOUNDS: &[f64] = &[
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0,
    7200.0, 43200.0,
];

/// A request to a server.
const REQUEST_BOUNDS: &[f64] =
    &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0];

const RUN_KIND: Label =
    label("kind", "`terminating`, `long_running`; `none` for a refused message");

macro_rules! metrics {
    ($($(#[$doc:meta])* $constant:ident: $name:literal, $kind:expr, [$($label:expr),*], $help:literal;)+) => {
        $($(#[$doc])* pub const $constant: Metric =
            Metric { name: $name, kind: $kind, labels: &[$($label),*], help: $help };)+

        /// Every metric of Longshore, in the order of the documentation. Those of the process are
        /// [`PROCESS`].
        pub const ALL: &[&Metric] = &[$(&$constant),+];
    };
}

metrics! {
    /// Ends of runs.
    RUNS: "longshore_runs_total", Kind::Counter,
        [label("verdict", "the verdicts of result events"), label("runtime", "the names of runtimes; `none` for a refused message"), RUN_KIND],
        "Runs that this worker has settled, and messages that it refused";
    /// Stages of a run.
    STAGE: "longshore_stage_seconds", Kind::Histogram(STAGE_BOUNDS),
        [label("stage", "`queue`, `claim`, `code`, `image`, `start`, `run`, `collect`, `settle`, `publish`")],
        "How long each stage of a run took. `queue` counts from the message's timestamp, which has whole seconds";
    /// Slots.
    SLOTS: "longshore_slots", Kind::Gauge,
        [label("kind", "`terminating`, `long_running`"), label("state", "`busy`, `free`")],
        "Slots for runs. The sum over the states is `MAX_TERMINATING` or `MAX_LONG_RUNNING`";
    /// Whether the worker takes jobs.
    TAKES_JOBS: "longshore_takes_jobs", Kind::Gauge, [],
        "1 while the worker takes jobs; 0 while the store, the engine or a rehearsal of a job fails";
    /// Messages in queues.
    QUEUE_MESSAGES: "longshore_queue_messages", Kind::Gauge,
        [label("queue", "the inboxes, the retry queues and the dead letters, by their full names")],
        "Messages that wait in a queue, as the broker counted them at most a minute ago; absent if it did not answer. All workers report the same: use max, not sum";
    /// Consumers of queues.
    QUEUE_CONSUMERS: "longshore_queue_consumers", Kind::Gauge,
        [label("queue", "the inboxes, by their full names")],
        "Consumers of a queue. Those of a queue of starts are the workers with a free slot";
    /// The oldest message.
    QUEUE_OLDEST: "longshore_queue_oldest_seconds", Kind::Gauge,
        [label("queue", "the two queues of starts, by their full names")],
        "An upper bound on the age of the oldest message in a queue: the time since the timestamp of the message that this worker last took from it, or since it saw the queue empty; 0 for an empty queue, absent where neither is known";
    /// Connections.
    CONNECTED: "longshore_connected", Kind::Gauge, [label("server", "`rabbitmq`")],
        "1 while there is a connection";
    /// Lost connections.
    RECONNECTS: "longshore_reconnects_total", Kind::Counter,
        [label("server", "`rabbitmq`"), label("connection", "`work`, `locks`")],
        "Connections that were lost and made again";
    /// Segments.
    SEGMENTS: "longshore_segments", Kind::Gauge,
        [label("state", "`held`, `unproven`")],
        "Segments of this worker. For an unproven one, the broker has not confirmed for 6 s that its lock is ours; no container starts under it";
    /// Lease margin.
    LEASE_MARGIN: "longshore_lease_margin_seconds", Kind::Gauge, [],
        "How long the bots of this worker may go on without another proof: `SEGMENT_GRACE_SECONDS` less the age of the oldest proof. Absent without a segment";
    /// Results that wait.
    UNCONFIRMED: "longshore_results_unconfirmed", Kind::Gauge, [],
        "Results that wait for the broker's confirm";
    /// Requests to the store.
    STORE_REQUESTS: "longshore_store_requests_total", Kind::Counter,
        [label("operation", "`get`, `head`, `download`, `put`, `upload`, `list`, `delete`, `create_bucket`, `check`"), label("outcome", "`ok`, `missing`, `condition` (another write was first, or nothing has changed), `refused`, `no_answer`")],
        "Requests to the object store, each try counted";
    /// Time of requests to the store.
    STORE_SECONDS: "longshore_store_seconds", Kind::Histogram(REQUEST_BOUNDS),
        [label("operation", "as above")],
        "How long requests to the object store took, whatever their outcome";
    /// Time of the engine.
    ENGINE_SECONDS: "longshore_engine_seconds", Kind::Histogram(REQUEST_BOUNDS),
        [label("operation", "`check`, `copy`, `image`, `inspect`, `list`, `logs`, `pull`, `remove`, `rename`, `start`, `stop`")],
        "How long operations of the container engine took, whatever their outcome. `stop` includes the time that the program takes to end";
    /// Stored log bytes.
    LOG_BYTES: "longshore_log_bytes_total", Kind::Counter, [],
        "Bytes of log lines that were stored";
    /// The spool.
    LOG_SPOOL: "longshore_log_spool_bytes", Kind::Gauge, [],
        "Bytes of log lines that wait on disk because the store does not take them";
    /// The room of the spool.
    LOG_SPOOL_LIMIT: "longshore_log_spool_limit_bytes", Kind::Gauge, [],
        "How many there may be (`LOG_SPOOL_MAX_MB`); beyond that, lines are dropped";
    /// The cache of code and inputs.
    CACHE_BYTES: "longshore_cache_bytes", Kind::Gauge, [],
        "Bytes in the cache of code and inputs, as this worker last counted them; absent without a cache";
    /// Warm containers.
    WARM: "longshore_warm_containers", Kind::Gauge, [label("state", "`waiting`")],
        "Containers that were started before there is a job for them";
    /// Runs that began in one.
    WARM_RUNS: "longshore_warm_runs_total", Kind::Counter, [label("outcome", "`warm`, `cold`")],
        "Runs that could begin in a waiting container, and whether one was there";
    /// States of bots.
    STATES: "longshore_states_total", Kind::Counter,
        [label("outcome", "`saved`, `refused` (too large, or no JSON), `superseded` (another run has the job's state now), `failed`")],
        "States of bots that were to be stored, and what became of them. An unchanged state is not counted";
    /// Rows of sweeps.
    SWEEP_ROWS: "longshore_sweep_rows_total", Kind::Counter, [label("verdict", "`succeeded`, `failed`, `timed_out`, `out_of_memory`")],
        "Rows of sweeps that this worker stored";
    /// What programs measure.
    SERIES_POINTS: "longshore_series_points_total", Kind::Counter,
        [label("outcome", "`taken`, `left_out` (beyond `SERIES_MAX_NAMES`)")],
        "Points of series that programs measured";
    /// What passes over old objects did.
    RETENTION: "longshore_retention_objects_total", Kind::Counter,
        [label("what", "`records`, `logs`, `results`, `artifacts`"), label("outcome", "`checked`, `removed`, `failed`")],
        "Objects in the daily passes of this worker over what may be too old. Only one worker of a namespace makes each pass: use sum";
    /// What they removed.
    RETENTION_BYTES: "longshore_retention_removed_bytes_total", Kind::Counter, [label("what", "as above")],
        "Bytes that these passes removed";
    /// The build.
    BUILD: "longshore_build_info", Kind::Gauge, [label("version", "the version of Longshore")],
        "Always 1";
}

/// The metrics of the process, which every Prometheus client has, and what they mean.
pub const PROCESS: &[(&str, &str, &str)] = &[
    ("process_cpu_seconds_total", "counter", "CPU time of the worker, in whole seconds"),
    ("process_open_fds", "gauge", "Open file descriptors"),
    ("process_max_fds", "gauge", "How many there may be"),
    ("process_virtual_memory_bytes", "gauge", "Virtual memory"),
    ("process_resident_memory_bytes", "gauge", "Memory in use"),
    ("process_start_time_seconds", "gauge", "When the worker was started, as a Unix time"),
    ("process_threads", "gauge", "Threads"),
];
