//! A worker's programs, in the steps and the order of the real ones, with their decisions.

mod recovery;
mod runs;
mod segments;
mod starts;
mod stops;

use std::cell::{Cell, RefCell, RefMut};
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;

use super::world::{Start, World};
use crate::job::{Event, EventData, ExecutionResult, Run, RunId, Verdict};
use crate::storage::{JobRecord, RecordState, StoredMessage};
use crate::worker::decide::Incoming;

/// Between two steps anything may happen to anybody else, and this worker may die.
pub(super) async fn step() {
    let mut waited = false;
    poll_fn(|_| if std::mem::replace(&mut waited, true) { Poll::Ready(()) } else { Poll::Pending })
        .await;
}

/// A segment, owned.
pub(super) struct Tenure {
    segment: u32,
    epoch: u64,
    over: Cell<bool>,
    settled_in: Cell<bool>,
}

/// The run that a worker has taken.
#[derive(Clone)]
struct Active {
    run: RunId,
    stop: Rc<Cell<bool>>,
    claimed: Rc<RefCell<Option<Rc<Tenure>>>>,
    ended: Rc<Cell<bool>>,
}

pub(super) type Task = Pin<Box<dyn Future<Output = ()>>>;

/// One life of a worker.
#[derive(Clone)]
pub(super) struct Worker {
    pub me: usize,
    world: Rc<RefCell<World>>,
    mind: Rc<Mind>,
}

/// What goes with the worker's process.
#[derive(Default)]
struct Mind {
    active: RefCell<Option<Active>>,
    tenures: RefCell<BTreeMap<u32, Rc<Tenure>>>,
    home: RefCell<Option<Rc<Tenure>>>,
    spawned: RefCell<Vec<Task>>,
}

/// Takes the run out again when it is dropped, on every path.
struct Guard {
    mind: Rc<Mind>,
    active: Active,
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.mind.active.borrow_mut().take();
    }
}

/// A run that is ours, by the version of its record that we wrote.
struct Claimed {
    tenure: Rc<Tenure>,
    record: JobRecord,
    version: u64,
    attempt: u32,
}

impl Worker {
    pub(super) fn new(me: usize, world: &Rc<RefCell<World>>) -> Self {
        let worker = Self { me, world: Rc::clone(world), mind: Rc::default() };
        worker.spawn(worker.clone().keep_home());
        worker.spawn(worker.clone().watch_others());
        worker.spawn(worker.clone().take_starts());
        worker.spawn(worker.clone().take_stops());
        worker.spawn(worker.clone().sweep());
        worker
    }

    /// The tasks that were begun since this was asked last.
    pub(super) fn spawned(&self) -> Vec<Task> {
        self.mind.spawned.take()
    }

    fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        self.mind.spawned.borrow_mut().push(Box::pin(task));
    }

    fn world(&self) -> RefMut<'_, World> {
        self.world.borrow_mut()
    }

    fn owns(&self, segment: u32) -> bool {
        self.mind.tenures.borrow().contains_key(&segment)
    }

    fn has(&self, record: &JobRecord) -> bool {
        let tenures = self.mind.tenures.borrow();
        tenures.get(&record.segment).is_some_and(|tenure| record.epoch <= tenure.epoch)
    }

    fn is_proven(&self, tenure: &Tenure) -> bool {
        !tenure.over.get() && self.world().proofs.contains(&(tenure.segment, self.me))
    }

    fn begin(&self, run: &RunId) -> Result<Guard, Active> {
        let mut place = self.mind.active.borrow_mut();
        if let Some(active) = &*place {
            return Err(active.clone());
        }
        let active = Active {
            run: run.clone(),
            stop: Rc::default(),
            claimed: Rc::default(),
            ended: Rc::default(),
        };
        *place = Some(active.clone());
        Ok(Guard { mind: Rc::clone(&self.mind), active })
    }

    fn new_record(&self, tenure: &Tenure, start: &Start) -> JobRecord {
        let world = self.world();
        JobRecord {
            id: world.job.id.clone(),
            run_id: start.run.clone(),
            message_id: None,
            segment: tenure.segment,
            epoch: tenure.epoch,
            place: Some(world.places[self.me].clone()),
            state: RecordState::Active,
            attempt: start.attempt,
            first_try: 1,
            claimed_at: world.now(),
            finished_at: None,
            message: StoredMessage {
                body: String::new(),
                correlation_id: None,
                reply_to: None,
                body_sha256: None,
                published_at: jiff::Timestamp::from_second(start.published_at).ok(),
                traceparent: None,
            },
            result: None,
        }
    }

    fn result(&self, record: &JobRecord, attempt: u32, verdict: Verdict) -> ExecutionResult {
        let mut job = self.world().job.clone();
        job.run_id = record.run_id.clone();
        let run = Run { job: Arc::new(job), attempt, segment: record.segment };
        ExecutionResult::failed(&run, &format!("worker {}", self.me), verdict, String::new())
    }

    fn publish(&self, record: &JobRecord) {
        if let Some(event) = &record.result {
            self.world().tell(event);
        }
    }
}

fn incoming(start: &Start) -> Incoming {
    let published_at = jiff::Timestamp::from_second(start.published_at).ok();
    Incoming { run_id: start.run.clone(), published_at }
}

fn event(result: ExecutionResult) -> Event {
    let run = result.run_id.as_ref().map(ToString::to_string).unwrap_or_default();
    Event::new(format!("{run}/result"), String::new(), None, EventData::Result(result))
}
