//! The container engine of a place, in memory: containers, the programs in them, and the directories of jobs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::sleep;

use super::machine::uptime;
use super::world::{Sabotage, World};
use crate::job::{JobId, Run, RunId};
use crate::runner::labels::Identity;
use crate::runner::orchestrator::{ContainerInfo, ContainerState};

/// By how much the entry script ends a bot before its lease does.
const ENDS_EARLY: Duration = Duration::from_secs(3);

/// How long the entry script then waits before it kills the bot.
const SCRIPT_PATIENCE: Duration = Duration::from_secs(2);

/// What the program of a run does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Program {
    /// After how long it ends by itself; never where there is none.
    pub(super) ends_after: Option<Duration>,
    /// With which exit code.
    pub(super) exit_code: i64,
    /// How long it takes to end once it is asked to.
    pub(super) reaction: Duration,
}

/// What is wrong with an engine or its place.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum EngineWeather {
    /// Nothing.
    #[default]
    Fine,
    /// A start takes so many milliseconds.
    SlowStarts(u64),
    /// No container can be started, or no directory be made for one; everything else goes well.
    FailsStarts,
    /// It does not answer.
    Away,
}

/// How a container ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ended {
    pub(super) at: Timestamp,
    pub(super) exit_code: i64,
    pub(super) lease_expired: bool,
}

/// One container.
pub(super) struct Container {
    pub(super) id: String,
    pub(super) run: Run,
    pub(super) created_at: Timestamp,
    life: Mutex<Life>,
    told: Notify,
}

#[derive(Default)]
struct Life {
    started_at: Option<Timestamp>,
    ended: Option<Ended>,
    /// When it is to be killed, as the engine's clock counts, once it was asked to end.
    kill_at: Option<Duration>,
    ends_at: Option<Duration>,
    /// Until when its lease lets it run.
    lease: Option<Duration>,
}

impl Container {
    pub(super) fn ended(&self) -> Option<Ended> {
        self.life.lock().ended
    }

    pub(super) fn started_at(&self) -> Option<Timestamp> {
        self.life.lock().started_at
    }

    /// When it is killed, ends by itself, and is ended for its lease; none where it has ended.
    fn ends(&self) -> Option<[Option<Duration>; 3]> {
        let life = self.life.lock();
        let lease_ends = life.lease.map(|lease| lease.saturating_sub(ENDS_EARLY));
        life.ended.is_none().then_some([life.kill_at, life.ends_at, lease_ends])
    }

    /// Waits until it has ended.
    pub(super) async fn end(&self) -> Ended {
        loop {
            let told = self.told.notified();
            if let Some(ended) = self.ended() {
                return ended;
            }
            told.await;
        }
    }

    pub(super) fn renew(&self, until: Duration) {
        let mut life = self.life.lock();
        let is_shorter = life.lease.is_some_and(|lease| until < lease);
        life.lease = life.lease.map(|_| until);
        drop(life);
        if is_shorter {
            self.told.notify_waiters();
        }
    }
}

type DirectoryKey = (JobId, RunId, u32);

/// The engine of a place, with the directories beside it.
pub(super) struct Engine {
    pub(super) world: Arc<World>,
    pub(super) name: String,
    pub(super) weather: Mutex<EngineWeather>,
    containers: Mutex<BTreeMap<String, Arc<Container>>>,
    pub(super) directories: Mutex<BTreeSet<DirectoryKey>>,
    programs: Arc<Mutex<BTreeMap<RunId, Program>>>,
}

impl Engine {
    pub(super) fn new(
        world: &Arc<World>,
        name: String,
        programs: &Arc<Mutex<BTreeMap<RunId, Program>>>,
    ) -> Arc<Self> {
        Arc::new(Self {
            world: Arc::clone(world),
            name,
            weather: Mutex::default(),
            containers: Mutex::default(),
            directories: Mutex::default(),
            programs: Arc::clone(programs),
        })
    }

    pub(super) fn get(&self, id: &str) -> Option<Arc<Container>> {
        self.containers.lock().get(id).cloned()
    }

    /// All containers, with what their labels say.
    pub(super) fn list(&self) -> Vec<(ContainerInfo, Identity)> {
        self.containers.lock().values().map(|container| described(container)).collect()
    }

    /// All containers.
    pub(super) fn all(&self) -> Vec<Arc<Container>> {
        self.containers.lock().values().cloned().collect()
    }

    /// Makes a container. One of the same name gives way.
    pub(super) fn create(self: &Arc<Self>, run: &Run, lease: Option<Duration>) -> Arc<Container> {
        let same_name =
            |one: &&Arc<Container>| one.run.job.id == run.job.id && one.run.attempt == run.attempt;
        let in_the_way = self.containers.lock().values().find(same_name).cloned();
        if let Some(left) = in_the_way {
            self.remove(&left.id);
        }
        let id = format!("{}-{}.{}.{}", self.name, run.job.id, run.job.run_id, run.attempt);
        let lease = lease.filter(|_| !self.world.is(Sabotage::IgnoresLeases));
        let container = Arc::new(Container {
            id: id.clone(),
            run: run.clone(),
            created_at: self.world.now(),
            life: Mutex::new(Life { lease, ..Life::default() }),
            told: Notify::new(),
        });
        self.containers.lock().insert(id, Arc::clone(&container));
        container
    }

