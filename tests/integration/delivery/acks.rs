//! When a start is acknowledged: once the journal has its run, and also where that run goes on already.

use lapin::BasicProperties;
use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;
use serde_json::json;

use crate::robustness::{assert_one_result, through_proxy, until};
use longshore_testing::program::{PYTHON_BACKTEST, PYTHON_BOT, PYTHON_TICKER};
use longshore_testing::scene::Scene;
use longshore_testing::worker::Worker;

/// What a worker logs when it does not follow a start because that very run goes on.
const DROPPED: &str = "dropped a repeated delivery of an active run";

/// Checks that no start is with a worker whose connection has been cut: what had not been acknowledged is
/// back in its queue as soon as that has no consumer.
async fn no_start_comes_back(scene: &Scene) {
    for kind in ["terminating", "long-running"] {
        let queue = format!("{}.start.{kind}", scene.namespace);
        let mut waiting = 0;
        until(&format!("{queue} has no consumer"), async || {
            let passive = QueueDeclareOptions { passive: true, ..Default::default() };
            let name = queue.as_str().into();
            let found = scene.channel().queue_declare(name, passive, FieldTable::default()).await;
            let found = found.unwrap();
            waiting = found.message_count();
            found.consumer_count() == 0
        })
        .await;
        assert_eq!(waiting, 0, "{queue}: a start whose run goes on had not been acknowledged");
    }
}

#[tokio::test]
async fn a_start_is_acknowledged_when_its_run_is_claimed_and_not_when_it_ends() {
    let scene = Scene::new().await;
    let (proxy, url) = through_proxy().await;
    let worker = scene.worker_with(&[("AMQP_URL", &url)]).await;
    let jobs = [("backtest", PYTHON_BACKTEST), ("bot", PYTHON_BOT)];
    for (name, program) in &jobs {
        scene.start(&scene.job(name, program, PYTHON_TICKER).await).await;
    }
    for (name, _) in &jobs {
        scene.logged(&scene.id(name), "tick 3").await;
    }
    proxy.cut();
    no_start_comes_back(&scene).await;
    proxy.restore();
    for (name, _) in &jobs {
        let id = scene.id(name);
        assert_eq!(scene.events.results_of(&id).len(), 0, "{id} has ended");
        scene.stop(&json!({ "id": id })).await;
        scene.events.result_of(&id).await.expect("stopped");
        assert_one_result(&scene, &id, "stopped");
    }
    scene.finish([worker]).await;
}

/// Starts a bot, and says so once more under the same message id when it runs: whichever worker gets
/// that drops it.
async fn a_repeat_is_dropped(scene: Scene, workers: Vec<Worker>) {
    let message = scene.job("bot", &PYTHON_BOT, PYTHON_TICKER).await;
    let id = scene.id("bot");
    let properties = || BasicProperties::default().with_message_id("the-active-message".into());
    scene.start_with(&message, properties()).await;
    let running = scene.events.wait_state(&id, "running").await;
    scene.start_with(&message, properties()).await;
    until("the repeat is dropped", async || {
        workers.iter().any(|worker| worker.log().contains(DROPPED))
    })
    .await;
    let container = scene.container_of(&id).await;
    assert_eq!(container.id.as_deref(), running.data()["container_id"].as_str());
    scene.stop(&json!({ "id": id })).await;
    scene.events.result_of(&id).await.expect("stopped");
    assert_one_result(&scene, &id, "stopped");
    let of_other_runs: Vec<_> = scene
        .events
        .all()
        .into_iter()
        .filter(|seen| seen.data()["run_id"] != running.data()["run_id"])
        .collect();
    assert!(of_other_runs.is_empty(), "the repeat is told as a run: {of_other_runs:#?}");
    let states = scene.events.states_of(&id);
    assert_eq!(states.iter().filter(|state| *state == "running").count(), 1, "{states:?}");
    assert!(!states.contains(&"duplicate".to_owned()), "{states:?}");
    // What had not been acknowledged is back in its queue when the workers have ended, and found there.
    scene.finish(workers).await;
}

#[tokio::test]
async fn the_same_message_while_its_run_is_active_is_dropped_and_acknowledged() {
    let scene = Scene::new().await;
    let worker = scene.worker().await;
    a_repeat_is_dropped(scene, vec![worker]).await;
}

#[tokio::test]
async fn the_same_message_at_another_worker_while_its_run_is_active_is_dropped_and_acknowledged() {
    let scene = Scene::new().await;
    // Who runs the bot takes no other one.
    let full = [("MAX_LONG_RUNNING", "1")];
    let workers = vec![scene.worker_with(&full).await, scene.worker_with(&full).await];
    a_repeat_is_dropped(scene, workers).await;
}
