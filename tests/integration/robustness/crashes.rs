//! Faults of a bot's own: it crashes, and runs again as its message asks, or it is not well.

use serde_json::{Value, json};

use super::retries::attempts;
use super::{assert_one_result, nothing_is_left, says};
use longshore_testing::engine;
use longshore_testing::program::{PYTHON_BOT, PYTHON_TICKER};
use longshore_testing::scene::Scene;

/// A Python bot that fails once it is told to.
const CRASHES: &str = r#"
import os, sys, time
def main(id, config):
    print("up", flush=True)
    while not os.path.exists("/tmp/crash"):
        time.sleep(0.1)
    sys.exit(3)
"#;

/// A start message of a bot that crashes, and is run again after a pause.
async fn crashing(scene: &Scene, backoff_seconds: u32) -> Value {
    let mut message = scene.job("bot", &PYTHON_BOT, CRASHES).await;
    message["restart"] =
        json!({ "when": "on_failure", "max_restarts": 2, "backoff_seconds": backoff_seconds });
    message
}

/// Runs a command in the container of a job.
async fn inside(scene: &Scene, id: &str, command: &[&str]) {
    let container = scene.container_of(id).await.id.unwrap();
    engine::exec(&scene.docker, &container, command).await;
}

#[tokio::test]
async fn a_bot_that_crashes_is_run_again_until_it_is_stopped() {
    let scene = Scene::new().await;
    let worker = scene.worker().await;
    let id = scene.id("bot");
    scene.start(&crashing(&scene, 1).await).await;
    for (attempt, pause) in [(1, "runs again in 1 s"), (2, "runs again in 2 s")] {
        scene.events.wait_for_nth("running", attempt, says(&id, "running")).await;
        inside(&scene, &id, &["touch", "/tmp/crash"]).await;
        let restarting = scene.events.wait_for_nth("restarting", attempt, says(&id, "restarting"));
        restarting.await.expect_message(&["exit code 3", pause]);
    }
    scene.events.wait_for_nth("running", 3, says(&id, "running")).await;
    assert_eq!(scene.events.results_of(&id).len(), 0, "a bot that is run again has no result yet");
    scene.stop(&json!({ "id": id, "reason": "seen enough" })).await;
    let result = scene.events.result_of(&id).await;
    assert_eq!(result.expect("stopped")["attempt"], 3);
    result.expect_message(&["seen enough"]);
    let all = scene.events.all();
    assert_eq!(attempts(&all, &id, "accepted"), [1], "{all:#?}");
    assert_eq!(attempts(&all, &id, "preparing"), [1, 2, 3], "{all:#?}");
    assert_eq!(attempts(&all, &id, "running"), [1, 2, 3], "{all:#?}");
    assert_eq!(attempts(&all, &id, "restarting"), [1, 2], "{all:#?}");
    assert_one_result(&scene, &id, "stopped");
    nothing_is_left(scene, [worker]).await;
}

#[tokio::test]
async fn a_bot_that_is_stopped_before_it_runs_again_ends_once_as_stopped() {
    let scene = Scene::new().await;
    let worker = scene.worker().await;
    let id = scene.id("bot");
    // Longer than any test waits.
    scene.start(&crashing(&scene, 300).await).await;
    scene.events.wait_state(&id, "running").await;
    inside(&scene, &id, &["touch", "/tmp/crash"]).await;
    scene.events.wait_state(&id, "restarting").await;
    assert_eq!(scene.containers().await, [""; 0], "the crashed container");
    scene.stop(&json!({ "id": id, "reason": "seen enough" })).await;
    let result = scene.events.result_of(&id).await;
    assert_eq!(result.expect("stopped")["attempt"], 1);
    result.expect_message(&["seen enough", "exit code 3"]);
    let states = scene.events.states_of(&id);
    assert_eq!(states, ["accepted", "preparing", "running", "restarting", "finished"]);
    assert_one_result(&scene, &id, "stopped");
    nothing_is_left(scene, [worker]).await;
}

#[tokio::test]
async fn a_bot_that_fails_its_health_check_is_unhealthy_until_it_passes_again() {
    let scene = Scene::new().await;
    let worker = scene.worker_with(&[("HEALTH_CHECK_MIN_INTERVAL_SECONDS", "1")]).await;
    let id = scene.id("bot");
    let mut message = scene.job("bot", &PYTHON_BOT, PYTHON_TICKER).await;
    message["health_check"] = json!({
        "command": ["test", "!", "-e", "/tmp/sick"],
        "interval_seconds": 1,
        "timeout_seconds": 60,
        "retries": 1,
    });
    scene.start(&message).await;
    let running = scene.events.wait_state(&id, "running").await;
    inside(&scene, &id, &["touch", "/tmp/sick"]).await;
    let unhealthy = scene.events.wait_state(&id, "unhealthy").await;
    assert_eq!(unhealthy.data()["container_id"], running.data()["container_id"]);
    inside(&scene, &id, &["rm", "/tmp/sick"]).await;
    let well = scene.events.wait_for_nth("running", 2, says(&id, "running")).await;
    assert_eq!(well.data()["container_id"], running.data()["container_id"]);
    assert_eq!(well.data()["attempt"], 1);
    scene.logged(&id, "up").await;
    scene.stop(&json!({ "id": id })).await;
    scene.events.result_of(&id).await.expect("stopped");
    let states = scene.events.states_of(&id);
    let expected =
        ["accepted", "preparing", "running", "unhealthy", "running", "stopping", "finished"];
    assert_eq!(states, expected);
    nothing_is_left(scene, [worker]).await;
}
