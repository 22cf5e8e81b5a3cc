//! What is counted where it happens: one method for each event.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::families::{Counter, Families, Histogram, TEXT_TYPE};
use super::gauges::{Gauges, Source, kind};
use super::table;
use crate::job::Verdict;
use crate::job::series::Taken;
use crate::traces;

/// The queues whose last timestamp is kept: a bound against a caller that names more.
const MAX_QUEUES: usize = 64;

/// The value of a label of a message that led to no run.
const NONE: &str = "none";

/// The outcomes of points of series.
const TAKEN: &str = "taken";
const LEFT_OUT: &str = "left_out";

/// A part of the way of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// In the broker, from the message's timestamp until a worker has it.
    Queue,
    /// In the journal, until the job is ours.
    Claim,
    /// Fetching and unpacking the code.
    Code,
    /// Looking for the image, and pulling it if it is missing.
    Image,
    /// From a prepared directory to a running container.
    Start,
    /// The program.
    Run,
    /// Result, logs and exit note.
    Collect,
    /// The end of the run in the journal.
    Settle,
    /// The result event, until the broker has confirmed it.
    Publish,
}

impl Stage {
    /// Every stage, in order.
    pub const ALL: [Self; 9] = [
        Self::Queue,
        Self::Claim,
        Self::Code,
        Self::Image,
        Self::Start,
        Self::Run,
        Self::Collect,
        Self::Settle,
        Self::Publish,
    ];

    /// The value of the label `stage`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queue => "queue",
            Self::Claim => "claim",
            Self::Code => "code",
            Self::Image => "image",
            Self::Start => "start",
            Self::Run => "run",
            Self::Collect => "collect",
            Self::Settle => "settle",
            Self::Publish => "publish",
        }
    }
}

/// How one try of a request to the store went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreOutcome {
    /// It did what was asked.
    Ok,
    /// There is no such object.
    Missing,
    /// The condition of a write or a read did not hold.
    Condition,
    /// The store, or this machine, refused it.
    Refused,
    /// There was no answer.
    NoAnswer,
}

impl StoreOutcome {
    fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Missing => "missing",
            Self::Condition => "condition",
            Self::Refused => "refused",
            Self::NoAnswer => "no_answer",
        }
    }
}

/// What became of a state that was to be stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StateOutcome {
    /// It is in the store.
    Saved,
    /// It is too large, or no JSON.
    Refused,
    /// Another run has the job's state now.
    Superseded,
    /// The store failed.
    Failed,
}

impl StateOutcome {
    /// Every outcome.
    pub const ALL: [Self; 4] = [Self::Saved, Self::Refused, Self::Superseded, Self::Failed];

    /// The value of the label `outcome`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Saved => "saved",
            Self::Refused => "refused",
            Self::Superseded => "superseded",
            Self::Failed => "failed",
        }
    }
}

/// Counts what a worker does. Clones count together; two made by [`Metrics::default`] do not.
#[derive(Clone)]
pub struct Metrics {
    inner: Arc<Inner>,
}

struct Inner {
    families: Families,
    runs: Counter,
    stages: Histogram,
    reconnects: Counter,
    store_requests: Counter,
    store_seconds: Histogram,
    engine_seconds: Histogram,
    log_bytes: Counter,
    warm_runs: Counter,
    states: Counter,
    sweep_rows: Counter,
    series_points: Counter,
    retention: Counter,
    retention_bytes: Counter,
    gauges: Gauges,
    sources: Mutex<Vec<Source>>,
    /// The timestamp of the message that was last taken from a queue.
    last_taken: Mutex<BTreeMap<String, Timestamp>>,
}

