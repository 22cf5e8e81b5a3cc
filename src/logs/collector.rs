//! The log loop of a segment: which containers are attached, when each is due, and how the loop
//! ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::oneshot;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::task::TaskTracker;
use tracing::warn;

use super::Frame;
use super::compact::compact;
use super::handle::{HANDOVER, LogHandle};
use super::heard::Heard;
use super::key::{Day, Origin};
use super::live::LiveFeed;
use super::shared::{Pulse, Shared};
use super::shipper::Shipper;
use super::source::{LiveTap, LogSource};
use crate::job::Listening;
use crate::metrics::{Gauges, Metrics};
use crate::settings::LogSettings;
use crate::storage::ObjectStore;

/// How often the loop checks which containers are due.
const BEAT: Duration = Duration::from_secs(1);

/// The most frames that are taken at once.
const MAX_FRAME_BATCH: usize = 64;

/// How long after midnight, UTC, a past day is compacted; also the pause between two compactions.
const COMPACTION_GRACE: Duration = Duration::from_mins(5);

/// Removes a container from the loop, however its shipper ends.
struct Registration {
    shared: Arc<Shared>,
    number: u64,
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.shared.pulses.lock().remove(&self.number);
    }
}

/// Ships the output of a segment's containers.
pub struct LogCollector {
    shared: Arc<Shared>,
    tracker: TaskTracker,
    attached: AtomicU64,
}

impl LogCollector {
    /// A collector that does not tick yet. Lines that do not fit into memory, and whole outputs
    /// until they are stored, go to the spool directory of the settings. Files that a dead worker
    /// left there are removed.
    #[must_use]
    pub fn new(store: Arc<dyn ObjectStore>, settings: LogSettings) -> Self {
        Self::with(store, settings, None, Metrics::default())
    }

    /// As [`new`](Self::new), with a feed to listeners, and with what is stored counted.
    #[must_use]
    pub fn with(
        store: Arc<dyn ObjectStore>,
        settings: LogSettings,
        feed: Option<Arc<LiveFeed>>,
        metrics: Metrics,
    ) -> Self {
        let shared = Shared::new(store, settings, feed, metrics);
        shared.space.spool.clean_up();
        Self { shared: Arc::new(shared), tracker: TaskTracker::new(), attached: AtomicU64::new(0) }
    }

    /// Reads how many bytes wait on disk.
    pub fn read_gauges(&self, gauges: &Gauges) {
        let disk = &self.shared.space.disk;
        gauges.log_spool(disk.used(), disk.max());
    }

    /// Notes that a client listens to a job's log, for the next seconds. For a new listener, all
    /// waiting lines are stored at once, and it is told where its live lines begin.
    pub fn listen(&self, listening: &Listening) {
        let Some(feed) = &self.shared.feed else { return };
        feed.listen(listening.id.clone());
        if listening.begins {
            for pulse in
                self.shared.pulses.lock().values().filter(|pulse| pulse.job == listening.id)
            {
                pulse.note_listener();
                pulse.beat.notify_one();
            }
        }
    }

    /// Starts the loop. Called once.
    pub fn start(&self) {
        let (shared, tracker) = (Arc::clone(&self.shared), self.tracker.clone());
        self.tracker.spawn(async move {
            let mut stop = shared.stop.subscribe();
            let mut ticks = interval(BEAT);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
            loop {
                tokio::select! {
                    _ = stop.wait_for(Option::is_some) => return,
                    _ = ticks.tick() => beat(&shared, &tracker),
                }
            }
        });
    }

    /// Follows a container's output until it ends, [`LogHandle::finish`] is called or the collector
    /// stops. `frames` begins with the container's first frame, also after an adoption.
    pub fn attach<E>(
        &self,
        source: LogSource,
        frames: BoxStream<'static, Result<Frame, E>>,
        live: Option<LiveTap>,
    ) -> LogHandle
    where
        E: std::fmt::Display + Send + 'static,
    {
        let pulse = Arc::new(Pulse::new(source.job.clone(), source.interval));
        let number = self.attached.fetch_add(1, Ordering::Relaxed);
        self.shared.pulses.lock().insert(number, Arc::clone(&pulse));
        let registration = Registration { shared: Arc::clone(&self.shared), number };
        let origin = Origin { run: source.run.clone(), attempt: source.attempt };
        let batches = frames
            .map(|frame| frame.map_err(|error| error.to_string()))
            .ready_chunks(MAX_FRAME_BATCH)
            .boxed();
        let (finish, finishing) = oneshot::channel();
        let (heard, said) = Heard::new(Shipper::book_of(&self.shared));
        let shipper = Shipper::new(Arc::clone(&self.shared), pulse, source, origin, live, heard);
        let task = self.tracker.spawn(async move {
            let _registration = registration;
            Box::pin(shipper.run(batches, finishing)).await
        });
        LogHandle::new(finish, task, said)
    }

    /// Ends the loop and every shipper, each after storing its lines, within `within` (and a
    /// second). Returns whether all were done by then.
    ///
    /// An open line is not stored. The next worker that adopts the container reads it again,
    /// complete.
    pub async fn stop(&self, within: Duration) -> bool {
        let deadline = Instant::now() + within;
        self.shared.stop.send_replace(Some(deadline));
        self.tracker.close();
        tokio::time::timeout_at(deadline + HANDOVER, self.tracker.wait()).await.is_ok()
    }
}

/// One tick of the loop: wakes the shippers that are due, and compacts past days. It does not wait.
/// A shipper that is still busy with its last tick takes the next one after it.
fn beat(shared: &Arc<Shared>, tracker: &TaskTracker) {
    let (now, today) = (Instant::now(), settled_day());
    let pulses: Vec<_> = shared.pulses.lock().values().map(Arc::clone).collect();
    for pulse in pulses {
        let mut state = pulse.state.lock();
        if now >= state.due {
            // Back on schedule, also after a late tick.
            state.due = (state.due + pulse.every).max(now);
            pulse.beat.notify_one();
        }
        let past = state.days.first().copied().filter(|day| *day < today);
        if let Some(day) = past.filter(|_| !state.compacting && now >= state.compact_after) {
            state.compacting = true;
            // Before the work, because a new chunk puts it back.
            state.days.remove(&day);
            drop(state);
            tracker.spawn(compact_past_day(Arc::clone(shared), Arc::clone(&pulse), day));
        }
    }
}

/// The day that may still get lines: for a while after midnight, the day before.
fn settled_day() -> Day {
    let grace = SignedDuration::try_from(COMPACTION_GRACE).unwrap_or_default();
    Day::of(Timestamp::now().checked_sub(grace).unwrap_or(Timestamp::MIN))
}

async fn compact_past_day(shared: Arc<Shared>, pulse: Arc<Pulse>, day: Day) {
    let mut stop = shared.stop.subscribe();
    let work = async {
        let _permit = shared.compactions.acquire().await;
        compact(&*shared.store, &pulse.job, day).await
    };
    let outcome = tokio::select! {
        outcome = work => outcome,
        _ = stop.wait_for(Option::is_some) => return,
    };
    let mut state = pulse.state.lock();
    state.compacting = false;
    // Also after success: late lines of a past day must not rewrite its log each time.
    state.compact_after = Instant::now() + COMPACTION_GRACE;
    if let Err(error) = outcome {
        state.days.insert(day);
        warn!(job.id = %pulse.job, %day, error = %error, "could not compact a past day's log");
    }
}

#[cfg(test)]
mod tests;
