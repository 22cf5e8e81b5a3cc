//! Bots that somebody other than their code and their worker ends: they are started again.

use std::time::Duration;

use longshore_testing::events::Seen;
use longshore_testing::program::{PYTHON_BOT, PYTHON_TICKER};
use longshore_testing::scene::Scene;
use longshore_testing::second_engine::SecondEngine;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;
use tokio::process::Command;
use tokio::time::sleep;

/// A bot that obeys SIGTERM with exit code 0.
const GRACEFUL: &str = "import signal, sys, time
def main(id, config):
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    time.sleep(600)
";

/// A bot that asks for more memory until it has 100 MB.
const GROWING: &str = "import time
def main(id, config):
    held = []
    while True:
        time.sleep(0.2)
        if len(held) < 50: held.append(bytes([1]) * (2 << 20))
";

/// Runs `docker`, which must go well.
async fn docker(arguments: &[&str]) -> String {
    let output = Command::new("docker").args(arguments).output().await.unwrap();
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Kills every process of a container at once, as its host could.
async fn kill_all(container: &str) {
    let processes = docker(&["top", container, "-o", "pid"]).await;
    for pid in processes.lines().skip(1) {
        let pid = Pid::from_raw(pid.trim().parse().unwrap());
        // One of them may have ended with another.
        kill(pid, Signal::SIGKILL).ok();
    }
}

#[tokio::test]
async fn a_bot_whose_container_is_stopped_or_killed_is_started_again() {
    let scene = Scene::new().await;
    let worker = scene.worker().await;
    let bots = [
        ("stopped", PYTHON_TICKER),
        ("graceful", GRACEFUL),
        ("killed", PYTHON_TICKER),
        ("all-killed", PYTHON_TICKER),
    ];
    for (name, source) in bots {
        scene.start(&scene.job(name, &PYTHON_BOT, source).await).await;
    }
    let mut containers = Vec::new();
    for (name, _) in bots {
        scene.events.wait_state(&scene.id(name), "running").await;
        containers.push(scene.container_of(&scene.id(name)).await.id.unwrap());
    }
    docker(&["stop", &containers[0], &containers[1]]).await;
    docker(&["kill", &containers[2]]).await;
    kill_all(&containers[3]).await;
    for (name, _) in bots {
        let id = scene.id(name);
        let what = format!("{name} again");
        let runs_again = scene.events.wait_for(&what, |seen| {
            seen.data()["id"] == id.as_str()
                && seen.state() == Some("running")
                && seen.data()["attempt"] == 2
        });
        runs_again.await;
        assert!(scene.events.results_of(&id).is_empty(), "{name}");
        scene.stop(&json!({ "id": id })).await;
        scene.events.result_of(&id).await.expect("stopped");
    }
    scene.finish([worker]).await;
}

#[tokio::test]
async fn a_bot_that_is_killed_because_its_host_is_short_of_memory_is_started_again() {
    let scene = Scene::new().await;
    // Of its own, because a shared one has others' containers.
    let engine = SecondEngine::start().await;
    let host = engine.docker_host();
    let temp_dir = scene.folder().join("jobs");
    std::fs::create_dir_all(&temp_dir).unwrap();
    let temp_dir = temp_dir.to_str().unwrap();
    let worker = scene
        .worker_with(&[
            ("DOCKER_HOST", &host),
            ("TEMP_DIR", temp_dir),
            ("BOT_MEMORY_LIMIT_MB", "256"),
        ])
        .await;
    let id = scene.id("bot");
    scene.start(&scene.job("bot", &PYTHON_BOT, GROWING).await).await;
    scene.events.wait_state(&id, "running").await;
    // Until it is larger than its interpreter, and far from its end.
    sleep(Duration::from_secs(3)).await;
    engine.squeeze_memory();
    // It would have got its memory from its own limit.
    scene.events.wait_state(&id, "restarting").await.expect_message(&["ended from outside"]);
    engine.release_memory();
    let runs_again = |seen: &Seen| {
        seen.subject() == Some(&id)
            && seen.state() == Some("running")
            && seen.data()["attempt"] == 2
    };
    scene.events.wait_for("the bot again", runs_again).await;
    scene.stop(&json!({ "id": id })).await;
    scene.events.result_of(&id).await.expect("stopped");
    scene.finish([worker]).await;
}

#[tokio::test]
async fn a_bot_that_kills_itself_has_failed() {
    let scene = Scene::new().await;
    let worker = scene.worker().await;
    for signal in ["SIGKILL", "SIGTERM"] {
        let source = format!(
            "import os, signal, time
def main(id, config):
    os.kill(os.getpid(), signal.{signal})
    time.sleep(60)
"
        );
        let job = scene.job(&signal.to_lowercase(), &PYTHON_BOT, &source).await;
        scene.start(&job).await;
        let result = scene.events.result_of(&scene.id(&signal.to_lowercase())).await;
        assert_eq!(result.expect("failed")["attempt"], 1);
    }
    scene.finish([worker]).await;
}
