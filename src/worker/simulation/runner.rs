//! The runner of a simulated worker: what `DockerRunner` does, step by step, on an engine in memory.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::end;
use super::engine::{Container, Engine, EngineWeather};
use super::machine::uptime;
use super::process::Process;
use super::store::StoreWeather;
use super::world::{Sabotage, World};
use crate::job::{ExecutionResult, JobId, Run, State};
use crate::runner::labels::Identity;
use crate::runner::orchestrator::{ContainerInfo, ContainerState, EngineError};
use crate::runner::{FoundDirectory, JobRunner, RehearsalError, RunFailure, RunObserver, Uptime};

/// A run between its start and its release.
pub(super) struct Managed {
    pub(super) run: Run,
    stop: CancellationToken,
    pub(super) reason: OnceLock<Option<String>>,
    container: OnceLock<Arc<Container>>,
    pub(super) adopted_at: OnceLock<jiff::Timestamp>,
}

/// The runner of one process.
pub(super) struct SimulatedRunner {
    pub(super) world: Arc<World>,
    pub(super) process: Arc<Process>,
    pub(super) engine: Arc<Engine>,
    /// Code comes from the store.
    pub(super) store: Arc<Mutex<StoreWeather>>,
    pub(super) worker: String,
    pub(super) lease: Duration,
    managed: Mutex<BTreeMap<JobId, Arc<Managed>>>,
}

fn unreachable() -> EngineError {
    EngineError::Unreachable { endpoint: "engine".to_owned(), reason: "it is away".to_owned() }
}

fn unavailable(reason: &str) -> RunFailure {
    RunFailure::Unavailable(reason.to_owned())
}

impl SimulatedRunner {
    pub(super) fn new(
        world: &Arc<World>,
        process: &Arc<Process>,
        engine: &Arc<Engine>,
        store: &Arc<Mutex<StoreWeather>>,
        worker: &str,
        lease: Duration,
    ) -> Self {
        Self {
            world: Arc::clone(world),
            process: Arc::clone(process),
            engine: Arc::clone(engine),
            store: Arc::clone(store),
            worker: worker.to_owned(),
            lease,
            managed: Mutex::default(),
        }
    }

    fn begin(&self, run: &Run) -> Result<Arc<Managed>, RunFailure> {
        let mut managed = self.managed.lock();
        if managed.contains_key(&run.job.id) {
            return Err(RunFailure::AlreadyActive);
        }
        let one = Arc::new(Managed {
            run: run.clone(),
            stop: CancellationToken::new(),
            reason: OnceLock::new(),
            container: OnceLock::new(),
            adopted_at: OnceLock::new(),
        });
        managed.insert(run.job.id.clone(), Arc::clone(&one));
        Ok(one)
    }

    fn get(&self, id: &JobId) -> Option<Arc<Managed>> {
        self.managed.lock().get(id).cloned()
    }

    /// A request to the engine.
    async fn engine(&self) -> Result<(), EngineError> {
        self.process.runs().await;
        self.world.pause(1, 5).await;
        self.process.runs().await;
        if *self.engine.weather.lock() == EngineWeather::Away { Err(unreachable()) } else { Ok(()) }
    }

    async fn launch_managed(
        &self,
        managed: &Arc<Managed>,
        observer: &dyn RunObserver,
    ) -> Result<(), RunFailure> {
        let run = &managed.run;
        observer.state(State::Preparing, None);
        self.world.see(|ledger, at| ledger.launch(run, at));
        let prepared = tokio::select! {
            biased;
            prepared = self.prepare(run, observer) => prepared,
            () = managed.stop.cancelled() => {
                Err(RunFailure::Cancelled { reason: managed.reason.get().cloned().flatten() })
            }
        };
        let lease = prepared?;
        if !observer.may_start() {
            return Err(unavailable("the worker could not show that the segment is its own"));
        }
        let container = self.start(run, lease).await?;
        if !observer.may_start() {
            self.engine.remove(&container.id);
            return Err(unavailable("the worker could not show that the segment is its own"));
        }
        managed.container.get_or_init(|| Arc::clone(&container));
        if managed.stop.is_cancelled() {
            self.engine.stop(&container.id, Duration::from_secs(30));
        } else {
            observer.state(State::Running, Some(&container.id));
        }
        Ok(())
    }

