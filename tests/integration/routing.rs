//! Start messages that come by the queue of the other kind: `is_long_running` decides.

use lapin::BasicProperties;
use serde_json::{Value, json};

use crate::robustness::until;
use longshore_testing::engine;
use longshore_testing::program::{PYTHON_BACKTEST, PYTHON_BOT, PYTHON_TICKER};
use longshore_testing::scene::Scene;

/// Publishes a start message as if it were of the other kind.
async fn start_as_the_other_kind(scene: &Scene, message: &Value) {
    let is_long_running = message["is_long_running"] == true;
    let key = if is_long_running { "start.terminating" } else { "start.long-running" };
    let message_id = uuid::Uuid::new_v4().to_string();
    let properties = BasicProperties::default().with_message_id(message_id.into());
    scene.publish(key, message.to_string().as_bytes(), properties).await;
}

#[tokio::test]
async fn a_routing_key_that_disagrees_is_logged_and_takes_no_slot_of_its_kind() {
    let scene = Scene::new().await;
    let worker = scene.worker_with(&[("MAX_TERMINATING", "1"), ("MAX_LONG_RUNNING", "1")]).await;
    let bot = scene.job("bot", &PYTHON_BOT, PYTHON_TICKER).await;
    let id = scene.id("bot");
    start_as_the_other_kind(&scene, &bot).await;
    scene.events.wait_state(&id, "running").await;
    let log = worker.log();
    let is_warning = |line: &&str| line.contains("routing key disagrees") && line.contains(&id);
    assert_eq!(log.lines().filter(is_warning).count(), 1, "{log}");

    // The only slot for terminating runs is free.
    let source = "def main(id, config): return {'id': id}";
    let backtest = scene.job("backtest", &PYTHON_BACKTEST, source).await;
    scene.run(&backtest).await.expect("succeeded");
    assert_eq!(scene.events.results_of(&id).len(), 0, "the bot was to run on");
    scene.logged(&id, "up").await;
    scene.stop(&json!({ "id": id })).await;
    scene.events.result_of(&id).await.expect("stopped");
    scene.finish([worker]).await;
}

/// Longer than a worker may take to end in a test.
const LONG_GRACE: (&str, &str) = ("DRAIN_GRACE_SECONDS", "300");

#[tokio::test]
async fn a_drain_waits_only_for_terminating_runs_from_whichever_queue() {
    let scene = Scene::new().await;
    let mut worker = scene.worker_with(&[LONG_GRACE]).await;
    let source = "import os, time\ndef main(id, config):\n    \
                  while not os.path.exists('/tmp/end'): time.sleep(0.1)\n";
    let backtest = scene.job("backtest", &PYTHON_BACKTEST, source).await;
    let bot = scene.job("bot", &PYTHON_BOT, PYTHON_TICKER).await;
    let (backtest_id, bot_id) = (scene.id("backtest"), scene.id("bot"));
    for (message, id) in [(&backtest, &backtest_id), (&bot, &bot_id)] {
        start_as_the_other_kind(&scene, message).await;
        scene.events.wait_state(id, "running").await;
    }
    let waited_for = scene.container_of(&backtest_id).await.id.unwrap();
    let left = scene.container_of(&bot_id).await.id.unwrap();

    worker.terminate();
    until("the worker drains", async || worker.log().contains("draining")).await;
    engine::exec(&scene.docker, &waited_for, &["touch", "/tmp/end"]).await;
    assert!(worker.wait().await.success());
    scene.events.result_of(&backtest_id).await.expect("succeeded");
    assert!(engine::is_running(&scene.docker, &left).await, "a drain leaves bots running");

    let next = scene.worker().await;
    scene.logged(&bot_id, "up").await;
    scene.stop(&json!({ "id": bot_id })).await;
    scene.events.result_of(&bot_id).await.expect("stopped");
    scene.finish([next]).await;
}

#[tokio::test]
async fn a_worker_without_a_slot_of_the_right_kind_leaves_a_start_to_another() {
    let scene = Scene::new().await;
    let full = scene.worker_with(&[("MAX_LONG_RUNNING", "0")]).await;
    let bot = scene.job("bot", &PYTHON_BOT, PYTHON_TICKER).await;
    let id = scene.id("bot");
    start_as_the_other_kind(&scene, &bot).await;
    until("the worker has the message", async || full.log().contains("routing key disagrees"))
        .await;
    let free = scene.worker_with(&[("MAX_TERMINATING", "0")]).await;
    scene.events.wait_state(&id, "running").await;
    scene.logged(&id, "up").await;
    scene.stop(&json!({ "id": id })).await;
    scene.events.result_of(&id).await.expect("stopped");
    scene.finish([full, free]).await;
}
