//! The one place that says which engine the settings mean.

use std::sync::Arc;

use super::docker::DockerOrchestrator;
use super::orchestrator::{ContainerOrchestrator, EngineError};
use super::progress::Progress;
use crate::metrics::Metrics;
use crate::settings::RunnerSettings;

/// Reaches the engine that the settings name. Its operations are measured.
///
/// # Errors
/// [`EngineError::Unreachable`] if the engine does not answer.
pub async fn connect(
    settings: &RunnerSettings,
    progress: Progress,
    metrics: &Metrics,
) -> Result<Arc<dyn ContainerOrchestrator>, EngineError> {
    Ok(Arc::new(DockerOrchestrator::connect(settings, progress, metrics).await?))
}
