//! `DockerRunner`: fetch → image → script → container → run → collect.
//!
//! [`DockerRunner::start_container`] is the whole way. The worker takes its three parts one by one,
//! [`launch`](DockerRunner::launch), [`wait`](DockerRunner::wait) and
//! [`release`](DockerRunner::release), for it publishes between them.

use std::sync::Arc;
use std::time::Duration;

use super::cleanup;
use super::code::{CodeCaps, CodeError, CodeManager};
use super::container::{ContainerBuilder, code_binds, container_name};
use super::creation::Prepared;
use super::directory::{DirectoryError, JobDirectory};
use super::failure::RunFailure;
use super::ground::Ground;
use super::labels::Assignment;
use super::lease::{LeaseWatch, Uptime};
use super::managed::{Held, Managed, ManagedContainers};
use super::names;
use super::orchestrator::{ContainerOrchestrator, ContainerStatus, EngineError, EngineRoot};
use super::outcome;
use super::script::ScriptManager;
use super::temp_dir;
use crate::job::archive::ArchiveCaps;
use crate::job::{ExecutionResult, Job, JobId, Run, State};
use crate::logs::{LiveTap, LogCollector, LogSource, Mask};
use crate::settings::RunnerSettings;
use crate::storage::ObjectStore;

/// Is told where a run is on its way. Must not block.
pub trait RunObserver: Send + Sync {
    /// The run is in `state`; `container` is the engine's id, once there is one.
    fn state(&self, state: State, container: Option<&str>);

    /// Whether the container may be started still: asked at the last moment before it is, and once
    /// more when it runs.
    fn may_start(&self) -> bool {
        true
    }

    /// When it was shown last that the run is ours: what its first lease counts from.
    fn proven_at(&self) -> Option<Uptime> {
        None
    }

    /// What must not be seen of the run, in its output or in its result.
    fn mask(&self, job: &Job) -> Mask {
        Mask::new(job.secrets.iter().map(String::as_str))
    }

    /// Where the run's output should also go as it comes, besides the store.
    fn live_tap(&self) -> Option<LiveTap> {
        None
    }
}

/// Whoever wants to hear nothing.
impl RunObserver for () {
    fn state(&self, _: State, _: Option<&str>) {}
}

/// Runs jobs in containers.
pub struct DockerRunner {
    pub(super) engine: Arc<dyn ContainerOrchestrator>,
    pub(super) store: Arc<dyn ObjectStore>,
    pub(super) logs: Arc<LogCollector>,
    code: CodeManager,
    scripts: ScriptManager,
    pub(super) settings: RunnerSettings,
    pub(super) namespace: String,
    pub(super) worker: String,
    /// How long a bot may run on without a word from us.
    pub(super) lease: Duration,
    pub(super) managed: ManagedContainers,
    pub(super) ground: Ground,
}

impl DockerRunner {
    /// A runner over an engine, a store and a log collector. `namespace` separates its containers
    /// and directories from everybody else's; `worker` is the name that its results carry. A bot
    /// ends itself when it has had no word for as long as `lease`: see
    /// [`renew_leases`](DockerRunner::renew_leases).
    pub fn new(
        engine: Arc<dyn ContainerOrchestrator>,
        store: Arc<dyn ObjectStore>,
        logs: Arc<LogCollector>,
        settings: RunnerSettings,
        namespace: String,
        worker: String,
        lease: Duration,
    ) -> Self {
        let code = CodeManager::new(Arc::clone(&store), code_caps(&settings));
        let managed = ManagedContainers::default();
        let scripts = ScriptManager::default();
        let ground = Ground::of(EngineRoot::Host);
        Self {
            engine,
            store,
            logs,
            code,
            scripts,
            settings,
            namespace,
            worker,
            lease,
            managed,
            ground,
        }
    }

    /// On the ground that host and engine share, where the engine is not the host's root.
    #[must_use]
    pub fn on(self, ground: Ground) -> Self {
        Self { ground, ..self }
    }

    /// Runs a job: a long-running one until it is up (the result's status is `running`), a
    /// terminating one to its end, with everything collected and removed.
    pub async fn start_container(
        &self,
        run: &Run,
        observer: &dyn RunObserver,
    ) -> Result<ExecutionResult, RunFailure> {
        self.launch(run, observer).await?;
        if run.job.is_long_running {
            let container = self.container_of(&run.job.id);
            return Ok(ExecutionResult::running(run, &self.worker, container));
        }
        let result = self.wait(&run.job.id, observer).await;
        self.release(&run.job.id).await;
        result
    }

