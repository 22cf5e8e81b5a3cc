//! One container's shipper: takes its frames, stores its chunks, and settles at the end.

use std::collections::{BTreeSet, VecDeque};
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, sleep_until};

use super::backlog::Backlog;
use super::chunk::Cutter;
use super::compact::locate;
use super::handle::LogSummary;
use super::heard::Heard;
use super::key::{Day, FrameRange, LogKey, Origin};
use super::line::{Assembler, Line};
use super::live::Told;
use super::output::Output;
use super::room::Hold;
use super::series::SeriesKeeper;
use super::shared::{PUT_PATIENCE, Pulse, Shared};
use super::source::{LiveTap, LogSource};
use super::{CursorTracker, Frame};

/// The pause after a failed attempt to find out where a stored log ends.
const LIST_PAUSE: Duration = Duration::from_secs(5);

/// A group of frames that arrived together.
pub(super) type Batch = Vec<Result<Frame, String>>;

/// Why the frames ended, or are not read any more.
enum Ended {
    Finish(Instant),
    Stop(Instant),
    /// Nobody will call `finish`, and the output has ended.
    Forgotten,
}

/// What the caller wants: at first only shipping.
struct Wish {
    finish: Option<oneshot::Receiver<Instant>>,
    deadline: Option<Instant>,
    forgotten: bool,
}

impl Wish {
    /// Waits for the caller's one request.
    async fn heard(&mut self) {
        let word = or_never(self.finish.as_mut()).await;
        self.finish = None;
        self.forgotten = word.is_err();
        self.deadline = word.ok();
    }
}

/// The position of the reader relative to the stored log.
#[derive(Debug)]
pub(super) enum Position {
    /// The end of the stored log is not known, so nothing may be stored.
    Unknown,
    /// It is within the stored log: `last` is the last stored range, and `seen` counts the frames
    /// with the stamp of its end.
    Behind { last: FrameRange, seen: u32 },
    /// It is at the last stored frame. The next one is number `next`.
    Found { next: u64 },
    /// It is beyond the stored log.
    New,
}

/// The shipper of one container.
pub(super) struct Shipper {
    pub(super) shared: Arc<Shared>,
    pub(super) source: LogSource,
    pub(super) origin: Origin,
    pub(super) output: Output,
    pub(super) cutter: Cutter,
    pub(super) backlog: Backlog,
    /// Memory for lines that are not in a chunk yet.
    pub(super) unsealed: Hold,
    pub(super) days: BTreeSet<Day>,
    /// Why the store does not take our chunks at the moment.
    pub(super) store_failure: Option<String>,
    /// Why the output is not complete.
    pub(super) read_failure: Option<String>,
    pub(super) position: Position,
    /// How far the output was read.
    pub(super) tracker: CursorTracker,
    /// Whether nothing of this container was stored before.
    pub(super) is_first_log: bool,
    /// How often the engine had dropped output before it was read.
    pub(super) gaps: u64,
    pub(super) pulse: Arc<Pulse>,
    pub(super) assembler: Assembler,
    /// Lines that were not sent to listeners yet.
    pub(super) told: Told,
    /// What the program says about itself.
    pub(super) heard: Heard,
    /// Where that is kept, if it is.
    pub(super) series: Option<SeriesKeeper>,
    pub(super) live: Option<LiveTap>,
    /// Lines that wait for room in the tap.
    pub(super) untapped: VecDeque<Line>,
    /// The chunk being stored.
    pub(super) put: Option<BoxFuture<'static, Result<(), String>>>,
    pub(super) ended: bool,
    /// Whether a line was open at the last tick already.
    open_since_tick: bool,
}

