//! A model of a run's life: a store, a broker, engines, and two workers whose programs take the steps
//! of the real ones in the same order and with the same decisions. Between any two steps a worker may
//! die, be cut off, or find that another one has gone on. However that turns out, every run has one
//! end, and nothing is left.

mod worker;
mod world;

use std::cell::RefCell;
use std::rc::Rc;
use std::task::{Context, Waker};
use std::time::Duration;

use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::json;

use self::worker::{Task, Worker};
use self::world::{Ended, Message, Start, World};
use crate::job::{Bounds, Job, Limits, Network, RunId, parse_executable};
use crate::storage::{Place, RecordState, Tombstone};

/// What happens next.
#[derive(Debug, Clone)]
enum Happening {
    /// Every task of a worker takes so many steps.
    Run(usize, usize),
    /// One task of a worker takes a step.
    Step(usize, usize),
    /// A worker is killed.
    Crash(usize),
    /// A worker is started, where it is not alive.
    Boot(usize),
    /// A worker loses its connection to the broker, and with it its locks and its deliveries.
    Cut(usize),
    /// A worker without a lock has no fresh proof any more.
    Stale(usize),
    /// What runs ends by itself.
    End,
    /// The engine fails a worker's next launch.
    BreakLaunch(usize),
    /// A worker's next write of a record gets no answer, whether it is followed or not.
    LoseAnswer(usize, bool),
    /// A start is published: of the first or the second run.
    Start(bool),
    /// A stop is published.
    Stop,
}

/// Two workers in a world.
struct Rig {
    world: Rc<RefCell<World>>,
    workers: [Option<Worker>; 2],
    tasks: [Vec<Task>; 2],
    /// When the starts of each run, and the last stop, were published.
    started_at: [Option<i64>; 2],
    stopped_at: Option<i64>,
}

pub(super) fn job(is_long_running: bool) -> Job {
    let message = json!({
        "id": "job", "runtime": "python3.11", "entrypoint": "bot",
        "entrypoint_files": {"bot": "main.py"}, "file_path": "job.zip", "config": {},
        "is_long_running": is_long_running, "persist_results": false,
    });
    let bounds = Bounds {
        limits: Limits { memory_mb: 512, cpu_shares: 512, cpus: None, pids: 256 },
        network: Network::Host,
        allowed_networks: vec![],
        timeout: Duration::from_secs(1),
        max_timeout: Duration::from_secs(1),
        log_interval: Duration::from_secs(1),
        max_attempts: 3,
        min_health_interval: Duration::from_secs(5),
    };
    Job::validate(parse_executable(message.to_string().as_bytes()).unwrap(), &bounds, None).unwrap()
}

fn place(engine: &str) -> Place {
    Place { host: "h".to_owned(), engine: engine.to_owned(), temp_dir: "/t".to_owned() }
}

fn run_id(second: bool) -> RunId {
    (if second { "r2" } else { "r1" }).parse().unwrap()
}

fn tombstone(job: &Job, at: i64) -> Tombstone {
    let at = Timestamp::from_second(at).unwrap();
    Tombstone { id: job.id.clone(), run_id: None, reason: None, at }
}

impl Rig {
    fn new(is_long_running: bool, is_one_place: bool) -> Self {
        let places = [place("one"), place(if is_one_place { "one" } else { "other" })];
        let world = World::new(job(is_long_running), places);
        let world = Rc::new(RefCell::new(world));
        let (workers, tasks) = ([None, None], [Vec::new(), Vec::new()]);
        Self { world, workers, tasks, started_at: [None; 2], stopped_at: None }
    }

    fn happen(&mut self, what: &Happening) {
        match *what {
            Happening::Run(worker, steps) => (0..steps).for_each(|_| self.step_all(worker)),
            Happening::Step(worker, task) => {
                let count = self.tasks[worker].len();
                if count > 0 {
                    self.step(worker, task % count);
                }
            }
            Happening::Crash(worker) => self.crash(worker),
            Happening::Boot(worker) => self.boot(worker),
            Happening::Cut(worker) => self.world.borrow_mut().disconnect(worker),
            Happening::Stale(worker) => {
                let mut world = self.world.borrow_mut();
                let locks = world.locks;
                world.proofs.retain(|(segment, by)| {
                    *by != worker || locks[*segment as usize] == Some(worker)
                });
            }
            Happening::End => self.world.borrow_mut().end(Ended::ByItself, |_| true),
            Happening::BreakLaunch(worker) => {
                self.world.borrow_mut().broken_launches[worker] = true;
            }
            Happening::LoseAnswer(worker, followed) => {
                self.world.borrow_mut().faults[worker] = Some(followed);
            }
            Happening::Start(second) => {
                let mut world = self.world.borrow_mut();
                // Again under its message id, it has the time of its first publication.
                let published_at = *self.started_at[usize::from(second)].get_or_insert(world.clock);
                let (run, attempt) = (run_id(second), 1);
                world.publish(Message::Start(Start { run, attempt, published_at }));
            }
            Happening::Stop => self.stop(),
        }
    }

    fn stop(&mut self) {
        let mut world = self.world.borrow_mut();
        let at = world.clock;
        world.publish(Message::Stop(at));
        drop(world);
        self.stopped_at = Some(at);
    }

    fn boot(&mut self, worker: usize) {
        if self.workers[worker].is_none() {
            let mut world = self.world.borrow_mut();
            let life = world.lives[worker].0 + 1;
            world.lives[worker] = (life, true);
            drop(world);
            let alive = Worker::new(worker, &self.world);
            self.tasks[worker] = alive.spawned();
            self.workers[worker] = Some(alive);
        }
    }

