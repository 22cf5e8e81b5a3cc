//! Workers that end, by their own will or not, and those that come after them.

use std::os::unix::process::ExitStatusExt as _;

use bollard::query_parameters::RemoveContainerOptionsBuilder;
use serde_json::json;

use super::{
    QUICK, assert_counted, assert_one_result, counter, identity, nothing_is_left, until,
    until_ended,
};
use longshore_testing::engine;
use longshore_testing::program::{PYTHON_BACKTEST, PYTHON_BOT};
use longshore_testing::scene::Scene;

#[tokio::test]
async fn sigterm_lets_a_backtest_end_within_the_grace_and_takes_nothing_new() {
    let scene = Scene::new().await;
    let mut worker = scene.worker().await;
    let message = counter(&scene, "ends", &PYTHON_BACKTEST, Some(4)).await;
    let id = scene.id("ends");
    scene.start(&message).await;
    scene.events.wait_state(&id, "running").await;
    worker.terminate();
    until("the worker drains", async || worker.log().contains("drain")).await;
    let late = scene.job("late", &PYTHON_BACKTEST, QUICK).await;
    scene.start(&late).await;
    assert_eq!(worker.wait().await.code(), Some(0));

    let result = scene.events.result_of(&id).await;
    let lines = assert_counted(&scene.logs_of(&id).await);
    assert_eq!(result.expect("succeeded")["result"], json!({ "lines": lines }));
    assert_one_result(&scene, &id, "succeeded");
    assert_eq!(scene.events.states_of(&scene.id("late")), [""; 0], "it was taken while draining");
    let next = scene.worker().await;
    scene.events.result_of(&scene.id("late")).await.expect("succeeded");
    nothing_is_left(scene, [next]).await;
}

#[tokio::test]
async fn a_bot_runs_on_while_its_worker_is_restarted_and_loses_no_line() {
    let scene = Scene::new().await;
    let mut worker = scene.worker().await;
    let message = counter(&scene, "bot", &PYTHON_BOT, None).await;
    let id = scene.id("bot");
    scene.start(&message).await;
    scene.logged(&id, "line 30").await;
    let before = identity(&scene, &id).await;
    for _ in 0..2 {
        worker.terminate();
        assert_eq!(worker.wait().await.code(), Some(0));
        assert!(engine::is_running(&scene.docker, &before.0).await);
        // Lines that nobody reads for now.
        let stored = assert_counted(&scene.logs_of(&id).await);
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        worker = scene.worker().await;
        scene.logged(&id, &format!("line {}", stored + 100)).await;
        assert_eq!(identity(&scene, &id).await, before, "the bot was started again");
    }
    assert_eq!(scene.events.results_of(&id).len(), 0);
    scene.stop(&json!({ "id": id })).await;
    scene.events.result_of(&id).await.expect("stopped");
    assert_counted(&scene.logs_of(&id).await);
    assert_one_result(&scene, &id, "stopped");
    nothing_is_left(scene, [worker]).await;
}

#[tokio::test]
async fn under_stricter_settings_what_runs_runs_on_and_is_refused_when_it_would_start_again() {
    let scene = Scene::new().await;
    let mut worker = scene.worker().await;
    let mut message = counter(&scene, "bot", &PYTHON_BOT, None).await;
    message["limits"] = json!({ "memory_mb": 200 });
    let id = scene.id("bot");
    scene.start(&message).await;
    scene.logged(&id, "line 10").await;
    let before = identity(&scene, &id).await;
    worker.terminate();
    assert_eq!(worker.wait().await.code(), Some(0));

    let stricter = [("BOT_MEMORY_LIMIT_MB", "100")];
    let mut worker = scene.worker_with(&stricter).await;
    let stored = assert_counted(&scene.logs_of(&id).await);
    scene.logged(&id, &format!("line {}", stored + 50)).await;
    assert_eq!(identity(&scene, &id).await, before, "the bot was started again");
    worker.terminate();
    assert_eq!(worker.wait().await.code(), Some(0));

    let by_force = RemoveContainerOptionsBuilder::default().force(true).build();
    scene.docker.remove_container(&before.0, Some(by_force)).await.unwrap();
    let worker = scene.worker_with(&stricter).await;
    let result = scene.events.result_of(&id).await;
    result.expect("rejected");
    result.expect_message(&["settings of now", "limits.memory_mb", "200", "100"]);
    assert_one_result(&scene, &id, "rejected");
    scene.dead_letters(1).await;
    nothing_is_left(scene, [worker]).await;
}

