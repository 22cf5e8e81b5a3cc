//! `DockerRunner`: fetch → image → script → container → run → collect.
//!
//! [`DockerRunner::start_container`] is the whole way. The worker calls its three parts one by one,
//! [`launch`](DockerRunner::launch), [`wait`](DockerRunner::wait) and
//! [`release`](DockerRunner::release), because it publishes events between them.

use std::sync::Arc;
use std::time::Duration;

use nix::unistd::geteuid;
use tokio::time::Instant;

use super::cache::Key;
use super::cleanup;
use super::code::{CachePlan, CodeCaps, CodeError, CodeManager, Compilable, Compiler};
use super::container::{ContainerBuilder, code_binds, container_name, helper_bind, module_bind};
use super::creation::{self, Prepared};
use super::directory::{DirectoryError, JobDirectory};
use super::failure::RunFailure;
use super::ground::Ground;
use super::lease::{Grant, LeaseWatch, Renewals, Uptime, renewal};
use super::managed::{Held, Managed, ManagedContainers};
use super::names;
use super::observer::RunObserver;
use super::orchestrator::{ContainerOrchestrator, EngineError, EngineRoot};
use super::outcome;
use super::rehearsal::{self, RehearsalError};
use super::script::ScriptManager;
use super::site::{Site, image_of};
use super::state;
use super::stopping;
use super::sweep;
use super::temp_dir;
use super::warm::{StandIn, WarmPool, until};
use crate::job::{ExecutionResult, JobId, Run, State};
use crate::metrics::{Gauges, Stage};

/// Runs jobs in containers.
pub struct DockerRunner {
    pub(super) site: Arc<Site>,
    code: CodeManager,
    scripts: ScriptManager,
    managed: ManagedContainers,
    warm: Arc<WarmPool>,
    ground: Ground,
    pub(super) renewals: Renewals,
}

impl DockerRunner {
    /// A runner for the jobs of a site. A bot ends itself if its lease is not renewed for the
    /// site's lease time: see [`renew_leases`](DockerRunner::renew_leases).
    #[must_use]
    pub fn new(site: Site) -> Self {
        let (site, ground) = (Arc::new(site), Ground::of(EngineRoot::Host));
        Self {
            code: code_of(&site, ground),
            scripts: ScriptManager::new(&site.settings.temp_dir),
            warm: WarmPool::new(&site, ground),
            site,
            managed: ManagedContainers::default(),
            ground,
            renewals: Renewals::default(),
        }
    }

    /// Sets the ground that host and engine share, for an engine that is not the host's root.
    #[must_use]
    pub fn on(self, ground: Ground) -> Self {
        let (code, warm) = (code_of(&self.site, ground), WarmPool::new(&self.site, ground));
        Self { code, warm, ground, ..self }
    }

    /// Tries what every job needs: see [`rehearsal`]. Opens the code cache, and removes what an
    /// earlier worker left half-made in it. Then containers begin to wait for jobs.
    ///
    /// # Errors
    /// What does not work.
    pub async fn rehearse(&self) -> Result<(), RehearsalError> {
        self.code.open_cache().await;
        rehearsal::rehearse(&self.site, self.ground).await?;
        self.warm.open().await;
        Ok(())
    }

    /// Ends what is done in the background for later runs.
    pub(super) async fn end_background(&self) {
        tokio::join!(self.code.end(), self.warm.end());
    }

