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
use super::creation::{self, Prepared};
use super::directory::{DirectoryError, JobDirectory};
use super::failure::RunFailure;
use super::ground::Ground;
use super::lease::{Grant, LeaseWatch, Uptime, renewal};
use super::managed::{Held, Managed, ManagedContainers};
use super::names;
use super::observer::RunObserver;
use super::orchestrator::{EngineError, EngineRoot};
use super::outcome;
use super::script::ScriptManager;
use super::site::Site;
use super::temp_dir;
use crate::job::{ExecutionResult, JobId, Run, State};

/// Runs jobs in containers.
pub struct DockerRunner {
    pub(super) site: Site,
    code: CodeManager,
    scripts: ScriptManager,
    managed: ManagedContainers,
    ground: Ground,
}

impl DockerRunner {
    /// A runner of the jobs of a site. A bot ends itself when it has had no word for as long as the site's
    /// lease: see [`renew_leases`](DockerRunner::renew_leases).
    #[must_use]
    pub fn new(site: Site) -> Self {
        Self {
            code: CodeManager::new(Arc::clone(&site.store), CodeCaps::from(&site.settings)),
            site,
            scripts: ScriptManager::default(),
            managed: ManagedContainers::default(),
            ground: Ground::of(EngineRoot::Host),
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
            return Ok(ExecutionResult::running(run, &self.site.worker, container));
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
        let directory = self.site.directory_of(run);
        let created = async {
            let prepared = tokio::select! {
                prepared = self.prepare(managed, &directory, observer) => prepared?,
                () = managed.stop.cancelled() => return Err(managed.cancelled()),
            };
            if !observer.may_start() {
                return Err(RunFailure::not_shown());
            }
            let container =
                creation::create(&self.site, self.ground, run, &directory, prepared).await?;
            if !observer.may_start() {
                // Starting it took too long. Nobody holds it: it must not be left.
                creation::make_sure_of_none(&self.site, &container).await;
                return Err(RunFailure::not_shown());
            }
            Ok(container)
        };
        let container = match created.await {
            Ok(container) => container,
            Err(failure) => {
                cleanup::directory(&self.site, &directory, self.site.image_of(run)).await;
                return Err(failure);
            }
        };
        managed.mark_launched();
        self.hold(managed, &container, false, observer);
        if managed.stop.is_cancelled() {
            // The stop came while the engine was starting it, and found nothing to stop.
            self.site.engine.stop(&container, self.site.settings.stop_timeout).await?;
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
        let (site, run) = (&self.site, &managed.run);
        let (settings, image) = (&site.settings, site.image_of(run));
        temp_dir::close_namespace(&settings.temp_dir, &site.namespace, self.ground.passage)?;
        self.fetch(run, directory).await?;
        site.engine.pull_image(image).await?;
        let script = self.scripts.create(&run.job, directory).await?;
        if run.job.is_long_running {
            renewal::write_first(site, managed, directory.root(), observer.proven_at())?;
        }
        let profile = &settings.profile;
        if !profile.read_only_code {
            directory.open_to_all().await?;
        }
        let binds = code_binds(directory.root(), &run.job, &script.writes, profile.read_only_code);
        let spec = ContainerBuilder::new(image)
            .with_job(&run.job, &site.assignment_of(run))
            .with_command(script.shell, &script.container_path)
            .with_profile(profile)
            .with_binds(binds)
            .with_binds(names::binds(directory.root()))
            .with_stop_timeout(settings.stop_timeout)
            .build();
        Ok(Prepared { spec, writes: script.writes })
    }

    /// Fetches the code. A directory that is there already was left by this very attempt when its
    /// worker died: whatever of it still runs ends first.
    async fn fetch(&self, run: &Run, directory: &JobDirectory) -> Result<(), RunFailure> {
        let fetched = match self.code.fetch_and_extract(&run.job, directory).await {
            Err(CodeError::Directory(DirectoryError::Taken { path })) => {
                tracing::warn!(job.id = %run.job.id, directory = %path.display(), "removing a directory that an earlier attempt left");
                let left = container_name(&run.job, &self.site.assignment_of(run));
                self.site.engine.remove(&left).await?;
                cleanup::directory(&self.site, directory, self.site.image_of(run)).await;
                self.code.fetch_and_extract(&run.job, directory).await?
            }
            fetched => fetched?,
        };
        for note in &fetched.notes {
            tracing::info!(job.id = %run.job.id, note, "unpacked the code with a note");
        }
        Ok(())
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
            *managed.lease.lock() = LeaseWatch::taken_over(self.site.directory_of(run).root());
        }
        self.hold(&managed, container, true, observer);
        observer.state(State::Running, Some(container));
        Ok(())
    }

    fn hold(&self, managed: &Managed, container: &str, resume: bool, observer: &dyn RunObserver) {
        let directory = self.site.directory_of(&managed.run);
        let source = managed.log_source(resume, observer.mask(&managed.run.job));
        let frames = self.site.engine.follow_logs(container);
        let logs = self.site.logs.attach(source, frames, observer.live_tap());
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
        outcome::wait_and_collect(&self.site, &managed, observer).await
    }

    /// The third part: removes container and directory and forgets the job.
    pub async fn release(&self, id: &JobId) {
        if let Some(managed) = self.managed.get(id) {
            if let Some(leftovers) = managed.take_leftovers() {
                cleanup::container(&self.site, &leftovers.container).await;
                let image = self.site.image_of(&managed.run);
                cleanup::directory(&self.site, &leftovers.directory, image).await;
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
            self.site.engine.stop(container, timeout).await?;
        }
        Ok(true)
    }

    /// Gives every bot of a segment another `lifetime` to run, from the proof on that the segment is ours;
    /// `stamp` must be a new one.
    pub async fn renew_leases(
        &self,
        segment: u32,
        stamp: String,
        lifetime: Duration,
        proven_at: Option<Uptime>,
    ) {
        let bots = self.managed.long_running_of(segment);
        renewal::renew(&self.site, bots, stamp, Grant::from(proven_at, lifetime)).await;
    }

    /// Whether the runner has a run of a job. What a worker has in hand, its own list says.
    #[cfg(test)]
    fn is_active(&self, id: &JobId) -> bool {
        self.managed.get(id).is_some()
    }

    pub(super) fn container_of(&self, id: &JobId) -> Option<String> {
        self.managed.get(id)?.container().map(str::to_owned)
    }
}

#[cfg(test)]
mod tests;
