//! What outlives a worker: the store, the broker and the engines, each with steps that happen whole
//! or not at all.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use jiff::Timestamp;

use crate::job::{Event, Job, RunId};
use crate::runner::orchestrator::ContainerState;
use crate::storage::{JobRecord, Place, RecordState, Tombstone};

/// Segments; as many as there are workers, and one more.
pub(super) const SEGMENTS: usize = 3;

/// How long a start is in a retry queue: much longer than it takes to look at it.
const BACK_OFF: i64 = 400;

/// A start message, or its copy on the way back through a retry queue.
#[derive(Debug, Clone)]
pub(super) struct Start {
    pub run: RunId,
    pub attempt: u32,
    pub published_at: i64,
}

/// What a queue holds. There is one job, which every message is about.
#[derive(Debug, Clone)]
pub(super) enum Message {
    Start(Start),
    /// With the second of its publication.
    Stop(i64),
    /// A stop in the mailbox of a segment.
    Forwarded(u32),
}

/// A message with whoever has taken it and not acknowledged it.
#[derive(Debug)]
struct Queued {
    tag: u64,
    message: Message,
    /// From when on it is delivered: later where it is in a retry queue.
    due: i64,
    holder: Option<usize>,
}

/// Why a container ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    ByItself,
    AsAsked,
    /// Its lease had run out.
    Unheard,
}

/// A container, on whichever engine.
#[derive(Debug, Clone)]
pub(super) struct Container {
    pub id: u64,
    pub run: RunId,
    pub attempt: u32,
    pub segment: u32,
    pub engine: String,
    pub state: ContainerState,
    pub ended: Option<Ended>,
}

/// Who owns a segment, or owned it last.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Owner {
    pub epoch: u64,
    pub worker: usize,
    /// Which life of that worker.
    pub life: u64,
    /// Whether it let the segment go.
    pub is_released: bool,
}

/// The world around the workers.
pub(super) struct World {
    pub job: Job,
    /// Seconds; each step takes one.
    pub clock: i64,
    record: Option<(JobRecord, u64)>,
    /// The ends that are kept of runs whose record gave way to another run's.
    pub ended: BTreeMap<RunId, Event>,
    pub index: BTreeSet<u32>,
    pub owners: [Owner; SEGMENTS],
    pub tombstone: Option<Tombstone>,
    queue: VecDeque<Queued>,
    /// Who holds the lock of a segment.
    pub locks: [Option<usize>; SEGMENTS],
    /// Which worker has a fresh proof that a segment is its own; it outlives the lock for a moment.
    pub proofs: BTreeSet<(u32, usize)>,
    pub containers: Vec<Container>,
    /// The life that each worker is in, and whether it is alive.
    pub lives: [(u64, bool); 2],
    /// Where each worker runs containers.
    pub places: [Place; 2],
    /// Which of the worker's next calls to the store gets no answer, and whether it is followed.
    pub faults: [Option<bool>; 2],
    /// The engine fails the worker's next launch.
    pub broken_launches: [bool; 2],
    // --- what is looked at in the end
    /// The contents of the result events, by their id.
    pub results: BTreeMap<String, BTreeSet<String>>,
    /// Runs that have had a record: no word but their end is enough for them.
    pub claimed: BTreeSet<RunId>,
    /// Runs that were told as duplicates.
    pub duplicates: BTreeSet<RunId>,
    /// Stops that were answered: nothing runs.
    pub not_running: usize,
    /// What each run was started for, by attempt.
    pub launched: Vec<(RunId, u32)>,
    counter: u64,
}

impl World {
    pub(super) fn new(job: Job, places: [Place; 2]) -> Self {
        Self {
            job,
            clock: 1_000,
            record: None,
            ended: BTreeMap::new(),
            index: BTreeSet::new(),
            owners: [Owner::default(); SEGMENTS],
            tombstone: None,
            queue: VecDeque::new(),
            locks: [None; SEGMENTS],
            proofs: BTreeSet::new(),
            containers: Vec::new(),
            lives: [(0, false); 2],
            places,
            faults: [None; 2],
            broken_launches: [false; 2],
            results: BTreeMap::new(),
            claimed: BTreeSet::new(),
            duplicates: BTreeSet::new(),
            not_running: 0,
            launched: Vec::new(),
            counter: 0,
        }
    }

    fn next(&mut self) -> u64 {
        self.counter += 1;
        self.counter
    }

    pub(super) fn now(&self) -> Timestamp {
        Timestamp::from_second(self.clock).unwrap()
    }

    // --- the store

    pub(super) fn read(&self) -> Option<(JobRecord, u64)> {
        self.record.clone()
    }

    /// Writes the record where its version is still the one that was seen.
    pub(super) fn write(&mut self, record: &JobRecord, seen: Option<u64>) -> Option<u64> {
        if self.record.as_ref().map(|(_, version)| *version) != seen {
            return None;
        }
        self.claimed.insert(record.run_id.clone());
        let version = self.next();
        self.record = Some((record.clone(), version));
        Some(version)
    }

    pub(super) fn is_open(&self) -> bool {
        self.record.as_ref().is_some_and(|(record, _)| record.state != RecordState::Finished)
    }

    // --- the broker

    pub(super) fn publish(&mut self, message: Message) {
        let (tag, due) = (self.next(), self.clock);
        self.queue.push_back(Queued { tag, message, due, holder: None });
    }

