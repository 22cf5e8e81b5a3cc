//! Workers that share an engine.

use serde_json::json;

use super::runs_under;
use crate::robustness::{assert_counted, assert_one_result, counter, identity, nothing_is_left};
use longshore_testing::program::{PYTHON_BACKTEST, PYTHON_BOT};
use longshore_testing::scene::Scene;

const A: (&str, &str) = ("WORKER_NAME", "a");
const B: (&str, &str) = ("WORKER_NAME", "b");

#[tokio::test]
async fn a_killed_workers_runs_are_taken_up_by_its_neighbour_without_a_restart() {
    let scene = Scene::new().await;
    let mut a = scene.worker_with(&[A]).await;
    let (bot, backtest) = (scene.id("bot"), scene.id("backtest"));
    scene.start(&counter(&scene, "bot", &PYTHON_BOT, None).await).await;
    scene.start(&counter(&scene, "backtest", &PYTHON_BACKTEST, Some(6)).await).await;
    let ours = runs_under(&scene, &bot, "a").await;
    runs_under(&scene, &backtest, "a").await;
    let before = identity(&scene, &bot).await;
    let b = scene.worker_with(&[B]).await;

    a.kill();
    a.wait().await;
    assert_eq!(runs_under(&scene, &bot, "b").await, ours);
    let result = scene.events.result_of(&backtest).await;
    let lines = assert_counted(&scene.logs_of(&backtest).await);
    assert_eq!(result.expect("succeeded")["result"], json!({ "lines": lines }));
    assert_eq!(result.data()["attempt"], 1);
    assert_eq!(identity(&scene, &bot).await, before, "the bot was started again");

    // A stop finds its way to the new owner.
    scene.stop(&json!({ "id": bot })).await;
    scene.events.result_of(&bot).await.expect("stopped");
    assert_counted(&scene.logs_of(&bot).await);
    for (id, verdict) in [(&bot, "stopped"), (&backtest, "succeeded")] {
        assert_one_result(&scene, id, verdict);
    }
    nothing_is_left(scene, [b]).await;
}

#[tokio::test]
async fn a_drained_worker_hands_its_bots_over_to_its_neighbour() {
    let scene = Scene::new().await;
    let mut a = scene.worker_with(&[A]).await;
    let bot = scene.id("bot");
    scene.start(&counter(&scene, "bot", &PYTHON_BOT, None).await).await;
    let ours = runs_under(&scene, &bot, "a").await;
    let before = identity(&scene, &bot).await;
    let b = scene.worker_with(&[B]).await;
    a.stop().await;
    assert_eq!(runs_under(&scene, &bot, "b").await, ours);
    assert_eq!(identity(&scene, &bot).await, before, "the bot was started again");
    scene.stop(&json!({ "id": bot })).await;
    scene.events.result_of(&bot).await.expect("stopped");
    assert_counted(&scene.logs_of(&bot).await);
    nothing_is_left(scene, [b]).await;
}

#[tokio::test]
async fn a_worker_that_comes_back_has_its_own_bots_again_although_there_is_a_neighbour() {
    let scene = Scene::new().await;
    let mut a = scene.worker_with(&[A]).await;
    let bot = scene.id("bot");
    scene.start(&counter(&scene, "bot", &PYTHON_BOT, None).await).await;
    let ours = runs_under(&scene, &bot, "a").await;
    let b = scene.worker_with(&[B]).await;
    a.stop().await;
    let again = scene.worker_with(&[("WORKER_NAME", "a-again")]).await;
    assert_eq!(runs_under(&scene, &bot, "a-again").await, ours);
    scene.stop(&json!({ "id": bot })).await;
    scene.events.result_of(&bot).await.expect("stopped");
    assert_one_result(&scene, &bot, "stopped");
    nothing_is_left(scene, [again, b]).await;
}

/// The worker waits for its backtests to end. They can be stopped meanwhile, whoever gets the message.
#[tokio::test]
async fn a_backtest_is_stopped_while_its_worker_drains() {
    let scene = Scene::new().await;
    let mut draining = scene.worker_with(&[("DRAIN_GRACE_SECONDS", "600")]).await;
    let source = "import time\ndef main(id, config):\n    print('up', flush=True)\n    \
                  time.sleep(600)\n";
    for name in ["alone", "beside"] {
        scene.start(&scene.job(name, &PYTHON_BACKTEST, source).await).await;
    }
    for name in ["alone", "beside"] {
        scene.logged(&scene.id(name), "up").await;
    }
    draining.terminate();
    scene.stop(&json!({ "id": scene.id("alone") })).await;
    scene.events.result_of(&scene.id("alone")).await.expect("stopped");
    // Most stops reach this one, which sends them on.
    let other = scene.worker_with(&[("MAX_TERMINATING", "0")]).await;
    for _ in 0..3 {
        scene.stop(&json!({ "id": scene.id("beside") })).await;
    }
    scene.events.result_of(&scene.id("beside")).await.expect("stopped");
    assert!(draining.wait().await.success());
    scene.finish([other]).await;
}