    /// Starts a container, where it is still there.
    pub(super) fn start(self: &Arc<Self>, container: &Arc<Container>, by: &str) {
        if self.get(&container.id).is_none_or(|there| !Arc::ptr_eq(&there, container)) {
            return;
        }
        let program = self.programs.lock().get(&container.run.job.run_id).copied();
        let program = program.unwrap_or(Program {
            ends_after: None,
            exit_code: 0,
            reaction: Duration::from_millis(100),
        });
        self.world.note(by, || format!("container {} runs", container.id));
        let mut life = container.life.lock();
        life.started_at = Some(self.world.now());
        life.ends_at = program.ends_after.map(|after| uptime(&self.world) + after);
        drop(life);
        for _ in 0..=u32::from(self.world.is(Sabotage::StartsTwice)) {
            let mut run = container.run.clone();
            run.attempt += 100 * u32::from(self.world.is(Sabotage::RunsOnceMore));
            self.world.see(|ledger, at| ledger.container_runs(&container.id, &run, at));
        }
        let (engine, container) = (Arc::clone(self), Arc::clone(container));
        self.world.tasks.spawn(async move { engine.live(&container, program).await });
    }

    /// A container's life, from its start on.
    async fn live(self: &Arc<Self>, container: &Arc<Container>, program: Program) {
        loop {
            let told = container.told.notified();
            let now = uptime(&self.world);
            let Some([kill_at, ends_at, lease_ends]) = container.ends() else { return };
            let due = |at: Option<Duration>| at.is_some_and(|at| at <= now);
            let (kill, ends, lease) = (due(kill_at), due(ends_at), due(lease_ends));
            let next = [kill_at, ends_at, lease_ends].into_iter().flatten().min();
            if kill {
                return self.ends(container, 137, false);
            }
            if ends {
                return self.ends(container, program.exit_code, false);
            }
            if lease {
                // The script looks every two seconds, and then kills what does not end.
                self.world.pause(0, 1_900).await;
                let is_renewed = {
                    let life = container.life.lock();
                    life.lease
                        .is_some_and(|lease| lease.saturating_sub(ENDS_EARLY) > uptime(&self.world))
                };
                if is_renewed {
                    continue;
                }
                sleep(program.reaction.min(SCRIPT_PATIENCE)).await;
                let code = if program.reaction > SCRIPT_PATIENCE { 137 } else { 143 };
                return self.ends(container, code, true);
            }
            let wait = next.map_or(Duration::MAX, |next| next.saturating_sub(now));
            tokio::select! {
                biased;
                () = told => {}
                () = sleep(wait.min(Duration::from_secs(86_400))) => {}
            }
        }
    }

    /// A container ends.
    pub(super) fn ends(&self, container: &Arc<Container>, exit_code: i64, lease_expired: bool) {
        let mut life = container.life.lock();
        if life.ended.is_some() || life.started_at.is_none() {
            return;
        }
        life.ended = Some(Ended { at: self.world.now(), exit_code, lease_expired });
        drop(life);
        self.world.note(&self.name, || {
            let why = if lease_expired { ", its lease has run out" } else { "" };
            format!("container {} ends with {exit_code}{why}", container.id)
        });
        self.world.see(|ledger, at| ledger.container_ends(&container.id, at));
        container.told.notify_waiters();
    }

    /// SIGTERM, and SIGKILL after `patience`.
    pub(super) fn stop(self: &Arc<Self>, id: &str, patience: Duration) {
        let Some(container) = self.get(id) else { return };
        let program = self.programs.lock().get(&container.run.job.run_id).copied();
        let reaction = program.map_or(Duration::from_millis(100), |program| program.reaction);
        let now = uptime(&self.world);
        self.world.note(&self.name, || format!("container {id} is asked to end"));
        self.world.see(|ledger, at| ledger.sigterm(id, at));
        let mut life = container.life.lock();
        life.kill_at = Some(
            life.kill_at
                .map_or(now + reaction.min(patience), |at| at.min(now + reaction.min(patience))),
        );
        drop(life);
        container.told.notify_waiters();
    }

    /// Removes a container, running or not.
    pub(super) fn remove(&self, id: &str) {
        if self.world.is(Sabotage::RemovesNothing) {
            return;
        }
        let removed = self.containers.lock().remove(id);
        if let Some(container) = removed {
            self.world.note(&self.name, || format!("container {id} is removed"));
            self.ends(&container, 137, false);
        }
    }

    /// The machine is gone with all that was on it.
    pub(super) fn vanish(&self) {
        for container in self.all() {
            self.remove(&container.id);
        }
        self.directories.lock().clear();
    }
}

fn described(container: &Container) -> (ContainerInfo, Identity) {
    let (run, job) = (&container.run, &container.run.job);
    let state = match (container.started_at(), container.ended()) {
        (None, _) => ContainerState::Created,
        (Some(_), None) => ContainerState::Running,
        (Some(_), Some(_)) => ContainerState::Exited,
    };
    let info = ContainerInfo {
        id: container.id.clone(),
        name: format!("ns.{}.{}", job.id, run.attempt),
        image: "image".to_owned(),
        state,
        created_at: Some(container.created_at),
        labels: BTreeMap::new(),
    };
    let identity = Identity {
        has_begun: true,
        namespace: "ns".to_owned(),
        segment: run.segment,
        id: job.id.clone(),
        run_id: job.run_id.clone(),
        attempt: run.attempt,
        entrypoint: job.entrypoint,
        script: job.script.clone(),
    };
    (info, identity)
}