    /// The first part: from nothing to a running container. A failure leaves nothing behind.
    pub async fn launch(&self, run: &Run, observer: &dyn RunObserver) -> Result<(), RunFailure> {
        let managed = self.managed.begin(run).ok_or(RunFailure::AlreadyActive)?;
        let launched = self.launch_managed(&managed, observer).await;
        if launched.is_err() {
            // Also of a container that was started, and then could not be stopped as asked.
            self.release(&run.job.id).await;
        }
        launched
    }

    async fn launch_managed(
        &self,
        managed: &Managed,
        observer: &dyn RunObserver,
    ) -> Result<(), RunFailure> {
        let run = &managed.run;
        observer.state(State::Preparing, None);
        let directory = self.directory_of(run);
        let created = async {
            let prepared = tokio::select! {
                prepared = self.prepare(managed, &directory, observer) => prepared?,
                () = managed.stop.cancelled() => return Err(managed.cancelled()),
            };
            if !observer.may_start() {
                return Err(RunFailure::not_shown());
            }
            let container = self.create(run, &directory, prepared).await?;
            if !observer.may_start() {
                // Starting it took too long. Nobody holds it: it must not be left.
                self.make_sure_of_none(&container).await;
                return Err(RunFailure::not_shown());
            }
            Ok(container)
        };
        let container = match created.await {
            Ok(container) => container,
            Err(failure) => {
                cleanup::directory(self, &directory, self.image_of(run)).await;
                return Err(failure);
            }
        };
        managed.mark_launched();
        self.hold(managed, &container, false, observer);
        if managed.stop.is_cancelled() {
            // The stop came while the engine was starting it, and found nothing to stop.
            self.engine.stop(&container, self.settings.stop_timeout).await?;
        } else {
            observer.state(State::Running, Some(&container));
        }
        Ok(())
    }

    /// Fetch → image → script → the container's specification.
    async fn prepare(
        &self,
        managed: &Managed,
        directory: &JobDirectory,
        observer: &dyn RunObserver,
    ) -> Result<Prepared, RunFailure> {
        let run = &managed.run;
        temp_dir::close_namespace(&self.settings.temp_dir, &self.namespace, self.ground.passage)?;
        self.fetch(run, directory).await?;
        self.engine.pull_image(self.image_of(run)).await?;
        let script = self.scripts.create(&run.job, directory).await?;
        if run.job.is_long_running {
            self.write_first_lease(managed, directory.root(), observer.proven_at())?;
        }
        let profile = &self.settings.profile;
        if !profile.read_only_code {
            directory.open_to_all().await?;
        }
        let binds = code_binds(directory.root(), &run.job, &script.writes, profile.read_only_code);
        let spec = ContainerBuilder::new(self.image_of(run))
            .with_job(&run.job, &self.assignment_of(run))
            .with_command(script.shell, &script.container_path)
            .with_profile(profile)
            .with_binds(binds)
            .with_binds(names::binds(directory.root()))
            .with_stop_timeout(self.settings.stop_timeout)
            .build();
        Ok(Prepared { spec, writes: script.writes })
    }

    /// Fetches the code. A directory that is there already was left by this very attempt when its
    /// worker died: whatever of it still runs ends first.
    async fn fetch(&self, run: &Run, directory: &JobDirectory) -> Result<(), RunFailure> {
        let fetched = match self.code.fetch_and_extract(&run.job, directory).await {
            Err(CodeError::Directory(DirectoryError::Taken { path })) => {
                tracing::warn!(job.id = %run.job.id, directory = %path.display(), "clear leftover directory");
                self.engine.remove(&container_name(&run.job, &self.assignment_of(run))).await?;
                cleanup::directory(self, directory, self.image_of(run)).await;
                self.code.fetch_and_extract(&run.job, directory).await?
            }
            fetched => fetched?,
        };
        for note in &fetched.notes {
            tracing::info!(job.id = %run.job.id, note, "unpack code");
        }
        Ok(())
    }

