//! Questions to a runner: what it runs, and what the engine says about that.

use super::docker_runner::DockerRunner;
use super::labels::Identity;
use super::orchestrator::{ContainerInfo, ContainerStatus, EngineError};
use super::site::Site;
use crate::job::JobId;

impl DockerRunner {
    /// What the engine says about the container of an active job; `None` if there is none.
    pub async fn get_container_status(
        &self,
        id: &JobId,
    ) -> Result<Option<ContainerStatus>, EngineError> {
        let Some(container) = self.container_of(id) else {
            return Ok(None);
        };
        match self.site.engine.get_status(&container).await {
            Err(EngineError::NoContainer { .. }) => Ok(None),
            status => status.map(Some),
        }
    }

    /// The last `tail` lines of an active job's container, or all; `None` if there is none.
    pub async fn get_container_logs(
        &self,
        id: &JobId,
        tail: Option<usize>,
    ) -> Result<Option<String>, EngineError> {
        match self.container_of(id) {
            Some(container) => self.site.engine.get_logs(&container, tail).await.map(Some),
            None => Ok(None),
        }
    }

    /// The name that results carry.
    #[must_use]
    pub fn worker(&self) -> &str {
        &self.site.worker
    }

    /// The containers of a segment in this namespace, ended ones included.
    pub async fn list_managed_containers(
        &self,
        segment: u32,
    ) -> Result<Vec<(ContainerInfo, Identity)>, EngineError> {
        self.site.list_managed_containers(segment).await
    }

    /// The site on which it runs its jobs.
    #[must_use]
    pub fn site(&self) -> &Site {
        &self.site
    }
}
