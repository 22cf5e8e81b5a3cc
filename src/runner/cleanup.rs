//! Removes what a run leaves, on every way out. If something cannot be removed, its name is logged.

use std::path::Path;
use std::time::Duration;

use super::container::ContainerBuilder;
use super::directory::{DirectoryError, JobDirectory};
use super::labels;
use super::orchestrator::ContainerOrchestrator;
use super::site::Site;
use crate::job::Limits;

/// The path at which the helper container sees the directory that it empties.
const MOUNT: &str = "/cleanup";

/// What the helper may do: write to folders of any owner and mode, sticky ones included.
const RIGHTS: [&str; 2] = ["DAC_OVERRIDE", "FOWNER"];

/// Limits of the helper container: enough to walk a directory tree.
const HELPER_LIMITS: Limits = Limits { memory_mb: 128, cpu_shares: 512, cpus: None, pids: 32 };

/// Removes a container.
pub(super) async fn container(site: &Site, container: &str) {
    if let Err(error) = site.engine.remove(container).await {
        tracing::error!(container.id = %container, %error, "could not remove a container");
    }
}

/// Removes a job's directory. A container may have left files of another user, which a worker
/// without root's rights cannot remove. Then a container of the same image empties the directory
/// first, as root.
pub(super) async fn directory(site: &Site, directory: &JobDirectory, image: &str) {
    let removed = directory_on(&*site.engine, &site.namespace, directory, image).await;
    if let Err(error) = removed {
        tracing::error!(directory = %directory.root().display(), %error, "could not remove a job's directory");
    }
}

/// The same on an engine, for a namespace. Returns what went wrong.
pub(super) async fn directory_on(
    engine: &dyn ContainerOrchestrator,
    namespace: &str,
    directory: &JobDirectory,
    image: &str,
) -> Result<(), String> {
    match directory.remove().await {
        Err(DirectoryError::NeedsRoot { path, .. }) => {
            empty_as_root(engine, namespace, &path, image).await?;
            directory.remove().await.map_err(|error| error.to_string())
        }
        removed => removed.map_err(|error| error.to_string()),
    }
}

async fn empty_as_root(
    engine: &dyn ContainerOrchestrator,
    namespace: &str,
    path: &Path,
    image: &str,
) -> Result<(), String> {
    let mut spec = ContainerBuilder::new(image)
        .with_bind(path, MOUNT)
        .with_capabilities(&RIGHTS)
        .with_limits(HELPER_LIMITS)
        .with_labels(labels::helper(namespace))
        .with_stop_timeout(Duration::ZERO)
        .build();
    spec.name = format!("{namespace}.cleanup.{}", uuid::Uuid::new_v4());
    spec.command = ["find", MOUNT, "-mindepth", "1", "-delete"].map(str::to_owned).to_vec();
    let ran = engine.run_and_wait(&spec, None).await.map_err(|error| error.to_string())?;
    match ran.status.exit_code {
        Some(0) => Ok(()),
        code => Err(format!("emptying it as root ended with {code:?}: {}", ran.output.trim())),
    }
}
