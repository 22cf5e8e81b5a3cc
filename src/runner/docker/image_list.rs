//! The images of the engine as a list, and their removal.

use std::collections::HashSet;

use bollard::models::ImageSummary;
use bollard::query_parameters::{
    ListContainersOptionsBuilder, ListImagesOptions, RemoveImageOptions,
};

use super::engine::Engine;
use crate::runner::orchestrator::{EngineError, ImageInfo};

/// The images that are here.
pub(super) async fn list(engine: &Engine) -> Result<Vec<ImageInfo>, EngineError> {
    // Before the containers: an image that is used only afterwards cannot be removed either.
    let listed = engine.docker.list_images(None::<ListImagesOptions>).await;
    let listed = listed.map_err(engine.failed("listing", "images"))?;
    let all = ListContainersOptionsBuilder::default().all(true).build();
    let containers = engine.docker.list_containers(Some(all)).await;
    let containers = containers.map_err(engine.failed("listing", "containers"))?;
    let used: HashSet<_> =
        containers.into_iter().filter_map(|container| container.image_id).collect();
    Ok(listed.into_iter().map(|image| info(image, &used)).collect())
}

fn info(image: ImageSummary, used: &HashSet<String>) -> ImageInfo {
    let tags = named(image.repo_tags);
    ImageInfo {
        is_used: used.contains(&image.id),
        bytes: image.size.try_into().unwrap_or_default(),
        names: if tags.is_empty() { named(image.repo_digests) } else { tags },
        id: image.id,
    }
}

/// Those that are names.
fn named(names: Vec<String>) -> Vec<String> {
    names.into_iter().filter(|name| !name.contains("<none>")).collect()
}

/// Removes a name of an image, and the image with its last name.
pub(super) async fn remove(engine: &Engine, image: &str) -> Result<(), EngineError> {
    let removed = engine.docker.remove_image(image, None::<RemoveImageOptions>, None).await;
    removed.map(drop).map_err(engine.failed("removing the image", image))
}
