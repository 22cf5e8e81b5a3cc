//! Where jobs run: the engine, the store and the logs of a worker, and the names that identify its
//! jobs.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::directory::JobDirectory;
use super::labels::Assignment;
use super::orchestrator::ContainerOrchestrator;
use crate::job::Run;
use crate::logs::LogCollector;
use crate::metrics::Metrics;
use crate::settings::RunnerSettings;
use crate::storage::{Journal, ObjectStore};

/// What every step of a run needs. It decides nothing.
pub struct Site {
    /// Where containers run.
    pub engine: Arc<dyn ContainerOrchestrator>,
    /// Where code comes from, and results go to.
    pub store: Arc<dyn ObjectStore>,
    /// Where the states of bots are.
    pub states: Journal,
    /// Where the output of containers goes to.
    pub logs: Arc<LogCollector>,
    /// The settings of containers and their directories.
    pub settings: RunnerSettings,
    /// Separates these containers and directories from all others.
    pub namespace: String,
    /// The worker's name, which results carry.
    pub worker: String,
    /// How long a bot may run on without hearing from its worker.
    pub lease: Duration,
    /// The file that a `longshore run` holds locked; a worker has none.
    pub lock: Option<PathBuf>,
    /// What counts and measures.
    pub metrics: Metrics,
}

impl Site {
    /// The image of a container that removes what only root may remove: any with a shell will do, and that of a
    /// run may have none.
    pub(super) fn image_with_shell<'a>(&'a self, run: Option<&'a Run>) -> &'a str {
        let own = run.filter(|run| run.job.runtime.launcher.calls_main());
        let own = own.map(image_of).filter(|image| !image.is_empty());
        own.unwrap_or_else(|| self.settings.runtimes.image_with_shell())
    }

    /// The labels' part that says whose container it is.
    pub(super) fn assignment_of(&self, run: &Run) -> Assignment<'_> {
        let (segment, attempt) = (run.segment, run.attempt);
        let lock = self.lock.as_deref();
        Assignment { namespace: &self.namespace, segment, attempt, lock }
    }

    /// The directory of this attempt.
    pub(super) fn directory_of(&self, run: &Run) -> JobDirectory {
        let (temp_dir, job) = (&self.settings.temp_dir, &run.job);
        JobDirectory::new(temp_dir, &self.namespace, &job.id, &job.run_id, run.attempt)
    }
}

/// The image in which a run runs.
pub(super) fn image_of(run: &Run) -> &str {
    &run.job.runtime.image
}
