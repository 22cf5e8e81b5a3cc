//! What a worker asks of a runner of jobs. There are two: one with an engine's containers, and the
//! simulation's, in memory.

use std::time::Duration;

use async_trait::async_trait;

use super::directory::FoundDirectory;
use super::failure::RunFailure;
use super::labels::Identity;
use super::lease::Uptime;
use super::observer::RunObserver;
use super::orchestrator::{ContainerInfo, EngineError};
use super::rehearsal::RehearsalError;
use crate::job::{ExecutionResult, JobId, Run};

/// Runs jobs in containers, and lists containers and directories, whichever worker left them.
#[async_trait]
pub trait JobRunner: Send + Sync {
    /// The name that results carry.
    fn worker(&self) -> &str;

    /// Whether the engine answers.
    ///
    /// # Errors
    /// Why it does not.
    async fn check(&self) -> Result<(), EngineError>;

    /// Tries what every job needs: disk, store and engine.
    ///
    /// # Errors
    /// What does not work.
    async fn rehearse(&self) -> Result<(), RehearsalError>;

    /// From nothing to a running container. A failure leaves nothing behind.
    ///
    /// # Errors
    /// [`RunFailure`], named by what the caller does about it.
    async fn launch(&self, run: &Run, observer: &dyn RunObserver) -> Result<(), RunFailure>;

    /// Adopts a run whose container exists already, running or ended.
    ///
    /// # Errors
    /// [`RunFailure::AlreadyActive`].
    fn adopt(
        &self,
        run: &Run,
        container: &str,
        observer: &dyn RunObserver,
    ) -> Result<(), RunFailure>;

    /// Waits for the container's end, collects result and logs, and judges. It may be dropped at
    /// any time and called again.
    ///
    /// # Errors
    /// [`RunFailure`].
    async fn wait(
        &self,
        id: &JobId,
        observer: &dyn RunObserver,
    ) -> Result<ExecutionResult, RunFailure>;

    /// Removes container and directory of a job's run, and forgets it.
    async fn release(&self, id: &JobId);

    /// Forgets a run that now belongs to another worker, and touches nothing of it.
    fn forget(&self, id: &JobId);

    /// Asks the active run of a job to stop: SIGTERM, then SIGKILL after `timeout`. Returns `false`
    /// if the job is not active here.
    ///
    /// # Errors
    /// If the engine could not be reached.
    async fn stop_container(
        &self,
        id: &JobId,
        reason: Option<String>,
        timeout: Duration,
    ) -> Result<bool, EngineError>;

    /// Gives every bot of a segment another `lifetime` to run, from the proof that the segment is
    /// ours. `stamp` must be new. It may hang as long as the disk of `TEMP_DIR` does, and can be
    /// dropped then.
    ///
    /// # Errors
    /// If nothing can be written in `TEMP_DIR`, also if the segment has no bot.
    async fn renew_leases(
        &self,
        segment: u32,
        stamp: String,
        lifetime: Duration,
        proven_at: Option<Uptime>,
    ) -> std::io::Result<()>;

    /// The same for the bots of a segment that its last owner left and nobody has adopted yet, as
    /// long as their leases have not run out.
    ///
    /// # Errors
    /// Where the engine could not be asked.
    async fn renew_left_leases(
        &self,
        segment: u32,
        stamp: String,
        lifetime: Duration,
        proven_at: Option<Uptime>,
    ) -> Result<(), EngineError>;

    /// The containers of a segment in this namespace, ended ones included.
    ///
    /// # Errors
    /// Where the engine could not be asked.
    async fn list_managed_containers(
        &self,
        segment: u32,
    ) -> Result<Vec<(ContainerInfo, Identity)>, EngineError>;

    /// Every container of a job in this namespace on this engine, ended ones included.
    ///
    /// # Errors
    /// Where the engine could not be asked.
    async fn list_all_containers(&self) -> Result<Vec<(ContainerInfo, Identity)>, EngineError>;

    /// Removes a container of ours that no run needs any more.
    async fn remove_leftover(&self, container: &str);

    /// The directories of all attempts in this namespace on this host.
    async fn list_directories(&self) -> Vec<FoundDirectory>;

    /// Removes the directory of an attempt that no run needs any more.
    async fn remove_directory(&self, found: &FoundDirectory);

    /// Removes what attempts of `run` left on this host, except the attempt `kept`. The others must
    /// have no container.
    async fn remove_leftover_directories(&self, run: &Run, kept: Option<u32>);

    /// Stops keeping logs when the last lines have reached the store. Returns `false` if that takes
    /// longer than the given time.
    async fn stop_logs(&self, within: Duration) -> bool;
}
