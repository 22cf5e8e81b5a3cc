//! Two engines on one machine, of which one may be stopped, killed and lost.

use std::path::{Path, PathBuf};

use bollard::Docker;

use longshore_testing::engine;
use longshore_testing::scene::Scene;
use longshore_testing::second_engine::SecondEngine;

/// Starts a container that takes SIGTERM for what it is, and gives its id.
async fn container_on(engine: &SecondEngine, scene: &Scene) -> String {
    engine::start_foreign(engine.docker(), &scene.namespace, &[]).await
}

async fn id_of(docker: &Docker) -> String {
    docker.info().await.unwrap().id.unwrap()
}

/// Whether the bridge of the machine's own engine is there.
fn has_bridge() -> bool {
    Path::new("/sys/class/net/docker0").exists()
}

/// What is mounted in a folder.
fn mounts_in(folder: &Path) -> Vec<String> {
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
    let folder = folder.to_string_lossy().into_owned();
    mounts.lines().filter(|line| line.contains(&folder)).map(str::to_owned).collect()
}

#[tokio::test]
async fn a_second_engine_ends_with_its_containers_and_leaves_nothing() {
    let scene = Scene::new().await;
    let had_bridge = has_bridge();
    let engine = SecondEngine::start().await;
    assert_eq!(has_bridge(), had_bridge, "a second engine took the first one's bridge");
    assert_ne!(id_of(engine.docker()).await, id_of(&scene.docker).await);

    let container = container_on(&engine, &scene).await;
    assert!(engine::is_running(engine.docker(), &container).await);
    assert!(!engine::is_running(&scene.docker, &container).await, "it is on the first engine");
    engine.kill().await;
    engine.boot().await;
    assert!(!engine::is_running(engine.docker(), &container).await, "it outlived a restart");

    container_on(&engine, &scene).await;
    engine.lose().await;
    engine.boot().await;
    container_on(&engine, &scene).await;
    let socket = PathBuf::from(engine.docker_host().trim_start_matches("unix://"));
    let folder = socket.parent().unwrap();
    drop(engine);
    assert!(!folder.exists());
    assert_eq!(mounts_in(folder), [""; 0]);
    scene.finish([]).await;
}

#[tokio::test]
async fn containers_of_an_engine_with_live_restore_run_on_while_it_is_restarted() {
    let scene = Scene::new().await;
    let engine = SecondEngine::start_with(true).await;
    let container = container_on(&engine, &scene).await;
    engine.stop().await;
    engine.boot().await;
    assert!(engine::is_running(engine.docker(), &container).await, "it ended with the daemon");
    engine.kill().await;
    engine.boot().await;
    assert!(engine::is_running(engine.docker(), &container).await, "it ended with the daemon");
    drop(engine);
    scene.finish([]).await;
}

#[tokio::test]
async fn tests_of_a_time_share_an_engine_and_the_last_of_them_ends_it() {
    let (one, other) = tokio::join!(SecondEngine::shared(), SecondEngine::shared());
    assert_eq!(one.docker_host(), other.docker_host());
    let host = one.docker_host();
    drop(one);
    other.docker().ping().await.unwrap();
    drop(other);
    let next = SecondEngine::shared().await;
    assert_ne!(next.docker_host(), host);
}
