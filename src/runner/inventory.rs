//! Finds our containers and directories on this host, whichever worker left them.

use std::path::Path;

use super::cleanup;
use super::directory::{FoundDirectory, JobDirectory};
use super::labels::{self, Identity};
use super::orchestrator::{ContainerInfo, ContainerOrchestrator, EngineError};
use super::site::Site;
use super::warm::{self, Warm};
use crate::job::Run;

/// Removes the directories of all jobs of a namespace that nobody needs any more, and the namespace's own. The
/// image has a shell, for what only root may remove.
///
/// # Errors
/// The first directory that could not be removed, in a sentence.
pub async fn remove_namespace(
    engine: &dyn ContainerOrchestrator,
    temp_dir: &Path,
    namespace: &str,
    image: &str,
) -> Result<(), String> {
    for FoundDirectory { id, run_id, attempt } in JobDirectory::list(temp_dir, namespace) {
        let directory = JobDirectory::new(temp_dir, namespace, &id, &run_id, attempt);
        cleanup::directory_on(engine, namespace, &directory, image).await?;
    }
    let directory = temp_dir.join(namespace);
    match tokio::fs::remove_dir(&directory).await {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(format!("removing {}: {error}", directory.display()))
        }
        _ => Ok(()),
    }
}

impl Site {
    /// The containers of a segment in this namespace, ended ones included.
    pub async fn list_managed_containers(
        &self,
        segment: u32,
    ) -> Result<Vec<(ContainerInfo, Identity)>, EngineError> {
        // The labels of those that were started before their job name no segment.
        let found = self.list_all_containers().await?;
        Ok(found.into_iter().filter(|(_, identity)| identity.segment == segment).collect())
    }

    /// Every container of a job in this namespace on this engine, ended ones included.
    pub async fn list_all_containers(&self) -> Result<Vec<(ContainerInfo, Identity)>, EngineError> {
        let found = self.engine.list_containers(&labels::managed(&self.namespace, None)).await?;
        Ok(found.into_iter().filter_map(|info| self.identified(info)).collect())
    }

    fn identified(&self, info: ContainerInfo) -> Option<(ContainerInfo, Identity)> {
        let identity = match warm::kind_of(&info, &self.settings.temp_dir, &self.namespace) {
            None => labels::identity(&info.labels).ok(),
            Some(Warm::Waiting) => None,
            Some(Warm::Named { identity, .. }) => identity,
        };
        Some((info, identity?))
    }

    /// Removes a container of ours that no run needs any more.
    pub async fn remove_leftover(&self, container: &str) {
        cleanup::container(self, container).await;
    }

    /// Removes the directory of the namespace if no job has a directory in it.
    pub async fn remove_namespace_directory(&self) {
        let directory = self.settings.temp_dir.join(&self.namespace);
        match tokio::fs::remove_dir(&directory).await {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                tracing::warn!(directory = %directory.display(), %error, "could not remove a directory");
            }
            _ => {}
        }
    }

    /// Removes what attempts of `run` left on this host, except the attempt `kept`. The others must
    /// have no container.
    pub async fn remove_leftover_directories(&self, run: &Run, kept: Option<u32>) {
        let (temp_dir, id) = (&self.settings.temp_dir, &run.job.id);
        let attempts = JobDirectory::attempts(temp_dir, &self.namespace, id, &run.job.run_id);
        for attempt in attempts.into_iter().filter(|attempt| Some(*attempt) != kept) {
            tracing::info!(job.id = %id, attempt, "removed a directory that no run needs");
            let directory = self.directory_of(&Run { attempt, ..run.clone() });
            cleanup::directory(self, &directory, self.image_with_shell(Some(run))).await;
        }
        let emptied = JobDirectory::remove_empty_folder(temp_dir, &self.namespace, id).await;
        if let Err(error) = emptied {
            tracing::error!(job.id = %id, %error, "could not remove a directory that no run needs");
        }
    }

    /// The directories of all attempts in this namespace on this host. Empty folders of jobs are
    /// removed on the way.
    pub async fn list_directories(&self) -> Vec<FoundDirectory> {
        let (temp_dir, namespace) = (self.settings.temp_dir.clone(), self.namespace.clone());
        tokio::task::spawn_blocking(move || JobDirectory::list(&temp_dir, &namespace))
            .await
            .unwrap_or_default()
    }

    /// Removes the directory of an attempt that no run needs any more.
    pub async fn remove_directory(&self, found: &FoundDirectory) {
        let FoundDirectory { id, run_id, attempt } = found;
        let temp_dir = &self.settings.temp_dir;
        let directory = JobDirectory::new(temp_dir, &self.namespace, id, run_id, *attempt);
        // Any image with a shell can remove what only root may remove.
        cleanup::directory(self, &directory, self.image_with_shell(None)).await;
    }
}
