//! Engines that are restarted or killed under a worker: what they ended runs again.

use serde_json::json;

use crate::robustness::{assert_one_result, counter, nothing_is_left, until};
use longshore_testing::engine;
use longshore_testing::program::{PYTHON_BACKTEST, PYTHON_BOT};
use longshore_testing::scene::Scene;
use longshore_testing::second_engine::SecondEngine;

/// Lets `happen` happen to an engine with a bot and a backtest on it, and checks that both run
/// again.
async fn both_run_again_after(happen: impl AsyncFnOnce(&SecondEngine)) {
    let scene = Scene::new().await;
    let other = SecondEngine::start().await;
    let host = other.docker_host();
    let worker = scene.worker_with(&[("DOCKER_HOST", host.as_str())]).await;
    let (bot, backtest) = (scene.id("bot"), scene.id("backtest"));
    scene.start(&counter(&scene, "bot", &PYTHON_BOT, None).await).await;
    scene.start(&counter(&scene, "backtest", &PYTHON_BACKTEST, Some(5)).await).await;
    for id in [&bot, &backtest] {
        scene.events.wait_state(id, "running").await;
    }
    happen(&other).await;
    let runs_again = |id: &str| {
        let is_second = |seen: &&longshore_testing::events::Seen| {
            seen.subject() == Some(id)
                && seen.state() == Some("running")
                && seen.data()["attempt"] == 2
        };
        scene.events.all().iter().filter(is_second).count() == 1
    };
    for id in [&bot, &backtest] {
        until(&format!("{id} runs again"), async || runs_again(id)).await;
    }
    let result = scene.events.result_of(&backtest).await;
    assert_eq!(result.expect("succeeded")["attempt"], 2);
    scene.stop(&json!({ "id": bot })).await;
    scene.events.result_of(&bot).await.expect("stopped");
    for (id, verdict) in [(&bot, "stopped"), (&backtest, "succeeded")] {
        assert_one_result(&scene, id, verdict);
    }
    until("nothing is left on the engine", async || {
        engine::of_namespace(other.docker(), &scene.namespace).await.is_empty()
    })
    .await;
    nothing_is_left(scene, [worker]).await;
}

#[tokio::test]
async fn what_ran_on_an_engine_that_is_restarted_runs_again() {
    both_run_again_after(async |engine| {
        engine.stop().await;
        engine.boot().await;
    })
    .await;
}

#[tokio::test]
async fn what_ran_on_an_engine_that_is_killed_runs_again() {
    both_run_again_after(async |engine| {
        engine.kill().await;
        engine.boot().await;
    })
    .await;
}
