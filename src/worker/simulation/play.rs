//! Plays a history: what its plan says, then an end to all faults, and time for everything to settle.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::json;
use tokio::time::sleep;

use super::broker::{Purpose, Server};
use super::engine::{Engine, EngineWeather, Program};
use super::ledger::{Start, Stop};
use super::plan::{Fault, Happening, LENGTH, Plan, StartPlan};
use super::store::StoreWeather;
use super::worker::{self, NAMESPACE, Servers, Site, Started};
use super::world::{Sabotage, World};
use crate::broker::{Inbox, OutgoingMessage, Topology};
use crate::job::{RunId, refusal_id};

/// The pauses before a message is tried again.
const RETRY_DELAYS: [Duration; 3] =
    [Duration::from_secs(2), Duration::from_secs(5), Duration::from_secs(20)];

/// So many segments there are, or as many as workers.
const MIN_SEGMENTS: u32 = 8;

/// The timeline's servers, sites and workers.
pub(super) struct Stage {
    pub(super) world: Arc<World>,
    pub(super) servers: Servers,
    pub(super) sites: Vec<Site>,
    workers: Mutex<Vec<Member>>,
    programs: Arc<Mutex<BTreeMap<RunId, Program>>>,
    published: Mutex<BTreeMap<String, OutgoingMessage>>,
    plan: Plan,
    stops: Mutex<u32>,
    /// Whether no worker is started any more.
    is_closing: AtomicBool,
}

/// A worker, in whichever of its lives.
struct Member {
    started: Option<Started>,
    life: u32,
}

impl Stage {
    pub(super) fn new(world: &Arc<World>, plan: Plan) -> Arc<Self> {
        let programs = Arc::default();
        let servers = Servers {
            world: Arc::clone(world),
            broker: Server::new(world, Topology::new(NAMESPACE, &RETRY_DELAYS)),
            objects: Arc::default(),
            marks: Arc::default(),
            max_segments: u32::try_from(plan.workers.len()).unwrap().max(MIN_SEGMENTS),
        };
        let site = |number: usize| Site {
            engine: Engine::new(world, format!("site{number}"), &programs),
            store: Arc::default(),
            can_reach: Arc::new(AtomicBool::new(true)),
        };
        let sites = (0..plan.sites).map(site).collect();
        let workers = plan.workers.iter().map(|_| Member { started: None, life: 0 }).collect();
        let stage = Arc::new(Self {
            world: Arc::clone(world),
            servers,
            sites,
            workers: Mutex::new(workers),
            programs,
            published: Mutex::default(),
            plan,
            stops: Mutex::new(0),
            is_closing: AtomicBool::new(false),
        });
        for worker in 0..stage.plan.workers.len() {
            stage.start(worker);
        }
        stage
    }

    /// Starts a worker, where it is gone.
    pub(super) fn start(&self, worker: usize) {
        let mut workers = self.workers.lock();
        let member = &mut workers[worker];
        let is_there = member.started.as_ref().is_some_and(|started| !started.is_gone());
        if is_there || self.is_closing.load(Ordering::Relaxed) {
            return;
        }
        member.life += 1;
        let (site, capacity) = self.plan.workers[worker];
        let name = format!("w{worker}");
        let started = worker::start(&self.servers, &self.sites[site], &name, member.life, capacity);
        member.started = Some(started);
    }

    pub(super) fn with<T>(&self, worker: usize, what: impl FnOnce(&Started) -> T) -> Option<T> {
        self.workers.lock()[worker].started.as_ref().map(what)
    }

    /// The workers of a site.
    fn at(&self, site: usize) -> Vec<usize> {
        let workers = self.plan.workers.iter().enumerate();
        workers.filter(|(_, (place, _))| *place == site).map(|(worker, _)| worker).collect()
    }

    /// Plays what the plan says, and ends all faults.
    pub(super) async fn play(self: &Arc<Self>) {
        for (at, happening) in self.plan.happenings.clone() {
            sleep(at.saturating_sub(self.world.elapsed())).await;
            self.happen(happening);
            if !self.world.ledger.lock().violations.is_empty() {
                return;
            }
        }
        sleep(LENGTH.saturating_sub(self.world.elapsed())).await;
        self.heal();
    }

