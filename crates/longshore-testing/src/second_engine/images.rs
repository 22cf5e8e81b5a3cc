//! The images of a second engine: loaded from the machine's own engine, which takes many seconds,
//! or linked from what an earlier engine loaded.
//!
//! The cache is under `target/tmp`. Nobody writes to layers, so engines may share their files by
//! hard links. Everything that a daemon writes is a copy.

use std::path::{Path, PathBuf};

use bollard::Docker;
use bollard::query_parameters::ImportImageOptions;
use futures_util::TryStreamExt as _;
use tokio::process::Command;

use crate::servers;

/// The images of both runtimes.
const IMAGES: [&str; 2] = ["python:3.11-slim", "node:20-alpine"];

/// The prefix of cache names; the images' ids follow.
const CACHE: &str = "engine-images-";

/// Characters of an image's id in the name of a cache.
const SHOWN_ID: usize = 12;

/// How much of the images is on its way from one engine to the other, in bytes.
const PIPE_BYTES: usize = 1024 * 1024;

/// The layers, in folders of an engine's data.
const LAYERS: &str = "overlay2";
/// What says which layers an image has.
const INDEX: &str = "image";

/// The images that an engine is to have.
pub(super) struct Images {
    cache: PathBuf,
}

impl Images {
    /// Looks which ones the machine's own engine has.
    pub(super) async fn of_first_engine() -> Self {
        let ids = ids(&servers::engine().await).await;
        let ids = ids.unwrap_or_else(|error| panic!("{error}; {}", servers::SET_UP));
        let name = format!("{CACHE}{}", ids.join("-"));
        Self { cache: crate::kept().join(name) }
    }

    /// Puts the cache into the data of an engine that has not started.
    pub(super) async fn link(&self, data: &Path) {
        if self.cache.exists() && !copy(&self.cache, data).await {
            // Perhaps on another disk. It is loaded then.
            for folder in [LAYERS, INDEX] {
                let _absent = std::fs::remove_dir_all(data.join(folder));
            }
        }
    }

    /// Makes sure that an engine has them. Returns whether they had to be loaded.
    pub(super) async fn provide(&self, docker: &Docker) -> bool {
        let are_there = ids(docker).await.is_ok();
        if !are_there {
            load(docker).await;
        }
        !are_there
    }

    /// Keeps the images of an engine that is stopped, and has made no container, in the cache.
    pub(super) async fn keep(&self, data: &Path) {
        let new = self.cache.with_extension(uuid::Uuid::new_v4().simple().to_string());
        std::fs::create_dir_all(&new).unwrap();
        self.forget_others();
        // The faster one makes the cache.
        if !copy(data, &new).await || std::fs::rename(&new, &self.cache).is_err() {
            let _gone = std::fs::remove_dir_all(&new);
        }
    }

    /// Removes caches of images that have been replaced.
    fn forget_others(&self) {
        let folder = self.cache.parent().into_iter();
        for entry in folder.flat_map(std::fs::read_dir).flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            // An unfinished cache has a suffix.
            let is_cache = name.starts_with(CACHE) && !name.contains('.');
            if is_cache && entry.path() != self.cache {
                let _gone = std::fs::remove_dir_all(entry.path());
            }
        }
    }
}

/// The images' ids, shortened, if the engine has all of them.
async fn ids(docker: &Docker) -> Result<Vec<String>, String> {
    let mut ids = Vec::new();
    for image in IMAGES {
        let found =
            docker.inspect_image(image).await.map_err(|error| format!("{image}: {error}"))?;
        let id = found.id.unwrap_or_default();
        ids.push(id.trim_start_matches("sha256:").chars().take(SHOWN_ID).collect());
    }
    Ok(ids)
}

/// Copies layers and index from one folder to another, the layers' files by hard links.
async fn copy(from: &Path, to: &Path) -> bool {
    for (options, folder) in [("-al", LAYERS), ("-a", INDEX)] {
        let (from, to) = (from.join(folder), to.join(folder));
        let copied = Command::new("cp").arg(options).args([from, to]).output().await;
        if !copied.is_ok_and(|output| output.status.success()) {
            return false;
        }
    }
    true
}

async fn load(docker: &Docker) {
    let first = servers::engine().await;
    // The loading task must not borrow from here, so the images come through a pipe.
    let (mut ours, theirs) = tokio::io::duplex(PIPE_BYTES);
    let saving = async move {
        let images = first.export_images(&IMAGES).map_err(std::io::Error::other);
        let mut images = tokio_util::io::StreamReader::new(Box::pin(images));
        tokio::io::copy(&mut images, &mut ours).await
    };
    let stream = tokio_util::io::ReaderStream::new(theirs);
    let loading = docker.import_image_stream(ImportImageOptions::default(), stream, None);
    let loading = loading.try_for_each(|_| async { Ok(()) });
    let (saved, loaded) = tokio::join!(saving, loading);
    saved.unwrap_or_else(|error| panic!("save {IMAGES:?}: {error}; {}", servers::SET_UP));
    loaded.unwrap();
}