impl Shipper {
    pub(super) fn new(
        shared: Arc<Shared>,
        pulse: Arc<Pulse>,
        source: LogSource,
        origin: Origin,
        live: Option<LiveTap>,
        heard: Heard,
    ) -> Self {
        let settings = &shared.settings;
        let output = if source.terminating {
            Output::spooled(settings.tail_bytes, settings.max_output_bytes, &shared.space.spool)
        } else {
            Output::tail_only(settings.tail_bytes)
        };
        Self {
            output,
            cutter: Cutter::new(origin.clone(), 0, settings.max_chunk_bytes),
            backlog: Backlog::new(shared.space.clone()),
            unsealed: shared.space.memory.claim(0),
            days: BTreeSet::new(),
            store_failure: None,
            read_failure: None,
            position: if source.resume { Position::Unknown } else { Position::New },
            tracker: CursorTracker::default(),
            is_first_log: !source.resume,
            gaps: 0,
            assembler: Assembler::new(source.mask.clone()),
            told: Told::default(),
            heard,
            series: source.series_key.clone().map(SeriesKeeper::new),
            untapped: VecDeque::new(),
            put: None,
            ended: false,
            open_since_tick: false,
            shared,
            pulse,
            source,
            origin,
            live,
        }
    }

    /// Ships until the output is settled. Returns the summary.
    pub(super) async fn run(
        mut self,
        mut batches: BoxStream<'static, Batch>,
        finish: oneshot::Receiver<Instant>,
    ) -> LogSummary {
        let mut wish = Wish { finish: Some(finish), deadline: None, forgotten: false };
        let ended = match self.locate(&mut wish).await {
            Some(stop_by) => Ended::Stop(stop_by),
            None => self.ship(&mut batches, wish).await,
        };
        drop(batches);
        match ended {
            Ended::Finish(deadline) => self.settle(deadline).await,
            Ended::Stop(deadline) => {
                self.end_early(deadline).await;
                if !self.ended {
                    self.read_failure = Some("the worker stopped before the output ended".into());
                }
                self.summary(None)
            }
            Ended::Forgotten => {
                self.end_early(Instant::now() + PUT_PATIENCE).await;
                self.summary(None)
            }
        }
    }

    /// Finds out where the stored log of this container ends. No frame is read before that; the
    /// engine keeps them. It gives up when the caller stops waiting, and returns the deadline when
    /// the collector stops.
    async fn locate(&mut self, wish: &mut Wish) -> Option<Instant> {
        if self.is_located() {
            return None;
        }
        let mut stop = self.shared.stop.subscribe();
        let mut give_up = None;
        let (keys, last) = {
            let mut located = std::pin::pin!(self.stored_so_far());
            loop {
                tokio::select! {
                    located = &mut located => break located,
                    () = wish.heard() => give_up = wish.deadline.map(halfway),
                    () = at(give_up) => return None,
                    by = wait_stop(&mut stop) => return Some(by),
                }
            }
        };
        self.store_failure = None;
        self.days = keys.iter().filter_map(|key| self.day_with_lines(key)).collect();
        if let Some(last) = last {
            if self.days.is_empty() {
                // All of it was written at once, which makes the job's first log.
                self.days.extend(keys.first().map(LogKey::day));
            }
            let (first, size) = (last.last.saturating_add(1), self.shared.settings.max_chunk_bytes);
            self.cutter = Cutter::new(self.origin.clone(), first, size);
            self.position = Position::Behind { last, seen: 0 };
        } else {
            self.is_first_log = true;
            self.position = Position::New;
        }
        self.days.iter().for_each(|day| self.pulse.stored_on(*day));
        None
    }

    /// Whether it is known where the stored log ends.
    pub(super) fn is_located(&self) -> bool {
        !matches!(self.position, Position::Unknown)
    }

    async fn stored_so_far(&mut self) -> (Vec<LogKey>, Option<FrameRange>) {
        loop {
            let located = locate(&*self.shared.store, &self.source.job, &self.origin).await;
            let restored = match located {
                Ok(located) => self.restore_series().await.map(|()| located),
                Err(error) => Err(error),
            };
            match restored {
                Ok(located) => return located,
                Err(error) => self.note_store_failure(&error.to_string()),
            }
            sleep(LIST_PAUSE).await;
        }
    }

    fn day_with_lines(&self, key: &LogKey) -> Option<Day> {
        match key {
            LogKey::Chunk(day, range) | LogKey::Done(day, range) => {
                (range.origin == self.origin).then_some(*day)
            }
            LogKey::Daily(..) => None,
        }
    }