    fn happen(self: &Arc<Self>, happening: Happening) {
        match happening {
            Happening::Start(start) => self.publish_start(&start),
            Happening::Again(run) => {
                let again = self.published.lock().get(&run).cloned();
                if let Some(message) = again {
                    self.world.note("publisher", || format!("starts {run} again"));
                    let run_id: RunId = run.parse().unwrap();
                    let mut ledger = self.world.ledger.lock();
                    if let Some(start) = ledger.starts.get_mut(&run_id) {
                        start.copies += 1;
                    }
                    drop(ledger);
                    self.servers.broker.publish(message);
                }
            }
            Happening::Stop(job, run) => self.publish_stop(&job, run.as_deref()),
            Happening::Fault(fault, lasts) => self.begin(fault, lasts),
        }
    }

    /// Publishes a start.
    pub(super) fn publish_start(&self, start: &StartPlan) {
        let StartPlan { job, run, is_long_running, is_broken, program } = start;
        let kind = if *is_long_running { "bot" } else { "backtest" };
        let runtime = if *is_broken { "cobol" } else { "python3.11" };
        let body = json!({
            "id": job, "run_id": run, "runtime": runtime, "entrypoint": kind,
            "entrypoint_files": { kind: "main.py" }, "file_path": "job.zip", "config": {},
            "is_long_running": is_long_running, "persist_results": false,
        });
        let run_id: RunId = run.parse().unwrap();
        self.programs.lock().insert(run_id.clone(), *program);
        let key = if *is_long_running { "start.long-running" } else { "start.terminating" };
        let message = self.message(format!("m-{run}"), key, &body);
        self.world.note("publisher", || format!("starts {run}: {program:?}"));
        let start = Start {
            job: job.parse().unwrap(),
            run: run_id.clone(),
            is_long_running: *is_long_running,
            is_broken: *is_broken,
            copies: 1,
            refusal: refusal_id(message.message_id.as_deref(), &message.body),
            at: self.world.elapsed(),
        };
        self.world.ledger.lock().starts.insert(run_id, start);
        self.published.lock().insert(run.clone(), message.clone());
        self.servers.broker.publish(message);
    }

    /// Publishes a stop.
    pub(super) fn publish_stop(&self, job: &str, run: Option<&str>) {
        let id = {
            let mut stops = self.stops.lock();
            *stops += 1;
            format!("stop-{}", *stops)
        };
        let mut body = json!({ "id": job, "timeout_seconds": 10 });
        if let Some(run) = run {
            body["run_id"] = json!(run);
        }
        self.world.note("publisher", || format!("{id} stops {job}, {run:?}"));
        let stop = Stop {
            job: job.parse().unwrap(),
            run: run.map(|run| run.parse().unwrap()),
            at: self.world.elapsed(),
            settled: None,
        };
        self.world.ledger.lock().stops.insert(id.clone(), stop);
        self.servers.broker.publish(self.message(id, "stop", &body));
    }

    /// Puts a stop into the mailbox of a segment, as a worker does that takes its owner for alive.
    pub(super) fn forward_stop(&self, job: &str, segment: u32) {
        let body = json!({ "id": job, "timeout_seconds": 10 });
        let key = Inbox::Mailbox(segment).routing_key();
        let mut message = self.message(format!("stop-of-{job}"), &key, &body);
        message.exchange = self.servers.broker.topology.workers_exchange();
        self.servers.broker.publish(message);
    }

    fn message(&self, id: String, key: &str, body: &serde_json::Value) -> OutgoingMessage {
        let mut message = OutgoingMessage::json(body.to_string());
        message.exchange = self.servers.broker.jobs_exchange();
        key.clone_into(&mut message.routing_key);
        message.message_id = Some(id);
        message.timestamp = Some(self.world.now());
        message
    }