    fn crash(&mut self, worker: usize) {
        self.tasks[worker].clear();
        self.workers[worker] = None;
        let mut world = self.world.borrow_mut();
        world.lives[worker].1 = false;
        world.disconnect(worker);
        world.proofs.retain(|(_, by)| *by != worker);
        (world.faults[worker], world.broken_launches[worker]) = (None, false);
    }

    fn step_all(&mut self, worker: usize) {
        for task in (0..self.tasks[worker].len()).rev() {
            self.step(worker, task);
        }
    }

    fn step(&mut self, worker: usize, task: usize) {
        self.world.borrow_mut().clock += 1;
        let mut context = Context::from_waker(Waker::noop());
        if self.tasks[worker][task].as_mut().poll(&mut context).is_ready() {
            drop(self.tasks[worker].remove(task));
        }
        let alive = self.workers[worker].as_ref().unwrap();
        self.tasks[worker].extend(alive.spawned());
    }

    /// Lets both workers go on, without another fault, for long enough.
    fn rest(&mut self) {
        for worker in [0, 1] {
            self.boot(worker);
        }
        for round in 1..=400 {
            for worker in [0, 1] {
                self.step_all(worker);
            }
            let mut world = self.world.borrow_mut();
            if round % 50 == 0 && !world.job.is_long_running {
                world.end(Ended::ByItself, |_| true);
            }
        }
        // What is left of ended runs is left to their owners for a minute.
        self.world.borrow_mut().clock += 3600;
        for _ in 0..30 {
            for worker in [0, 1] {
                self.step_all(worker);
            }
        }
    }

    /// What must hold in the end.
    fn check(&mut self) {
        self.rest();
        let (world, first) = (Rc::clone(&self.world), self.started_at[0]);
        let is_alone = self.started_at[1].is_none();
        if let (Some(started), Some(stopped), true) = (first, self.stopped_at, is_alone) {
            let is_open = world.borrow().is_open();
            assert!(!is_open || stopped < started, "the stop of {stopped} is lost");
        }
        self.stop();
        self.rest();
        let world = world.borrow();
        let record = world.read().map(|(record, _)| record);
        assert!(world.is_drained(), "messages are left");
        assert!(world.index.is_empty(), "the index has {:?} of {record:?}", world.index);
        assert!(world.containers.is_empty(), "containers are left: {:?}", world.containers);
        assert!(record.iter().all(|one| one.state == RecordState::Finished), "open: {record:?}");
        for (second, _) in self.started_at.iter().enumerate().filter(|(_, at)| at.is_some()) {
            let run = run_id(second == 1);
            let results = world.results.get(&format!("{run}/result"));
            let count = results.map_or(0, std::collections::BTreeSet::len);
            let is_duplicate = world.duplicates.contains(&run) && !world.claimed.contains(&run);
            let is_told = count == 1 || (is_duplicate && count == 0);
            assert!(is_told, "ends of {run}: {results:#?}");
        }
        let launched: std::collections::BTreeSet<_> = world.launched.iter().collect();
        assert_eq!(
            launched.len(),
            world.launched.len(),
            "an attempt began twice: {:?}",
            world.launched
        );
        if !world.job.is_long_running {
            let most = world.job.max_attempts;
            assert!(world.launched.iter().all(|(_, attempt)| *attempt <= most));
        }
    }
}

fn happening() -> impl Strategy<Value = Happening> {
    let worker = 0..2_usize;
    prop_oneof![
        30 => (worker.clone(), 1..12_usize).prop_map(|(worker, steps)| Happening::Run(worker, steps)),
        30 => (worker.clone(), 0..12_usize).prop_map(|(worker, task)| Happening::Step(worker, task)),
        6 => worker.clone().prop_map(Happening::Crash),
        8 => worker.clone().prop_map(Happening::Boot),
        5 => worker.clone().prop_map(Happening::Cut),
        2 => worker.clone().prop_map(Happening::Stale),
        3 => Just(Happening::End),
        2 => worker.clone().prop_map(Happening::BreakLaunch),
        2 => (worker, any::<bool>()).prop_map(|(worker, is)| Happening::LoseAnswer(worker, is)),
        3 => Just(Happening::Start(false)),
        2 => Just(Happening::Stop),
    ]
}

fn with_another_run() -> impl Strategy<Value = Happening> {
    prop_oneof![20 => happening(), 1 => Just(Happening::Start(true))]
}

fn live(kinds: (bool, bool), happenings: &[Happening]) {
    let mut rig = Rig::new(kinds.0, kinds.1);
    rig.happen(&Happening::Boot(0));
    rig.happen(&Happening::Run(0, 12));
    rig.happen(&Happening::Start(false));
    rig.happen(&Happening::Boot(1));
    for happening in happenings {
        rig.happen(happening);
    }
    rig.check();
}

// As many cases as proptest takes by itself; `PROPTEST_CASES` asks for more.
proptest! {
    #[test]
    fn whatever_happens_a_run_ends_once(
        kinds in any::<(bool, bool)>(),
        happenings in prop::collection::vec(happening(), 0..120),
    ) {
        live(kinds, &happenings);
    }

    #[test]
    fn whatever_happens_each_of_two_runs_ends_once(
        kinds in any::<(bool, bool)>(),
        happenings in prop::collection::vec(with_another_run(), 0..120),
    ) {
        live(kinds, &happenings);
    }
}

#[test]
fn an_owner_that_was_cut_off_does_not_end_a_run_again_when_the_next_one_has_begun() {
    use Happening::{Cut, End, Run, Start};
    // The other worker runs it again elsewhere, ends it, and takes the next run. Then the first one's ends.
    live((false, false), &[Run(0, 12), Cut(0), Run(1, 16), End, Run(1, 7), Start(true), Run(1, 3)]);
}