    /// Publishes to a retry queue.
    pub(super) fn put_aside(&mut self, start: Start) {
        let (tag, due) = (self.next(), self.clock + BACK_OFF);
        let message = Message::Start(start);
        self.queue.push_back(Queued { tag, message, due, holder: None });
    }

    /// Hands the first message that is meant to a worker.
    pub(super) fn deliver(
        &mut self,
        to: usize,
        is_meant: impl Fn(&Message) -> bool,
    ) -> Option<(u64, Message)> {
        let now = self.clock;
        let mut free = self.queue.iter_mut().filter(|one| one.holder.is_none() && one.due <= now);
        let found = free.find(|one| is_meant(&one.message))?;
        found.holder = Some(to);
        Some((found.tag, found.message.clone()))
    }

    /// An ack on a connection that is gone finds nothing of its worker's.
    pub(super) fn ack(&mut self, by: usize, tag: u64) {
        self.queue.retain(|one| one.tag != tag || one.holder != Some(by));
    }

    pub(super) fn requeue(&mut self, tag: u64) {
        for one in self.queue.iter_mut().filter(|one| one.tag == tag) {
            one.holder = None;
        }
    }

    /// The connection of a worker ends: its locks are free and its deliveries come again, under a new
    /// tag, so that a late ack of the old one does nothing.
    pub(super) fn disconnect(&mut self, worker: usize) {
        for lock in &mut self.locks {
            *lock = lock.filter(|holder| *holder != worker);
        }
        let mut counter = self.counter;
        for one in self.queue.iter_mut().filter(|one| one.holder == Some(worker)) {
            counter += 1;
            (one.tag, one.holder) = (counter, None);
        }
        self.counter = counter;
    }

    /// Whether no message is left. What is forwarded to a segment that nobody owns waits for its next
    /// owner, who will find that it is settled.
    pub(super) fn is_drained(&self) -> bool {
        self.queue.iter().all(|one| match one.message {
            Message::Forwarded(segment) => self.locks[segment as usize].is_none(),
            Message::Start(_) | Message::Stop(_) => false,
        })
    }

    pub(super) fn tell(&mut self, event: &Event) {
        let content = serde_json::to_string(event).unwrap();
        self.results.entry(event.id.clone()).or_default().insert(content);
    }

    // --- the engines

    pub(super) fn create(&mut self, run: &RunId, attempt: u32, segment: u32, by: usize) -> u64 {
        let engine = self.places[by].engine.clone();
        // One of that name gives way: it is named after the job and the attempt.
        self.containers.retain(|one| one.attempt != attempt || one.engine != engine);
        let id = self.next();
        let (state, run) = (ContainerState::Created, run.clone());
        self.containers.push(Container { id, run, attempt, segment, engine, state, ended: None });
        id
    }

    /// Starts a container; of a long-running job only one may run, wherever that is.
    pub(super) fn start(&mut self, id: u64) {
        let is_running = |one: &&Container| one.state == ContainerState::Running;
        let others: Vec<_> = self.containers.iter().filter(is_running).cloned().collect();
        assert!(!self.job.is_long_running || others.is_empty(), "a second bot beside {others:?}");
        if let Some(one) = self.containers.iter_mut().find(|one| one.id == id) {
            one.state = ContainerState::Running;
            let launched = (one.run.clone(), one.attempt);
            self.launched.push(launched);
        }
    }

    pub(super) fn container(&self, id: u64) -> Option<&Container> {
        self.containers.iter().find(|one| one.id == id)
    }

    /// Ends the containers that run and are meant.
    pub(super) fn end(&mut self, how: Ended, is_meant: impl Fn(&Container) -> bool) {
        for one in &mut self.containers {
            if one.state == ContainerState::Running && is_meant(one) {
                (one.state, one.ended) = (ContainerState::Exited, Some(how));
            }
        }
    }

    pub(super) fn remove(&mut self, id: u64) {
        self.containers.retain(|one| one.id != id);
    }

    // --- leases

    /// Takes the lock of a segment where it is free, and where the jobs of its last owner may be
    /// touched: at once where that died at our place; else they are waited for, until every bot that
    /// has not heard of its worker has ended.
    pub(super) fn lock(&mut self, segment: u32, by: usize, needs_wait: bool) -> bool {
        let slot = segment as usize;
        if self.locks[slot].is_some() {
            return false;
        }
        if needs_wait {
            let long_running = self.job.is_long_running;
            self.end(Ended::Unheard, |one| long_running && one.segment == segment);
            self.proofs.retain(|(proven, _)| *proven != segment);
        }
        self.locks[slot] = Some(by);
        self.proofs.insert((segment, by));
        true
    }

    /// Notes a new owner in the place of the one with the epoch `seen`; gives its own epoch. Where
    /// somebody else was faster, the lock is let go.
    pub(super) fn own(&mut self, segment: u32, seen: u64, by: usize) -> Option<u64> {
        let slot = segment as usize;
        if self.owners[slot].epoch != seen {
            self.locks[slot] = self.locks[slot].filter(|holder| *holder != by);
            self.proofs.remove(&(segment, by));
            return None;
        }
        let (epoch, life) = (seen + 1, self.lives[by].0);
        self.owners[slot] = Owner { epoch, worker: by, life, is_released: false };
        Some(epoch)
    }

    /// Whether the last owner of a segment was at the place of `by` and lives no more.
    pub(super) fn is_dead_neighbour(&self, segment: u32, by: usize) -> bool {
        let owner = self.owners[segment as usize];
        let lives = self.lives[owner.worker] == (owner.life, true);
        self.places[owner.worker] == self.places[by] && !lives
    }
}
