//! A second host for the workers of a scene: an engine, and a directory of its own.

use std::path::Path;
use std::sync::Arc;

use bollard::Docker;

use crate::robustness::until;
use longshore_testing::engine;
use longshore_testing::scene::Scene;
use longshore_testing::second_engine::SecondEngine;

/// What a bot may run on without a word from its worker, where a test waits for another host.
pub(crate) const GRACE: (&str, &str) = ("SEGMENT_GRACE_SECONDS", "10");

pub(crate) struct OtherHost {
    engine: Arc<SecondEngine>,
    docker_host: String,
    temp_dir: String,
}

impl OtherHost {
    /// A host with the engine that tests share.
    pub(crate) async fn of(scene: &Scene) -> Self {
        let engine = SecondEngine::shared().await;
        let temp_dir = scene.folder().join("other");
        std::fs::create_dir_all(&temp_dir).unwrap();
        let temp_dir = temp_dir.to_str().unwrap().to_owned();
        Self { docker_host: engine.docker_host(), engine, temp_dir }
    }

    /// Settings of a worker on this host, named `there`.
    pub(crate) fn settings(&self) -> [(&str, &str); 4] {
        self.settings_of("there")
    }

    /// Settings of a worker of this name on this host.
    pub(crate) fn settings_of<'a>(&'a self, name: &'a str) -> [(&'a str, &'a str); 4] {
        [
            ("DOCKER_HOST", &self.docker_host),
            ("TEMP_DIR", &self.temp_dir),
            GRACE,
            ("WORKER_NAME", name),
        ]
    }

    pub(crate) fn docker(&self) -> &Docker {
        self.engine.docker()
    }

    /// Waits until its engine has no container of the scene, and its directory no job's.
    pub(crate) async fn is_swept(&self, scene: &Scene) {
        let jobs = Path::new(&self.temp_dir).join(&scene.namespace);
        until("the other host has been swept", async || {
            let left = std::fs::read_dir(&jobs).map_or(0, Iterator::count);
            engine::of_namespace(self.docker(), &scene.namespace).await.is_empty() && left == 0
        })
        .await;
    }
}