impl Default for Metrics {
    fn default() -> Self {
        let families = Families::default();
        let inner = Inner {
            runs: families.counter(&table::RUNS),
            stages: families.histogram(&table::STAGE),
            reconnects: families.counter(&table::RECONNECTS),
            store_requests: families.counter(&table::STORE_REQUESTS),
            store_seconds: families.histogram(&table::STORE_SECONDS),
            engine_seconds: families.histogram(&table::ENGINE_SECONDS),
            log_bytes: families.counter(&table::LOG_BYTES),
            warm_runs: families.counter(&table::WARM_RUNS),
            states: families.counter(&table::STATES),
            sweep_rows: families.counter(&table::SWEEP_ROWS),
            series_points: families.counter(&table::SERIES_POINTS),
            retention: families.counter(&table::RETENTION),
            retention_bytes: families.counter(&table::RETENTION_BYTES),
            gauges: Gauges::new(&families),
            families,
            sources: Mutex::default(),
            last_taken: Mutex::default(),
        };
        Self { inner: Arc::new(inner) }
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Metrics {
    /// The metrics of a worker: with those of its process, and with counters that are there from the
    /// start, also for these runtimes. Prometheus sees no increase where a counter appears with its first event.
    #[must_use]
    pub fn of_process<'a>(runtimes: impl Iterator<Item = &'a str>) -> Self {
        let metrics = Self::default();
        metrics.inner.families.add_process();
        metrics.inner.log_bytes.add(&[], 0);
        for runtime in runtimes {
            for verdict in Verdict::ALL {
                for long_running in [false, true] {
                    let labels = [verdict.as_str(), runtime, kind(long_running)];
                    metrics.inner.runs.add(&labels, 0);
                }
            }
        }
        metrics.inner.runs.add(&[Verdict::Rejected.as_str(), NONE, NONE], 0);
        for outcome in StateOutcome::ALL {
            metrics.inner.states.add(&[outcome.as_str()], 0);
        }
        for verdict in
            [Verdict::Succeeded, Verdict::Failed, Verdict::TimedOut, Verdict::OutOfMemory]
        {
            metrics.sweep_rows(verdict, 0);
        }
        for outcome in [TAKEN, LEFT_OUT] {
            metrics.inner.series_points.add(&[outcome], 0);
        }
        for connection in ["work", "locks"] {
            metrics.inner.reconnects.add(&["rabbitmq", connection], 0);
        }
        metrics
    }

    /// A run has ended, or a message was refused. Without a runtime or a kind: the message has none.
    pub fn ended(&self, verdict: &str, runtime: Option<&str>, long_running: Option<bool>) {
        let kind = long_running.map_or(NONE, kind);
        self.inner.runs.add(&[verdict, runtime.unwrap_or(NONE), kind], 1);
    }

    /// A stage of a run took this long, and is over now.
    pub fn stage(&self, stage: Stage, took: Duration) {
        self.stage_before(stage, took, Duration::ZERO);
    }

    /// A stage of a run took this long, and has been over for so long.
    pub fn stage_before(&self, stage: Stage, took: Duration, over_since: Duration) {
        self.inner.stages.observe(&[stage.as_str()], took.as_secs_f64());
        traces::stage(stage.as_str(), took, over_since);
    }

    /// Does the work of a stage, and notes how long it took. Work that is dropped is not noted.
    pub async fn timed<T>(&self, stage: Stage, work: impl Future<Output = T>) -> T {
        let begun = Instant::now();
        let done = work.await;
        self.stage(stage, begun.elapsed());
        done
    }

    /// A start message was taken from `queue` at `now`. One that was in a queue before counts only
    /// its last stay, which no timestamp says, so it is left out by the caller.
    pub fn taken(&self, queue: &str, published_at: Timestamp, now: Timestamp) {
        let waited = Duration::try_from(now.duration_since(published_at)).unwrap_or_default();
        self.stage(Stage::Queue, waited);
        let mut last = self.inner.last_taken.lock();
        if last.contains_key(queue) || last.len() < MAX_QUEUES {
            last.insert(queue.to_owned(), published_at);
        }
    }

    /// The timestamp of the message that was last taken from `queue`.
    #[must_use]
    pub fn last_taken(&self, queue: &str) -> Option<Timestamp> {
        self.inner.last_taken.lock().get(queue).copied()
    }

    /// A lost connection to the broker was made again: the one for work, or the one for locks.
    pub fn reconnected(&self, connection: &str) {
        self.inner.reconnects.add(&["rabbitmq", connection], 1);
    }

    /// One try of a request to the store.
    pub fn store_request(&self, operation: &str, outcome: StoreOutcome, took: Duration) {
        self.inner.store_requests.add(&[operation, outcome.as_str()], 1);
        self.inner.store_seconds.observe(&[operation], took.as_secs_f64());
    }

    /// Does an operation of the engine, and notes how long it took.
    pub async fn engine<T>(&self, operation: &str, work: impl Future<Output = T>) -> T {
        let begun = Instant::now();
        let done = work.await;
        self.inner.engine_seconds.observe(&[operation], begun.elapsed().as_secs_f64());
        done
    }

    /// So many bytes of log lines were stored.
    pub fn stored_log(&self, bytes: u64) {
        self.inner.log_bytes.add(&[], bytes);
    }

    /// A program measured something. A point that was stored before is not counted again.
    pub fn measured(&self, taken: Taken) {
        match taken {
            Taken::Taken => self.inner.series_points.add(&[TAKEN], 1),
            Taken::LeftOut => self.inner.series_points.add(&[LEFT_OUT], 1),
            Taken::Known => {}
        }
    }

    /// A run began that may take a waiting container, and took one or not.
    pub fn warm_run(&self, was_warm: bool) {
        self.inner.warm_runs.add(&[if was_warm { "warm" } else { "cold" }], 1);
    }

    /// So many rows of sweeps with this verdict are stored.
    pub fn sweep_rows(&self, verdict: Verdict, count: u64) {
        self.inner.sweep_rows.add(&[verdict.as_str()], count);
    }

    /// The state of a bot was to be stored.
    pub fn state(&self, outcome: StateOutcome) {
        self.inner.states.add(&[outcome.as_str()], 1);
    }

    /// A pass over what may be too old has ended: how many objects it checked, how many of them it removed,
    /// how many failed; and what those that it removed held.
    pub fn swept(&self, what: &str, counts: [usize; 3], removed_bytes: u64) {
        for (outcome, count) in ["checked", "removed", "failed"].into_iter().zip(counts) {
            self.inner.retention.add(&[what, outcome], count as u64);
        }
        self.inner.retention_bytes.add(&[what], removed_bytes);
    }

    /// Has `source` read gauges whenever somebody asks for them. It must not wait for anything. It
    /// should hold what it reads weakly, because it lives as long as the metrics.
    pub fn at_scrape(&self, source: impl Fn(&Gauges) + Send + Sync + 'static) {
        self.inner.sources.lock().push(Box::new(source));
    }

    /// Everything, as Prometheus reads it: text of the type [`Metrics::text_type`].
    #[must_use]
    pub fn text(&self) -> String {
        self.text_with(|_| ())
    }

    /// As [`text`](Self::text), with one more source, for this time only.
    #[must_use]
    pub fn text_with(&self, read: impl FnOnce(&Gauges)) -> String {
        let inner = &self.inner;
        // Held until the text is made, so that two who ask at once do not mix.
        let sources = inner.sources.lock();
        inner.gauges.clear();
        for source in sources.iter() {
            source(&inner.gauges);
        }
        read(&inner.gauges);
        inner.families.text()
    }

    /// The media type of [`Metrics::text`].
    #[must_use]
    pub fn text_type() -> &'static str {
        TEXT_TYPE
    }
}