    /// Code, directory and the first lease.
    async fn prepare(
        &self,
        run: &Run,
        observer: &dyn RunObserver,
    ) -> Result<Option<Duration>, RunFailure> {
        self.process.runs().await;
        self.world.pause(10, 200).await;
        self.process.runs().await;
        let weather = *self.store.lock();
        match weather {
            StoreWeather::Refuses => {
                self.world.pause(3_000, 6_000).await;
                return Err(unavailable("the code cannot be had"));
            }
            StoreWeather::Hangs => {
                while *self.store.lock() == weather {
                    self.world.pause(1_000, 1_000).await;
                }
            }
            _ => {}
        }
        let key = (run.job.id.clone(), run.job.run_id.clone(), run.attempt);
        self.engine.directories.lock().insert(key);
        let proven_at = observer.proven_at().map_or_else(|| uptime(&self.world), Uptime::time);
        Ok(run.job.is_long_running.then(|| proven_at + self.lease))
    }

    /// Makes and starts the container. The engine goes on with that, also when nobody waits any more.
    async fn start(
        &self,
        run: &Run,
        lease: Option<Duration>,
    ) -> Result<Arc<Container>, RunFailure> {
        self.engine().await?;
        let weather = *self.engine.weather.lock();
        let takes = match weather {
            EngineWeather::FailsStarts => {
                self.world.pause(20, 100).await;
                self.process.runs().await;
                return Err(unavailable("the runtime cannot start a container"));
            }
            EngineWeather::SlowStarts(millis) => Duration::from_millis(millis),
            _ => self.world.millis(50, 400),
        };
        let container = self.engine.create(run, lease);
        let (started, is_started) = oneshot::channel();
        let (engine, starts, name) =
            (Arc::clone(&self.engine), Arc::clone(&container), self.process.name.clone());
        self.world.tasks.spawn(async move {
            tokio::time::sleep(takes).await;
            engine.start(&starts, &name);
            let _nobody_waits = started.send(());
        });
        drop(is_started.await);
        self.process.runs().await;
        Ok(container)
    }
}

#[async_trait]
impl JobRunner for SimulatedRunner {
    fn worker(&self) -> &str {
        &self.worker
    }

    async fn check(&self) -> Result<(), EngineError> {
        self.engine().await
    }

    async fn rehearse(&self) -> Result<(), RehearsalError> {
        self.engine().await?;
        self.world.pause(50, 500).await;
        self.process.runs().await;
        let weather = *self.store.lock();
        if weather == StoreWeather::Hangs {
            self.world.pause(60_000, 60_000).await;
        }
        self.process.runs().await;
        let reads_only =
            [StoreWeather::Hangs, StoreWeather::Refuses, StoreWeather::ReadOnly].contains(&weather);
        let starts = *self.engine.weather.lock() != EngineWeather::FailsStarts;
        if (starts && !reads_only) || self.world.is(Sabotage::RehearsesNothing) {
            Ok(())
        } else {
            Err(unreachable().into())
        }
    }

    async fn launch(&self, run: &Run, observer: &dyn RunObserver) -> Result<(), RunFailure> {
        let managed = self.begin(run)?;
        let launched = self.launch_managed(&managed, observer).await;
        if launched.is_err() {
            let key = (run.job.id.clone(), run.job.run_id.clone(), run.attempt);
            self.engine.directories.lock().remove(&key);
            self.release(&run.job.id).await;
        }
        launched
    }

    fn adopt(
        &self,
        run: &Run,
        container: &str,
        observer: &dyn RunObserver,
    ) -> Result<(), RunFailure> {
        let managed = self.begin(run)?;
        managed.adopted_at.get_or_init(|| self.world.now());
        if let Some(container) = self.engine.get(container) {
            managed.container.get_or_init(|| container);
        }
        observer.state(State::Running, Some(container));
        Ok(())
    }

