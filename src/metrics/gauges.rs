//! What is read when somebody asks.

use super::families::{Families, Gauge};
use super::table;

/// Reads some gauges.
pub(super) type Source = Box<dyn Fn(&Gauges) + Send + Sync>;

/// Takes the values of gauges. One that nobody sets is absent from the text.
#[derive(Debug)]
pub struct Gauges {
    slots: Gauge,
    takes_jobs: Gauge,
    queue_messages: Gauge,
    queue_consumers: Gauge,
    queue_oldest: Gauge,
    connected: Gauge,
    segments: Gauge,
    lease_margin: Gauge,
    unconfirmed: Gauge,
    log_spool: Gauge,
    log_spool_limit: Gauge,
    cache: Gauge,
    warm: Gauge,
    build: Gauge,
}

impl Gauges {
    pub(super) fn new(families: &Families) -> Self {
        Self {
            slots: families.gauge(&table::SLOTS),
            takes_jobs: families.gauge(&table::TAKES_JOBS),
            queue_messages: families.gauge(&table::QUEUE_MESSAGES),
            queue_consumers: families.gauge(&table::QUEUE_CONSUMERS),
            queue_oldest: families.gauge(&table::QUEUE_OLDEST),
            connected: families.gauge(&table::CONNECTED),
            segments: families.gauge(&table::SEGMENTS),
            lease_margin: families.gauge(&table::LEASE_MARGIN),
            unconfirmed: families.gauge(&table::UNCONFIRMED),
            log_spool: families.gauge(&table::LOG_SPOOL),
            log_spool_limit: families.gauge(&table::LOG_SPOOL_LIMIT),
            cache: families.gauge(&table::CACHE_BYTES),
            warm: families.gauge(&table::WARM),
            build: families.gauge(&table::BUILD),
        }
    }

    pub(super) fn clear(&self) {
        let Self {
            slots,
            takes_jobs,
            queue_messages,
            queue_consumers,
            queue_oldest,
            connected,
            segments,
            lease_margin,
            unconfirmed,
            log_spool,
            log_spool_limit,
            cache,
            warm,
            build,
        } = self;
        for gauge in [
            slots,
            takes_jobs,
            queue_messages,
            queue_consumers,
            queue_oldest,
            connected,
            segments,
            lease_margin,
            unconfirmed,
            log_spool,
            log_spool_limit,
            cache,
            warm,
        ] {
            gauge.clear();
        }
        build.set(&[env!("CARGO_PKG_VERSION")], 1.0);
    }

    /// The slots of a kind.
    pub fn slots(&self, long_running: bool, busy: usize, free: usize) {
        self.slots.set(&[kind(long_running), "busy"], number(busy));
        self.slots.set(&[kind(long_running), "free"], number(free));
    }

    /// Whether the worker takes jobs.
    pub fn takes_jobs(&self, takes: bool) {
        self.takes_jobs.set(&[], flag(takes));
    }

    /// What waits in a queue.
    pub fn queue_messages(&self, queue: &str, messages: u32) {
        self.queue_messages.set(&[queue], f64::from(messages));
    }

    /// Who consumes a queue.
    pub fn queue_consumers(&self, queue: &str, consumers: u32) {
        self.queue_consumers.set(&[queue], f64::from(consumers));
    }

    /// The age of the oldest message of a queue, at most.
    pub fn queue_oldest(&self, queue: &str, seconds: f64) {
        self.queue_oldest.set(&[queue], seconds);
    }

    /// Whether there is a connection to a server.
    pub fn connected(&self, server: &str, is_connected: bool) {
        self.connected.set(&[server], flag(is_connected));
    }

    /// The segments of this worker.
    pub fn segments(&self, held: usize, unproven: usize) {
        self.segments.set(&["held"], number(held));
        self.segments.set(&["unproven"], number(unproven));
    }

    /// How long bots may go on without another proof.
    pub fn lease_margin(&self, seconds: f64) {
        self.lease_margin.set(&[], seconds);
    }

    /// Results that wait for the broker's confirm.
    pub fn unconfirmed(&self, results: usize) {
        self.unconfirmed.set(&[], number(results));
    }

    /// Log lines that wait on disk, and how many there may be, in bytes.
    pub fn log_spool(&self, used: u64, limit: u64) {
        self.log_spool.set(&[], bytes(used));
        self.log_spool_limit.set(&[], bytes(limit));
    }

    /// The bytes of the cache of code and inputs.
    pub fn cache(&self, used: u64) {
        self.cache.set(&[], bytes(used));
    }

    /// Containers that wait for a job.
    pub fn warm(&self, waiting: usize) {
        self.warm.set(&["waiting"], number(waiting));
    }
}

/// The value of the label `kind`.
pub(super) fn kind(long_running: bool) -> &'static str {
    if long_running { "long_running" } else { "terminating" }
}

fn flag(is_set: bool) -> f64 {
    f64::from(u8::from(is_set))
}

fn number(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

/// Exact up to 8 PiB.
#[allow(clippy::cast_precision_loss, reason = "a gauge is a floating-point number")]
fn bytes(count: u64) -> f64 {
    count as f64
}