    async fn ship(&mut self, batches: &mut BoxStream<'static, Batch>, mut wish: Wish) -> Ended {
        let pulse = Arc::clone(&self.pulse);
        let mut stop = self.shared.stop.subscribe();
        let mut read_until = wish.deadline.map(halfway);
        loop {
            if self.ended && self.untapped.is_empty() {
                match wish.deadline {
                    Some(by) => return Ended::Finish(by),
                    None if wish.forgotten => return Ended::Forgotten,
                    None => {}
                }
            }
            tokio::select! {
                by = wait_stop(&mut stop) => return Ended::Stop(by),
                () = wish.heard() => read_until = wish.deadline.map(halfway),
                () = at(read_until) => {
                    read_until = None;
                    self.untapped.clear();
                    self.live = None;
                    if !self.ended {
                        self.end_of_output(Some("the output did not end in time".to_owned())).await;
                    }
                }
                batch = batches.next(), if self.may_read() => match batch {
                    Some(batch) => self.take(batch).await,
                    None => self.end_of_output(None).await,
                },
                () = pulse.beat.notified() => self.tick().await,
                stored = or_never(self.put.as_mut()), if self.put.is_some() => self.put_done(stored),
                stored = Self::series_put(&mut self.series) => self.series_stored(stored),
                () = tap(self.live.as_ref(), &mut self.untapped), if !self.untapped.is_empty() => {
                    if self.live.as_ref().is_none_or(LiveTap::is_closed) {
                        self.live = None;
                        self.untapped.clear();
                    }
                }
            }
        }
    }

    /// While chunks can be stored, a full backlog makes the engine wait, and nothing is lost. While
    /// they cannot be stored, reading goes on, and lines that do not fit are dropped.
    fn may_read(&self) -> bool {
        let has_room = self.store_failure.is_some() || !self.backlog.is_full();
        !self.ended && self.untapped.is_empty() && has_room
    }

    async fn tick(&mut self) {
        self.hear_listeners();
        let first = self.assembler.frames();
        let has_come = self.pulse.listener_has_come();
        // A line that stays open over a whole interval must not delay the lines after it.
        if (self.open_since_tick && !self.assembler.is_clean())
            || (has_come && self.cutter.is_waiting_for_a_line())
        {
            self.cut().await;
        }
        self.open_since_tick = !self.assembler.is_clean();
        // While a chunk waits, lines collect in larger chunks, as long as there is memory.
        if self.backlog.front().is_none() || has_come || self.backlog.is_memory_short() {
            self.cutter.seal();
        }
        self.stow(self.store_failure.is_some()).await;
        self.backlog.tell_gap(true);
        self.unsealed.resize((self.cutter.unsealed_bytes() + self.assembler.open_bytes()) as u64);
        self.launch();
        self.launch_series();
        self.tell(first);
        if has_come {
            self.greet();
        }
    }
}

impl Shipper {
    /// Tells a new listener where its live lines begin. All lines before them are on their way to
    /// the store.
    fn greet(&mut self) {
        match (&self.shared.feed, &self.position) {
            (Some(feed), Position::New) => {
                let next = self.assembler.frames();
                feed.send(vec![self.told.greeting(&self.source, next)]);
            }
            // It is not known yet; at the next tick.
            _ => self.pulse.note_listener(),
        }
    }
}

/// Half of the time until `deadline`: the rest is for storing.
fn halfway(deadline: Instant) -> Instant {
    deadline - deadline.saturating_duration_since(Instant::now()) / 2
}

async fn at(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => pending().await,
    }
}

async fn wait_stop(stop: &mut tokio::sync::watch::Receiver<Option<Instant>>) -> Instant {
    match stop.wait_for(Option::is_some).await.map(|by| *by) {
        Ok(Some(by)) => by,
        // The collector holds the sender as long as there are shippers.
        _ => pending().await,
    }
}

pub(super) async fn or_never<F: Future + Unpin>(future: Option<F>) -> F::Output {
    match future {
        Some(future) => future.await,
        None => pending().await,
    }
}

/// Sends lines as long as there is room.
async fn tap(to: Option<&LiveTap>, lines: &mut VecDeque<Line>) {
    let Some(to) = to else { return };
    while let Ok(permit) = to.reserve().await {
        match lines.pop_front() {
            Some(line) => permit.send(line),
            None => return,
        }
    }
}