    /// Reads what the code cache and the waiting containers take.
    pub fn read_gauges(&self, gauges: &Gauges) {
        self.code.read_gauges(gauges);
        gauges.warm(self.warm.waiting());
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
            // Also a container that was started and then could not be stopped.
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
            let code = tokio::select! {
                code = self.prepare_code(run, &directory) => code?,
                () = managed.stop.cancelled() => return Err(managed.cancelled()),
            };
            let ready_at = Instant::now();
            let image_id = code.image_id.as_deref();
            if let Some(begun) = self.warm.begin(managed, image_id, &directory, observer).await? {
                managed.hear_end(begun.done);
                return Ok((begun.container, code.compilable, ready_at));
            }
            let prepared = tokio::select! {
                prepared = self.prepare(managed, &directory, observer) => prepared?,
                () = managed.stop.cancelled() => return Err(managed.cancelled()),
            };
            if !observer.may_start() {
                return Err(RunFailure::not_shown());
            }
            let container = creation::create(
                &self.site,
                self.ground,
                run.job.id.as_str(),
                &directory,
                prepared,
            )
            .await?;
            if !observer.may_start() {
                // Starting it took too long. Nobody holds it, so it must not stay.
                creation::make_sure_of_none(&self.site, &container).await;
                return Err(RunFailure::not_shown());
            }
            Ok((container, code.compilable, ready_at))
        };
        let (container, compilable, ready_at) = match created.await {
            Ok(created) => created,
            Err(failure) => {
                cleanup::directory(&self.site, &directory, self.site.image_with_shell(Some(run)))
                    .await;
                return Err(failure);
            }
        };
        self.site.metrics.stage(Stage::Start, ready_at.elapsed());
        managed.mark_launched();
        self.hold(managed, &container, false, observer);
        // Not before: this run gains nothing by it, and is to start fast.
        self.code.compile_later(compilable).await;
        if managed.stop.is_cancelled() {
            // The stop came while the engine was starting it, and found nothing to stop.
            stopping::stop(&self.site, managed, &container, self.site.settings.stop_timeout)
                .await?;
        } else {
            observer.state(State::Running, Some(&container));
        }
        Ok(())
    }

    /// Fetch → image.
    async fn prepare_code(
        &self,
        run: &Run,
        directory: &JobDirectory,
    ) -> Result<PreparedCode, RunFailure> {
        let (site, image) = (&self.site, image_of(run));
        if image.is_empty() {
            return Err(RunFailure::of_unknown_runtime(&run.job.runtime));
        }
        let settings = &site.settings;
        temp_dir::close_namespace(&settings.temp_dir, &site.namespace, self.ground.passage)?;
        let code = site.metrics.timed(Stage::Code, self.fetch(run, directory)).await?;
        let image_id = site.metrics.timed(Stage::Image, pull(&*site.engine, image)).await?;
        let launcher = run.job.runtime.launcher;
        let of_image = (image, image_id.clone());
        let compilable = self.code.add_bytecode(code, of_image, launcher, directory).await;
        Ok(PreparedCode { image_id, compilable })
    }

    /// Script → the container's specification.
    async fn prepare(
        &self,
        managed: &Managed,
        directory: &JobDirectory,
        observer: &dyn RunObserver,
    ) -> Result<Prepared, RunFailure> {
        let (site, run) = (&self.site, &managed.run);
        let (settings, image) = (&site.settings, image_of(run));
        let script = self.scripts.create(&run.job, directory).await?;
        sweep::prepare(site, run, directory).await?;
        state::restore(site, managed, directory, observer).await?;
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
            .with_command(script.command)
            .with_profile(profile)
            .with_binds(binds)
            .with_binds([helper_bind(&script.helper, &run.job)])
            .with_binds(module_bind(directory.root(), run.job.runtime.launcher))
            .with_binds(names::binds(directory.root()))
            .with_stop_timeout(settings.stop_timeout)
            .build();
        Ok(Prepared { spec, writes: script.writes })
    }

    /// Fetches the code. If the directory exists already, this attempt left it when its worker
    /// died. Then whatever still runs of it is ended first.
    async fn fetch(&self, run: &Run, directory: &JobDirectory) -> Result<Option<Key>, RunFailure> {
        let fetched = match self.code.fetch_and_extract(&run.job, directory).await {
            Err(CodeError::Directory(DirectoryError::Taken { path })) => {
                tracing::warn!(job.id = %run.job.id, directory = %path.display(), "removing a directory that an earlier attempt left");
                let left = container_name(&run.job, &self.site.assignment_of(run));
                self.site.engine.remove(&left).await?;
                cleanup::directory(&self.site, directory, self.site.image_with_shell(Some(run)))
                    .await;
                self.code.fetch_and_extract(&run.job, directory).await?
            }
            fetched => fetched?,
        };
        for note in &fetched.extracted.notes {
            tracing::info!(job.id = %run.job.id, note, "unpacked the code with a note");
        }
        Ok(fetched.shared)
    }

    /// Adopts a run whose container exists already, running or ended. A restarted worker does this
    /// with the containers that it left.
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
        let frames = match StandIn::read(&self.site.directory_of(&managed.run)) {
            Some(found) => until(&found.end_word, self.site.engine.follow_logs_at_once(container)),
            None => self.site.engine.follow_logs(container),
        };
        let logs = self.site.logs.attach(source, frames, observer.live_tap());
        managed.hold(Held { container: container.to_owned(), directory, logs });
    }

    /// The second part: waits for the container's end, collects result and logs, and judges. It may
    /// be dropped at any time and called again.
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
                let image = self.site.image_with_shell(Some(&managed.run));
                cleanup::directory(&self.site, &leftovers.directory, image).await;
            }
            self.managed.remove(id);
        }
    }

    /// Forgets a run that now belongs to another worker, and touches nothing of it.
    pub fn forget(&self, id: &JobId) {
        self.managed.remove(id);
    }

    /// Asks the active run of a job to stop: SIGTERM, then SIGKILL after `timeout`. The caller that
    /// waits for the run gets its result. Returns `false` if the job is not active here.
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
            stopping::stop(&self.site, &managed, container, timeout).await?;
        }
        Ok(true)
    }

    /// Gives every bot of a segment another `lifetime` to run, from the proof that the segment is
    /// ours. `stamp` must be new.
    ///
    /// # Errors
    /// If nothing can be written in `TEMP_DIR`, also if the segment has no bot.
    pub async fn renew_leases(
        &self,
        segment: u32,
        stamp: String,
        lifetime: Duration,
        proven_at: Option<Uptime>,
    ) -> std::io::Result<()> {
        let bots = self.managed.long_running_of(segment);
        self.renewals.renew(&self.site, bots, stamp, Grant::from(proven_at, lifetime)).await
    }

    /// Whether the runner has a run of a job. The worker has its own list of active jobs.
    #[cfg(test)]
    fn is_active(&self, id: &JobId) -> bool {
        self.managed.get(id).is_some()
    }

    pub(super) fn container_of(&self, id: &JobId) -> Option<String> {
        self.managed.get(id)?.container().map(str::to_owned)
    }
}

/// What a run has before its container is chosen.
struct PreparedCode {
    image_id: Option<String>,
    compilable: Option<Compilable>,
}

/// The id of an image, which is pulled if it is missing.
async fn pull(
    engine: &dyn ContainerOrchestrator,
    image: &str,
) -> Result<Option<String>, EngineError> {
    engine.pull_image(image).await?;
    engine.image_id(image).await
}

fn code_of(site: &Site, ground: Ground) -> CodeManager {
    let plan = CachePlan::of(&site.settings, ground, geteuid().as_raw());
    let caps = CodeCaps::from(&site.settings);
    let code = CodeManager::new(Arc::clone(&site.store), caps).with_cache(plan);
    code.with_compiler(Compiler::of(site, ground))
}

#[cfg(test)]
mod tests;
