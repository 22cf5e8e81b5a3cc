//! What the loop of a segment and the shippers of its containers share, and the bounds on their
//! simultaneous work.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Notify, Semaphore, watch};
use tokio::time::Instant;

use super::backlog::Space;
use super::key::Day;
use super::live::LiveFeed;
use super::room::Room;
use super::spool::Spool;
use crate::job::JobId;
use crate::metrics::Metrics;
use crate::settings::LogSettings;
use crate::storage::ObjectStore;

/// How many compactions run at a time. Each holds a part of a day's log in memory.
const MAX_CONCURRENT_COMPACTIONS: usize = 2;

/// How long storing one chunk may take before it counts as failed and is tried again later.
pub(super) const PUT_PATIENCE: Duration = Duration::from_mins(2);

/// How many chunks are stored at a time, over all containers, if they are of the smallest size.
const MAX_CONCURRENT_PUTS: u32 = 32;

/// How many bytes of chunks are stored at a time, over all containers.
const MAX_PUT_BYTES: u64 = 8 << 20;

/// The permits for everything that may be on its way to the store at a time.
fn all_permits() -> usize {
    MAX_CONCURRENT_PUTS as usize
}

/// The permits for storing this many bytes: at least one, and at most all.
pub(super) fn permits(bytes: u64) -> u32 {
    let share = MAX_PUT_BYTES / u64::from(MAX_CONCURRENT_PUTS);
    u32::try_from(bytes.div_ceil(share)).unwrap_or(u32::MAX).clamp(1, MAX_CONCURRENT_PUTS)
}

/// What the loop and a container's shipper share.
pub(super) struct Pulse {
    pub(super) beat: Notify,
    /// Whether a new listener has not been greeted yet.
    listener: AtomicBool,
    pub(super) job: JobId,
    /// Time between two shipments.
    pub(super) every: Duration,
    pub(super) state: Mutex<PulseState>,
}

pub(super) struct PulseState {
    pub(super) due: Instant,
    /// The days whose chunks wait for their compaction.
    pub(super) days: BTreeSet<Day>,
    pub(super) compact_after: Instant,
    pub(super) compacting: bool,
}

impl Pulse {
    /// For a container that is attached now.
    pub(super) fn new(job: JobId, every: Duration) -> Self {
        let now = Instant::now();
        let state = PulseState {
            due: now + every,
            days: BTreeSet::new(),
            compact_after: now,
            compacting: false,
        };
        let (beat, listener) = (Notify::new(), AtomicBool::new(false));
        Self { beat, listener, job, every, state: Mutex::new(state) }
    }

    pub(super) fn note_listener(&self) {
        self.listener.store(true, Ordering::Release);
    }

    pub(super) fn listener_has_come(&self) -> bool {
        self.listener.swap(false, Ordering::AcqRel)
    }

    pub(super) fn stored_on(&self, day: Day) {
        self.state.lock().days.insert(day);
    }
}

/// What every shipper needs.
pub(super) struct Shared {
    pub(super) store: Arc<dyn ObjectStore>,
    pub(super) settings: LogSettings,
    /// What waiting chunks may use.
    pub(super) space: Space,
    /// The way to listeners.
    pub(super) feed: Option<Arc<LiveFeed>>,
    /// The permits for what may be on its way to the store at a time.
    pub(super) puts: Semaphore,
    pub(super) compactions: Semaphore,
    /// When stopping: until when.
    pub(super) stop: watch::Sender<Option<Instant>>,
    pub(super) pulses: Mutex<HashMap<u64, Arc<Pulse>>>,
    pub(super) metrics: Metrics,
}

impl Shared {
    pub(super) fn new(
        store: Arc<dyn ObjectStore>,
        settings: LogSettings,
        feed: Option<Arc<LiveFeed>>,
        metrics: Metrics,
    ) -> Self {
        Self {
            space: space(&settings),
            store,
            settings,
            feed,
            puts: Semaphore::new(all_permits()),
            compactions: Semaphore::new(MAX_CONCURRENT_COMPACTIONS),
            stop: watch::Sender::new(None),
            pulses: Mutex::default(),
            metrics,
        }
    }
}

fn space(settings: &LogSettings) -> Space {
    Space {
        memory: Room::new(settings.max_memory_bytes),
        disk: Room::new(settings.max_spool_bytes),
        own_memory: settings.max_buffer_bytes as u64,
        own_disk: settings.max_container_spool_bytes,
        spool: Spool::new(settings.spool_dir.clone()),
        chunk: settings.max_chunk_bytes as u64,
    }
}