    fn begin(self: &Arc<Self>, fault: Fault, lasts: Duration) {
        self.world.note("fault", || format!("{fault:?} for {:.3} s", lasts.as_secs_f64()));
        match fault {
            Fault::Kill(worker) => {
                self.with(worker, Started::kill);
            }
            Fault::Freeze(worker) => {
                self.with(worker, |started| started.process.freeze());
                self.with(worker, |started| started.wires.miss());
            }
            Fault::Upgrade(worker) => {
                self.with(worker, Started::shut_down);
            }
            Fault::Cut(worker) => self.wires(worker, super::broker::Wires::cut),
            Fault::Stall(worker) => self.wires(worker, super::broker::Wires::stall),
            Fault::Unreachable(site) => {
                self.sites[site].can_reach.store(false, Ordering::Relaxed);
                for worker in self.at(site) {
                    self.wires(worker, super::broker::Wires::stall);
                }
            }
            Fault::Alarm => self.servers.broker.alarm(true),
            Fault::Store(site, weather) => *self.sites[site].store.lock() = weather,
            Fault::Engine(site, weather) => *self.sites[site].engine.weather.lock() = weather,
            Fault::HostLost(site) => {
                for worker in self.at(site) {
                    self.with(worker, Started::kill);
                }
                self.sites[site].engine.vanish();
            }
        }
        let stage = Arc::clone(self);
        self.world.tasks.spawn(async move {
            sleep(lasts).await;
            stage.end(fault).await;
        });
    }

    fn wires(&self, worker: usize, what: impl Fn(&Arc<super::broker::Wires>, Purpose)) {
        for purpose in [Purpose::Work, Purpose::Locks] {
            self.with(worker, |started| what(&started.wires, purpose));
        }
    }

    async fn end(self: &Arc<Self>, fault: Fault) {
        match fault {
            Fault::Kill(worker) => self.start(worker),
            Fault::Freeze(worker) => {
                self.with(worker, |started| started.process.thaw());
            }
            Fault::Upgrade(worker) => {
                while self.with(worker, Started::is_gone) == Some(false) {
                    sleep(Duration::from_secs(1)).await;
                }
                self.start(worker);
            }
            Fault::Cut(_) | Fault::Stall(_) => {}
            Fault::Unreachable(site) => self.sites[site].can_reach.store(true, Ordering::Relaxed),
            Fault::Alarm => self.servers.broker.alarm(false),
            Fault::Store(site, _) => *self.sites[site].store.lock() = StoreWeather::Fine,
            Fault::Engine(site, _) => *self.sites[site].engine.weather.lock() = EngineWeather::Fine,
            Fault::HostLost(site) => {
                for worker in self.at(site) {
                    self.start(worker);
                }
            }
        }
        self.world.note("fault", || format!("{fault:?} is over"));
    }

    /// Ends all faults; each worker is there again.
    fn heal(&self) {
        self.world.note("fault", || "all faults are over".to_owned());
        self.servers.broker.alarm(false);
        if self.world.is(Sabotage::StartsNothing) {
            (0..self.plan.workers.len()).for_each(|worker| {
                self.with(worker, Started::kill);
            });
        }
        for site in &self.sites {
            site.can_reach.store(true, Ordering::Relaxed);
            *site.store.lock() = StoreWeather::Fine;
            *site.engine.weather.lock() = EngineWeather::Fine;
            if self.world.is(Sabotage::StartsNothing) {
                site.engine.vanish();
                *site.engine.weather.lock() = EngineWeather::SlowStarts(3_600_000);
            }
        }
        for worker in 0..self.plan.workers.len() {
            self.with(worker, |started| started.process.thaw());
            self.start(worker);
        }
    }

    /// Whether nothing at all goes wrong.
    pub(super) fn is_calm(&self) -> bool {
        !self.plan.happenings.iter().any(|(_, what)| matches!(what, Happening::Fault(..)))
    }

    /// Drains all workers, and waits until they have ended.
    pub(super) async fn drain(&self) {
        self.is_closing.store(true, Ordering::Relaxed);
        for worker in 0..self.plan.workers.len() {
            self.with(worker, Started::shut_down);
        }
        for worker in 0..self.plan.workers.len() {
            while self.with(worker, Started::is_gone) == Some(false) {
                sleep(Duration::from_secs(1)).await;
            }
        }
    }
}