#[tokio::test]
async fn a_second_sigterm_ends_the_worker_at_once_and_its_runs_go_on() {
    let scene = Scene::new().await;
    let mut worker = scene.worker_with(&[("DRAIN_GRACE_SECONDS", "50")]).await;
    let backtest = counter(&scene, "backtest", &PYTHON_BACKTEST, None).await;
    let bot = counter(&scene, "bot", &PYTHON_BOT, None).await;
    let ids = [scene.id("backtest"), scene.id("bot")];
    scene.start(&backtest).await;
    scene.start(&bot).await;
    for id in &ids {
        scene.logged(id, "line 10").await;
    }
    let before = [identity(&scene, &ids[0]).await, identity(&scene, &ids[1]).await];
    worker.terminate();
    until("the worker drains", async || worker.log().contains("drain")).await;
    // One that comes in the first moment is the same wish.
    until("the worker leaves", async || {
        worker.terminate();
        worker.has_ended()
    })
    .await;
    // As shells have it for SIGTERM.
    assert_eq!(worker.wait().await.code(), Some(143));
    for (container, _) in &before {
        assert!(engine::is_running(&scene.docker, container).await);
    }
    let next = scene.worker().await;
    for (id, before) in ids.iter().zip(before) {
        assert_eq!(identity(&scene, id).await, before, "{id} was started again");
        scene.stop(&json!({ "id": id })).await;
        scene.events.result_of(id).await.expect("stopped");
        assert_counted(&scene.logs_of(id).await);
        assert_one_result(&scene, id, "stopped");
    }
    nothing_is_left(scene, [next]).await;
}

#[tokio::test]
async fn a_backtest_longer_than_the_grace_is_adopted_by_the_next_worker() {
    let scene = Scene::new().await;
    let mut worker = scene.worker_with(&[("DRAIN_GRACE_SECONDS", "1")]).await;
    let adopted = counter(&scene, "adopted", &PYTHON_BACKTEST, Some(15)).await;
    // This one ends while there is no worker.
    let alone = counter(&scene, "alone", &PYTHON_BACKTEST, Some(6)).await;
    let ids = [scene.id("adopted"), scene.id("alone")];
    scene.start(&adopted).await;
    scene.start(&alone).await;
    for id in &ids {
        scene.logged(id, "line 5").await;
    }
    let containers = [identity(&scene, &ids[0]).await.0, identity(&scene, &ids[1]).await.0];
    worker.terminate();
    assert_eq!(worker.wait().await.code(), Some(0));
    until_ended(&scene, &ids[1]).await;
    assert_eq!(scene.events.all_results().len(), 0);
    let next = scene.worker().await;
    for (id, container) in ids.iter().zip(containers) {
        let result = scene.events.result_of(id).await;
        let lines = assert_counted(&scene.logs_of(id).await);
        let data = result.expect("succeeded");
        assert_eq!(data["result"], json!({ "lines": lines }));
        assert_eq!((&data["container_id"], &data["attempt"]), (&json!(container), &json!(1)));
        assert_one_result(&scene, id, "succeeded");
    }
    nothing_is_left(scene, [next]).await;
}

#[tokio::test]
async fn what_a_killed_worker_ran_is_adopted_and_gives_one_result_each() {
    let scene = Scene::new().await;
    let mut worker = scene.worker().await;
    let bot = counter(&scene, "bot", &PYTHON_BOT, None).await;
    let adopted = counter(&scene, "adopted", &PYTHON_BACKTEST, Some(12)).await;
    let alone = counter(&scene, "alone", &PYTHON_BACKTEST, Some(3)).await;
    let ids = [scene.id("bot"), scene.id("adopted"), scene.id("alone")];
    for message in [&bot, &adopted, &alone] {
        scene.start(message).await;
    }
    for id in &ids {
        scene.logged(id, "line 2").await;
    }
    let before = identity(&scene, &ids[0]).await;
    worker.kill();
    assert_eq!(worker.wait().await.signal(), Some(9));
    until_ended(&scene, &ids[2]).await;
    let next = scene.worker().await;
    for id in &ids[1..] {
        let result = scene.events.result_of(id).await;
        let lines = assert_counted(&scene.logs_of(id).await);
        let data = result.expect("succeeded");
        assert_eq!((&data["result"], &data["attempt"]), (&json!({ "lines": lines }), &json!(1)));
        assert_one_result(&scene, id, "succeeded");
    }
    assert_eq!(identity(&scene, &ids[0]).await, before, "the bot was started again");
    assert_eq!(scene.events.results_of(&ids[0]).len(), 0);
    scene.stop(&json!({ "id": ids[0] })).await;
    scene.events.result_of(&ids[0]).await.expect("stopped");
    assert_counted(&scene.logs_of(&ids[0]).await);
    assert_one_result(&scene, &ids[0], "stopped");
    nothing_is_left(scene, [next]).await;
}