    async fn wait(&self, id: &JobId, _: &dyn RunObserver) -> Result<ExecutionResult, RunFailure> {
        let managed = self.get(id).ok_or_else(|| unavailable("the job is not active here"))?;
        let Some(container) = managed.container.get() else {
            return Err(unavailable("the container was never started"));
        };
        let ended = container.end().await;
        self.process.runs().await;
        while *self.engine.weather.lock() == EngineWeather::Away {
            self.world.pause(1_000, 1_000).await;
        }
        self.world.pause(5, 100).await;
        self.process.runs().await;
        Ok(end::result(&self.worker, &managed, container, ended))
    }

    async fn release(&self, id: &JobId) {
        let Some(managed) = self.get(id) else { return };
        if let Some(container) = managed.container.get()
            && self.engine().await.is_ok()
        {
            self.engine.remove(&container.id);
        }
        self.process.runs().await;
        let Run { job, attempt, .. } = &managed.run;
        let key = (job.id.clone(), job.run_id.clone(), *attempt);
        self.engine.directories.lock().remove(&key);
        self.managed.lock().remove(id);
    }

    fn forget(&self, id: &JobId) {
        self.managed.lock().remove(id);
    }

    async fn stop_container(
        &self,
        id: &JobId,
        reason: Option<String>,
        timeout: Duration,
    ) -> Result<bool, EngineError> {
        let Some(managed) = self.get(id) else { return Ok(false) };
        managed.reason.get_or_init(|| reason);
        managed.stop.cancel();
        if let Some(container) = managed.container.get() {
            self.engine().await?;
            self.engine.stop(&container.id, timeout);
        }
        Ok(true)
    }

    async fn renew_leases(
        &self,
        segment: u32,
        _: String,
        lifetime: Duration,
        proven_at: Option<Uptime>,
    ) -> std::io::Result<()> {
        self.process.runs().await;
        let proven_at = proven_at.map_or_else(|| uptime(&self.world), Uptime::time);
        for managed in self.managed.lock().values() {
            let run = &managed.run;
            if run.segment == segment
                && run.job.is_long_running
                && let Some(container) = managed.container.get()
            {
                container.renew(proven_at + lifetime);
            }
        }
        Ok(())
    }

    async fn renew_left_leases(
        &self,
        segment: u32,
        _: String,
        lifetime: Duration,
        proven_at: Option<Uptime>,
    ) -> Result<(), EngineError> {
        let proven_at = proven_at.map_or_else(|| uptime(&self.world), Uptime::time);
        for (info, _) in self.list_managed_containers(segment).await? {
            if info.state == ContainerState::Running
                && let Some(container) = self.engine.get(&info.id)
            {
                container.renew(proven_at + lifetime);
            }
        }
        Ok(())
    }

    async fn list_managed_containers(
        &self,
        segment: u32,
    ) -> Result<Vec<(ContainerInfo, Identity)>, EngineError> {
        self.engine().await?;
        let all = self.engine.list().into_iter();
        Ok(all.filter(|(_, identity)| identity.segment == segment).collect())
    }

    async fn list_all_containers(&self) -> Result<Vec<(ContainerInfo, Identity)>, EngineError> {
        self.engine().await?;
        Ok(self.engine.list())
    }

    async fn remove_leftover(&self, container: &str) {
        if self.engine().await.is_ok() {
            self.engine.remove(container);
        }
    }

    async fn list_directories(&self) -> Vec<FoundDirectory> {
        self.process.runs().await;
        let found = self.engine.directories.lock();
        let found = found.iter().cloned();
        found.map(|(id, run_id, attempt)| FoundDirectory { id, run_id, attempt }).collect()
    }

    async fn remove_directory(&self, found: &FoundDirectory) {
        self.process.runs().await;
        let FoundDirectory { id, run_id, attempt } = found.clone();
        self.engine.directories.lock().remove(&(id, run_id, attempt));
    }

    async fn remove_leftover_directories(&self, run: &Run, kept: Option<u32>) {
        self.process.runs().await;
        let (id, run_id) = (&run.job.id, &run.job.run_id);
        self.engine
            .directories
            .lock()
            .retain(|(one, of, attempt)| one != id || of != run_id || Some(*attempt) == kept);
    }

    async fn stop_logs(&self, _: Duration) -> bool {
        self.process.runs().await;
        true
    }
}
