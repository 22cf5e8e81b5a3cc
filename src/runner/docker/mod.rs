//! `DockerOrchestrator`: a Docker engine, version 20.10 or later.
//!
//! Only here: bollard. This folder takes no decision about a job, and asks the engine each time. It
//! remembers only that a container has ended, while its output is read.

mod create;
mod ends;
mod engine;
mod files;
mod follow;
mod image_list;
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

use engine::Engine;
use images::Images;

use super::container::ContainerSpec;
use super::isolation::Isolation;
use super::orchestrator::{
    ContainerInfo, ContainerOrchestrator, ContainerRunResult, ContainerStatus, EngineError,
    EngineRoot, ImageInfo,
};
use super::progress::Progress;
use crate::logs::Frame;
use crate::metrics::Metrics;
use crate::settings::{EngineLog, RunnerSettings};

/// The part of the output that [`ContainerOrchestrator::run_and_wait`] returns, in bytes.
const OUTPUT_TAIL_BYTES: usize = 64 * 1024;

/// A Docker engine.
pub struct DockerOrchestrator {
    engine: Engine,
    images: Images,
    starts: Semaphore,
    max_result_bytes: u64,
    log: EngineLog,
    metrics: Metrics,
}

impl DockerOrchestrator {
    /// Reaches the engine at `settings.docker_host` (`unix://`, `tcp://`, or the local socket) and
    /// agrees on a version of its API. Fails with [`EngineError::Unreachable`].
    pub async fn connect(
        settings: &RunnerSettings,
        progress: Progress,
        metrics: &Metrics,
    ) -> Result<Self, EngineError> {
        let engine = Engine::connect(settings.docker_host.as_deref()).await?;
        Ok(Self {
            images: Images::new(engine.clone(), settings.pull_timeout, progress),
            starts: Semaphore::new(settings.max_concurrent_starts.max(1)),
            max_result_bytes: settings.max_result_bytes,
            log: settings.engine_log,
            metrics: metrics.clone(),
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
        self.metrics.engine("pull", self.images.ensure(image)).await
    }

    async fn create_and_start(&self, spec: &ContainerSpec) -> Result<String, EngineError> {
        // Never closed, so this always gets a permit.
        let _permit = self.starts.acquire().await;
        let created = self
            .metrics
            .engine("start", create::create_and_start(&self.engine, spec, self.log))
            .await;
        if matches!(created, Err(EngineError::Pull { .. })) {
            self.images.forget(&spec.image);
        }
        created
    }

    fn has_free_start(&self) -> bool {
        self.starts.available_permits() > 0
    }

    async fn rename(&self, container: &str, name: &str) -> Result<(), EngineError> {
        self.metrics.engine("rename", lifecycle::rename(&self.engine, container, name)).await
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
        self.metrics.engine("stop", lifecycle::stop(&self.engine, container, timeout)).await
    }

    async fn get_logs(&self, container: &str, tail: Option<usize>) -> Result<String, EngineError> {
        self.metrics.engine("logs", logs::text(&self.engine, container, tail, usize::MAX)).await
    }

    fn follow_logs(&self, container: &str) -> BoxStream<'static, Result<Frame, EngineError>> {
        follow::follow(&self.engine, container, follow::FIRST_LOOK)
    }

    fn follow_logs_at_once(
        &self,
        container: &str,
    ) -> BoxStream<'static, Result<Frame, EngineError>> {
        follow::follow(&self.engine, container, Duration::ZERO)
    }

    async fn copy_from_container(
        &self,
        container: &str,
        path: &str,
        max_bytes: u64,
    ) -> Result<Option<Bytes>, EngineError> {
        self.metrics.engine("copy", files::copy(&self.engine, container, path, max_bytes)).await
    }

    async fn get_status(&self, container: &str) -> Result<ContainerStatus, EngineError> {
        self.metrics.engine("inspect", lifecycle::inspect(&self.engine, container)).await
    }

    async fn list_containers(
        &self,
        labels: &BTreeMap<String, String>,
    ) -> Result<Vec<ContainerInfo>, EngineError> {
        self.metrics.engine("list", lifecycle::list(&self.engine, labels)).await
    }

    async fn remove(&self, container: &str) -> Result<(), EngineError> {
        self.metrics.engine("remove", lifecycle::remove(&self.engine, container)).await
    }

    async fn check(&self) -> Result<String, EngineError> {
        let version = self.metrics.engine("check", self.engine.docker.version()).await;
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

    async fn isolation(&self) -> Result<Isolation, EngineError> {
        isolation::ask(&self.engine).await
    }

    async fn has_image(&self, image: &str) -> Result<bool, EngineError> {
        self.metrics.engine("image", self.images.has(image)).await
    }

    async fn image_id(&self, image: &str) -> Result<Option<String>, EngineError> {
        self.metrics.engine("image", self.images.id(image)).await
    }

    async fn list_images(&self) -> Result<Vec<ImageInfo>, EngineError> {
        self.metrics.engine("image", image_list::list(&self.engine)).await
    }

    async fn remove_image(&self, image: &str) -> Result<(), EngineError> {
        self.images.forget(image);
        self.metrics.engine("image", image_list::remove(&self.engine, image)).await
    }
}
