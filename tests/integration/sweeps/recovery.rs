//! A sweep goes on where it was, whoever goes on with it, and a stop keeps what is done.

use std::time::Duration;

use longshore_testing::events::{PATIENCE, Seen};
use longshore_testing::program::NODE_BACKTEST;
use longshore_testing::scene::Scene;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::{chunked, each_once, message, message_of, table};

/// Each config takes a while.
const SLOW: &str =
    "import time\ndef main(id, config):\n    time.sleep(config['seconds'])\n    return config";

/// A sweep that takes about so many seconds.
async fn slow(scene: &Scene, name: &str, count: u64, seconds: f64) -> Value {
    let n: Vec<_> = (0..count).collect();
    let sweep = json!({"grid": {"n": n}, "parallel": 4});
    message(scene, name, SLOW, json!({"seconds": seconds}), sweep).await
}

/// The same in Node.js, with an isolate for each config.
async fn slow_in_node(scene: &Scene, name: &str, count: u64, seconds: f64) -> Value {
    let source = "exports.main = async (id, config) => {\n  \
        await new Promise((r) => setTimeout(r, config.seconds * 1000));\n  return config;\n}";
    let n: Vec<_> = (0..count).collect();
    let sweep = json!({"grid": {"n": n}, "parallel": 2});
    message_of(scene, &NODE_BACKTEST, name, source, json!({"seconds": seconds}), sweep).await
}

/// Waits until the store has rows of a sweep.
async fn has_rows(scene: &Scene, id: &str) -> usize {
    let begun = Instant::now();
    loop {
        let count = chunked(scene, id).await.len();
        if count > 0 {
            return count;
        }
        assert!(begun.elapsed() < PATIENCE, "no rows of {id} are stored");
        sleep(Duration::from_millis(100)).await;
    }
}

fn attempts(result: &Seen) -> u64 {
    result.data()["attempt"].as_u64().unwrap()
}

#[tokio::test]
async fn after_a_worker_is_killed_the_next_one_finishes_with_each_config_once() {
    let scene = Scene::new().await;
    let message = slow(&scene, "killed", 120, 0.3).await;
    finishes_after_a_kill(scene, message).await;
}

#[tokio::test]
async fn after_a_worker_is_killed_the_next_one_finishes_a_sweep_of_nodejs() {
    let scene = Scene::new().await;
    let message = slow_in_node(&scene, "killed", 60, 0.3).await;
    finishes_after_a_kill(scene, message).await;
}

async fn finishes_after_a_kill(scene: Scene, message: Value) {
    let first = scene.worker().await;
    let id = scene.id("killed");
    scene.start(&message).await;
    has_rows(&scene, &id).await;
    first.kill();
    let second = scene.worker().await;
    let result = scene.events.result_of(&id).await;
    let data = result.expect("succeeded");
    assert_eq!(attempts(&result), 1, "its container goes on");
    let count = message["sweep"]["grid"]["n"].as_array().unwrap().len() as u64;
    each_once(&scene, &id, data, count).await;
    drop(first);
    scene.finish([second]).await;
}

#[tokio::test]
async fn the_next_attempt_runs_only_what_no_chunk_has() {
    let scene = Scene::new().await;
    let message = slow(&scene, "again", 120, 0.3).await;
    goes_on_in_a_second_attempt(scene, message, 120).await;
}

#[tokio::test]
async fn the_next_attempt_runs_only_what_no_chunk_of_nodejs_has() {
    let scene = Scene::new().await;
    let message = slow_in_node(&scene, "again", 60, 0.3).await;
    goes_on_in_a_second_attempt(scene, message, 60).await;
}

async fn goes_on_in_a_second_attempt(scene: Scene, message: Value, count: usize) {
    let worker = scene.worker().await;
    let id = scene.id("again");
    scene.start(&message).await;
    has_rows(&scene, &id).await;
    let container = scene.container_of(&id).await.id.unwrap();
    // From outside, as by an operator: the attempt is lost, and the next one follows.
    scene
        .docker
        .stop_container(&container, None::<bollard::query_parameters::StopContainerOptions>)
        .await
        .unwrap();
    let result = scene.events.result_of(&id).await;
    let data = result.expect("succeeded");
    assert_eq!(attempts(&result), 2);
    let rows = each_once(&scene, &id, data, count as u64).await;
    let of = |attempt| rows.iter().filter(|row| row.attempt == attempt).count();
    assert!(of(1) > 0 && of(2) > 0, "{} and {}", of(1), of(2));
    assert_eq!(of(1) + of(2), count);
    scene.finish([worker]).await;
}

#[tokio::test]
async fn a_stop_keeps_what_is_done() {
    let scene = Scene::new().await;
    let message = slow(&scene, "stopped", 4000, 0.3).await;
    keeps_what_is_done(scene, message).await;
}

#[tokio::test]
async fn a_stop_keeps_what_nodejs_has_done() {
    let scene = Scene::new().await;
    let message = slow_in_node(&scene, "stopped", 4000, 0.3).await;
    keeps_what_is_done(scene, message).await;
}

async fn keeps_what_is_done(scene: Scene, message: Value) {
    let worker = scene.worker().await;
    let id = scene.id("stopped");
    scene.start(&message).await;
    has_rows(&scene, &id).await;
    scene.stop(&json!({"id": id, "reason": "seen enough"})).await;
    let result = scene.events.result_of(&id).await;
    let data = result.expect("stopped");
    result.expect_message(&["seen enough", "of 4000 configs are done"]);
    let rows = table(&scene, data).await;
    assert!(!rows.is_empty() && rows.len() < 4000);
    assert_eq!(data["sweep"]["done"], rows.len());
    assert!(rows.iter().all(|row| row.verdict == longshore::job::Verdict::Succeeded));
    let mut indices: Vec<_> = rows.iter().map(|row| row.index).collect();
    indices.dedup();
    assert_eq!(indices.len(), rows.len());
    scene.finish([worker]).await;
}

#[tokio::test]
async fn a_time_out_of_the_whole_sweep_keeps_what_is_done() {
    let scene = Scene::new().await;
    let worker = scene.worker().await;
    let mut message = slow(&scene, "late", 4000, 0.3).await;
    message["timeout_seconds"] = json!(4);
    let result = scene.run(&message).await;
    let data = result.expect("timed_out");
    let rows = table(&scene, data).await;
    assert!(!rows.is_empty() && rows.len() < 4000, "{}", rows.len());
    scene.finish([worker]).await;
}
