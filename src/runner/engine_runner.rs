//! [`DockerRunner`] as the runner of a worker.

use std::io;
use std::time::Duration;

use async_trait::async_trait;

use super::directory::FoundDirectory;
use super::docker_runner::DockerRunner;
use super::failure::RunFailure;
use super::job_runner::JobRunner;
use super::labels::Identity;
use super::lease::{Grant, Uptime};
use super::observer::RunObserver;
use super::orchestrator::{ContainerInfo, EngineError};
use super::rehearsal::RehearsalError;
use crate::job::{ExecutionResult, JobId, Run};

#[async_trait]
impl JobRunner for DockerRunner {
    fn worker(&self) -> &str {
        DockerRunner::worker(self)
    }

    async fn check(&self) -> Result<(), EngineError> {
        self.site().engine.check().await.map(drop)
    }

    async fn rehearse(&self) -> Result<(), RehearsalError> {
        DockerRunner::rehearse(self).await
    }

    async fn launch(&self, run: &Run, observer: &dyn RunObserver) -> Result<(), RunFailure> {
        DockerRunner::launch(self, run, observer).await
    }

    fn adopt(
        &self,
        run: &Run,
        container: &str,
        observer: &dyn RunObserver,
    ) -> Result<(), RunFailure> {
        DockerRunner::adopt(self, run, container, observer)
    }

    async fn wait(
        &self,
        id: &JobId,
        observer: &dyn RunObserver,
    ) -> Result<ExecutionResult, RunFailure> {
        DockerRunner::wait(self, id, observer).await
    }

    async fn release(&self, id: &JobId) {
        DockerRunner::release(self, id).await;
    }

    fn forget(&self, id: &JobId) {
        DockerRunner::forget(self, id);
    }

    async fn stop_container(
        &self,
        id: &JobId,
        reason: Option<String>,
        timeout: Duration,
    ) -> Result<bool, EngineError> {
        DockerRunner::stop_container(self, id, reason, timeout).await
    }

    async fn renew_leases(
        &self,
        segment: u32,
        stamp: String,
        lifetime: Duration,
        proven_at: Option<Uptime>,
    ) -> io::Result<()> {
        DockerRunner::renew_leases(self, segment, stamp, lifetime, proven_at).await
    }

    async fn renew_left_leases(
        &self,
        segment: u32,
        stamp: String,
        lifetime: Duration,
        proven_at: Option<Uptime>,
    ) -> Result<(), EngineError> {
        let grant = Grant::from(proven_at, lifetime);
        self.renewals.renew_left(self.site(), segment, stamp, grant).await
    }

    async fn list_managed_containers(
        &self,
        segment: u32,
    ) -> Result<Vec<(ContainerInfo, Identity)>, EngineError> {
        DockerRunner::list_managed_containers(self, segment).await
    }

    async fn list_all_containers(&self) -> Result<Vec<(ContainerInfo, Identity)>, EngineError> {
        self.site().list_all_containers().await
    }

    async fn remove_leftover(&self, container: &str) {
        self.site().remove_leftover(container).await;
    }

    async fn list_directories(&self) -> Vec<FoundDirectory> {
        self.site().list_directories().await
    }

    async fn remove_directory(&self, found: &FoundDirectory) {
        self.site().remove_directory(found).await;
    }

    async fn remove_leftover_directories(&self, run: &Run, kept: Option<u32>) {
        self.site().remove_leftover_directories(run, kept).await;
    }

    async fn stop_logs(&self, within: Duration) -> bool {
        let ending = tokio::time::timeout(within, self.end_background());
        let (ended, stopped) = tokio::join!(ending, self.site().logs.stop(within));
        if ended.is_err() {
            tracing::warn!("could not end a compiler in time; the next worker removes it");
        }
        stopped
    }
}
