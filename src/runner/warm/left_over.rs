//! Removes waiting containers whose worker has died, and containers of runs that have left nothing else.

use std::fs;
use std::path::Path;

use super::owner;
use super::stand_in::{Warm, kind_of};
use crate::runner::directory::JobDirectory;
use crate::runner::labels;
use crate::runner::orchestrator::{ContainerInfo, ContainerState, EngineError};
use crate::runner::site::Site;
use crate::runner::{cleanup, labels::WARM};

/// Removes what nobody needs.
pub(super) async fn remove(site: &Site) {
    if let Err(error) = remove_containers(site).await {
        tracing::debug!(%error, "could not look for waiting containers that were left over");
    }
    let all = owner::folder(&site.settings.temp_dir, &site.namespace);
    for folder in fs::read_dir(&all).into_iter().flatten().flatten().map(|entry| entry.path()) {
        if owner::is_alive(&folder) {
            continue;
        }
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            if entry.path().is_dir() {
                let image = site.image_with_shell(None);
                cleanup::directory(site, &JobDirectory::at(entry.path()), image).await;
            }
        }
        owner::remove(&folder);
    }
}

async fn remove_containers(site: &Site) -> Result<(), EngineError> {
    let managed = labels::managed(&site.namespace, None);
    let found = site.engine.list_containers(&managed).await?;
    for info in found.into_iter().filter(|info| is_left_over(info, site)) {
        tracing::info!(container.id = %info.id, container.name = info.name, "removing a waiting container that a worker left");
        cleanup::container(site, &info.id).await;
    }
    Ok(())
}

fn is_left_over(info: &ContainerInfo, site: &Site) -> bool {
    let (temp_dir, namespace) = (&site.settings.temp_dir, &site.namespace);
    let Some(kind) = kind_of(info, temp_dir, namespace) else { return false };
    let folder = info.labels.get(WARM).and_then(|slot| Path::new(slot).parent());
    let is_ours =
        folder.is_some_and(|folder| folder.starts_with(owner::folder(temp_dir, namespace)));
    match kind {
        Warm::Waiting if is_ours => !folder.is_some_and(owner::is_alive),
        // Without its worker it ends by itself.
        Warm::Waiting => info.state == ContainerState::Exited,
        // The note is there from before the name, up to the end of the run's directory.
        Warm::Named { identity, .. } => is_ours && identity.is_none(),
    }
}
