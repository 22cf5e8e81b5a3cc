//! `DockerOrchestrator`: a Docker engine, version 20.10 or later.
//!
//! Only here: bollard. No decision about a job is taken here, and nothing is kept about
//! containers but that one has ended, while somebody reads its output: the engine is asked.

mod create;
mod ends;
mod engine;
mod files;
mod follow;
mod images;
mod isolation;
mod lifecycle;
mod logs;
mod progress;
mod status;

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::BoxStream;
use tokio::sync::Semaphore;

pub use isolation::{Isolation, Seccomp};
pub use progress::{PULLS, Progress};

use engine::Engine;
use images::Images;

use super::container::ContainerSpec;
use super::orchestrator::{
    ContainerInfo, ContainerOrchestrator, ContainerRunResult, ContainerStatus, EngineError,
    EngineRoot,
};
use crate::logs::Frame;
use crate::settings::{EngineLog, RunnerSettings};

/// The part of the output that [`ContainerOrchestrator::run_and_wait`] gives, in bytes.
const OUTPUT_TAIL_BYTES: usize = 64 * 1024;

/// A Docker engine.
pub struct DockerOrchestrator {
    engine: Engine,
    images: Images,
    starts: Semaphore,
    max_result_bytes: u64,
    log: EngineLog,
}

impl DockerOrchestrator {
    /// Reaches the engine at `settings.docker_host` (`unix://`, `tcp://`, or the local socket) and
    /// agrees on a version of its API. Fails with [`EngineError::Unreachable`].
    pub async fn connect(
        settings: &RunnerSettings,
        progress: Progress,
    ) -> Result<Self, EngineError> {
        let engine = Engine::connect(settings.docker_host.as_deref()).await?;
        Ok(Self {
            images: Images::new(engine.clone(), settings.pull_timeout, progress),
            starts: Semaphore::new(settings.max_concurrent_starts.max(1)),
            max_result_bytes: settings.max_result_bytes,
            log: settings.engine_log,
            engine,
        })
    }

    async fn collect(
        &self,
        container: &str,
        result_path: Option<&str>,
    ) -> Result<ContainerRunResult, EngineError> {
        let status = self.wait(container).await?;
        let output = logs::text(&self.engine, container, None, OUTPUT_TAIL_BYTES).await?;
        let result = match result_path {
            Some(path) => self.copy_from_container(container, path, self.max_result_bytes).await?,
            None => None,
        };
        Ok(ContainerRunResult { status, output, result })
    }
}

#[async_trait]
impl ContainerOrchestrator for DockerOrchestrator {
    async fn pull_image(&self, image: &str) -> Result<(), EngineError> {
        self.images.ensure(image).await
    }

    async fn create_and_start(&self, spec: &ContainerSpec) -> Result<String, EngineError> {
        // Never closed, so that this is always a permit.
        let _permit = self.starts.acquire().await;
        let created = create::create_and_start(&self.engine, spec, self.log).await;
        if matches!(created, Err(EngineError::Pull { .. })) {
            self.images.forget(&spec.image);
        }
        created
    }

    async fn run_and_wait(
        &self,
        spec: &ContainerSpec,
        result_path: Option<&str>,
    ) -> Result<ContainerRunResult, EngineError> {
        let id = self.create_and_start(spec).await?;
        let outcome = self.collect(&id, result_path).await;
        if let Err(error) = self.remove(&id).await {
            tracing::warn!(container.id = id, %error, "could not remove an ended container");
        }
        outcome
    }

    async fn wait(&self, container: &str) -> Result<ContainerStatus, EngineError> {
        lifecycle::wait(&self.engine, container).await
    }

    async fn stop(&self, container: &str, timeout: Duration) -> Result<(), EngineError> {
        lifecycle::stop(&self.engine, container, timeout).await
    }

    async fn get_logs(&self, container: &str, tail: Option<usize>) -> Result<String, EngineError> {
        logs::text(&self.engine, container, tail, usize::MAX).await
    }

    fn follow_logs(&self, container: &str) -> BoxStream<'static, Result<Frame, EngineError>> {
        follow::follow(&self.engine, container)
    }

    async fn copy_from_container(
        &self,
        container: &str,
        path: &str,
        max_bytes: u64,
    ) -> Result<Option<Bytes>, EngineError> {
        files::copy(&self.engine, container, path, max_bytes).await
    }

    async fn get_status(&self, container: &str) -> Result<ContainerStatus, EngineError> {
        lifecycle::inspect(&self.engine, container).await
    }

    async fn list_containers(
        &self,
        labels: &BTreeMap<String, String>,
    ) -> Result<Vec<ContainerInfo>, EngineError> {
        lifecycle::list(&self.engine, labels).await
    }

    async fn remove(&self, container: &str) -> Result<(), EngineError> {
        lifecycle::remove(&self.engine, container).await
    }

    async fn check(&self) -> Result<String, EngineError> {
        let version = self.engine.docker.version().await;
        let version = version.map_err(self.engine.failed("asking the version of", "the engine"))?;
        Ok(version.version.unwrap_or_else(|| "unknown".to_owned()))
    }

    async fn identity(&self) -> Result<String, EngineError> {
        let info = self.engine.docker.info().await;
        let info = info.map_err(self.engine.failed("asking the id of", "the engine"))?;
        info.id.ok_or_else(|| EngineError::Operation {
            operation: "asking the id of",
            container: "the engine".to_owned(),
            reason: "it names none".to_owned(),
        })
    }

    async fn root(&self) -> Result<EngineRoot, EngineError> {
        let info = self.engine.docker.info().await;
        let info = info.map_err(self.engine.failed("asking the user of", "the engine"))?;
        Ok(engine::root(&info.security_options.unwrap_or_default(), self.engine.socket_owner()))
    }

    async fn has_image(&self, image: &str) -> Result<bool, EngineError> {
        self.images.has(image).await
    }
}