    fn assignment_of(&self, run: &Run) -> Assignment<'_> {
        let (segment, attempt) = (run.segment, run.attempt);
        Assignment { namespace: &self.namespace, segment, attempt }
    }

    /// Takes up a run whose container is there already, running or ended: what a restarted worker
    /// does with those that it left behind.
    pub fn adopt(
        &self,
        run: &Run,
        container: &str,
        observer: &dyn RunObserver,
    ) -> Result<(), RunFailure> {
        let managed = self.managed.begin(run).ok_or(RunFailure::AlreadyActive)?;
        managed.mark_adopted();
        if run.job.is_long_running {
            *managed.lease.lock() = LeaseWatch::taken_over(self.directory_of(run).root());
        }
        self.hold(&managed, container, true, observer);
        observer.state(State::Running, Some(container));
        Ok(())
    }

    fn hold(&self, managed: &Managed, container: &str, resume: bool, observer: &dyn RunObserver) {
        let directory = self.directory_of(&managed.run);
        let job = &managed.run.job;
        let source = LogSource {
            job: job.id.clone(),
            run: job.run_id.clone(),
            attempt: managed.run.attempt,
            entrypoint: job.entrypoint,
            interval: job.log_interval,
            terminating: !job.is_long_running,
            resume,
            mask: observer.mask(job),
        };
        let frames = self.engine.follow_logs(container);
        let logs = self.logs.attach(source, frames, observer.live_tap());
        managed.hold(Held { container: container.to_owned(), directory, logs });
    }

    /// The second part: waits for the container's end, collects result and logs, and judges. It
    /// may be dropped at any time, and then be called again.
    pub async fn wait(
        &self,
        id: &JobId,
        observer: &dyn RunObserver,
    ) -> Result<ExecutionResult, RunFailure> {
        let Some(managed) = self.managed.get(id) else {
            return Err(RunFailure::Unavailable(format!("the job {id} is not active here")));
        };
        outcome::wait_and_collect(self, &managed, observer).await
    }

    /// The third part: removes container and directory and forgets the job.
    pub async fn release(&self, id: &JobId) {
        if let Some(managed) = self.managed.get(id) {
            if let Some(leftovers) = managed.take_leftovers() {
                cleanup::container(self, &leftovers.container).await;
                let image = self.image_of(&managed.run);
                cleanup::directory(self, &leftovers.directory, image).await;
            }
            self.managed.remove(id);
        }
    }

    /// Forgets a run that is somebody else's now, and touches nothing of it.
    pub fn forget(&self, id: &JobId) {
        self.managed.remove(id);
    }

    /// Asks the active run of a job to stop: SIGTERM, then SIGKILL after `timeout`. Whoever waits
    /// for the run gets its result, cleaned up and judged. Gives `false` where the job is not
    /// active here.
    pub async fn stop_container(
        &self,
        id: &JobId,
        reason: Option<String>,
        timeout: Duration,
    ) -> Result<bool, EngineError> {
        let Some(managed) = self.managed.get(id) else {
            return Ok(false);
        };
        managed.request_stop(reason);
        if let Some(container) = managed.container() {
            self.engine.stop(container, timeout).await?;
        }
        Ok(true)
    }

    /// What the engine says about the container of an active job; `None` where there is none.
    pub async fn get_container_status(
        &self,
        id: &JobId,
    ) -> Result<Option<ContainerStatus>, EngineError> {
        let Some(container) = self.container_of(id) else {
            return Ok(None);
        };
        match self.engine.get_status(&container).await {
            Err(EngineError::NoContainer { .. }) => Ok(None),
            status => status.map(Some),
        }
    }

    /// The last `tail` lines of an active job's container, or all; `None` where there is none.
    pub async fn get_container_logs(
        &self,
        id: &JobId,
        tail: Option<usize>,
    ) -> Result<Option<String>, EngineError> {
        match self.container_of(id) {
            Some(container) => self.engine.get_logs(&container, tail).await.map(Some),
            None => Ok(None),
        }
    }

    /// The name that results carry.
    #[must_use]
    pub fn worker(&self) -> &str {
        &self.worker
    }

    /// Whether the runner has a run of a job. What a worker has in hand, its own list says.
    #[cfg(test)]
    fn is_active(&self, id: &JobId) -> bool {
        self.managed.get(id).is_some()
    }

    fn container_of(&self, id: &JobId) -> Option<String> {
        self.managed.get(id)?.container().map(str::to_owned)
    }

    pub(super) fn image_of(&self, run: &Run) -> &str {
        self.settings.images.of(run.job.runtime)
    }

    pub(super) fn directory_of(&self, run: &Run) -> JobDirectory {
        JobDirectory::new(
            &self.settings.temp_dir,
            &self.namespace,
            &run.job.id,
            &run.job.run_id,
            run.attempt,
        )
    }
}

fn code_caps(settings: &RunnerSettings) -> CodeCaps {
    CodeCaps {
        max_archive_bytes: settings.max_archive_bytes,
        archive: ArchiveCaps {
            max_entries: settings.max_entries,
            max_extracted_bytes: settings.max_extracted_bytes,
            max_depth: settings.max_depth,
            max_name_bytes: settings.max_name_bytes,
            max_ratio: settings.max_ratio,
            max_time: settings.unpack_timeout,
        },
    }
}

#[cfg(test)]
mod tests;
