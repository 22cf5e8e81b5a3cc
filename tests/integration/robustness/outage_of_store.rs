//! An object store that cannot be reached for a while, with jobs running.

use serde_json::json;
use tokio::time::sleep;

use super::{
    QUICK, assert_counted, assert_one_result, counter, identity, nothing_is_left, readiness, until,
    until_ended, until_missing,
};
use longshore_testing::engine;
use longshore_testing::events::Seen;
use longshore_testing::program::{PYTHON_BACKTEST, PYTHON_BOT};
use longshore_testing::proxy::Proxy;
use longshore_testing::s3;
use longshore_testing::scene::Scene;

/// How much of an outage the bot runs through after everything else has been looked at.
const REST_OF_OUTAGE: std::time::Duration = std::time::Duration::from_secs(4);

/// How the store goes away.
#[derive(Clone, Copy)]
enum Outage {
    /// Connections are refused or broken.
    Cut,
    /// Nothing answers.
    Stalled,
}

#[tokio::test]
async fn jobs_run_on_and_no_line_is_lost_while_connections_to_the_store_break() {
    Box::pin(jobs_survive(Outage::Cut)).await;
}

#[tokio::test]
async fn jobs_run_on_and_no_line_is_lost_while_the_store_does_not_answer() {
    Box::pin(jobs_survive(Outage::Stalled)).await;
}

async fn jobs_survive(outage: Outage) {
    let scene = Scene::new().await;
    let store = Proxy::start(s3::addr().await).await;
    let address = store.addr().to_string();
    let settings = [
        ("MINIO_ENDPOINT", address.as_str()),
        ("STORE_TIMEOUT_SECONDS", "3"),
        ("STORE_MAX_ATTEMPTS", "2"),
    ];
    let worker = scene.worker_with(&settings).await;
    let runs_on = counter(&scene, "runs-on", &PYTHON_BOT, None).await;
    let stopped = counter(&scene, "stopped", &PYTHON_BOT, None).await;
    let ends = counter(&scene, "ends", &PYTHON_BACKTEST, Some(5)).await;
    let ids = [scene.id("runs-on"), scene.id("stopped"), scene.id("ends")];
    for message in [&runs_on, &stopped, &ends] {
        scene.start(message).await;
    }
    for id in &ids {
        scene.logged(id, "line 5").await;
    }
    let before = identity(&scene, &ids[0]).await;

    match outage {
        Outage::Cut => store.cut(),
        Outage::Stalled => store.stall(),
    }
    until_missing(&worker, "store", &[]).await;
    scene.stop(&json!({ "id": ids[1], "reason": "during the outage" })).await;
    until_ended(&scene, &ids[1]).await;
    until_ended(&scene, &ids[2]).await;
    // A job that cannot be claimed now is put off, not lost.
    let later = scene.job("later", &PYTHON_BACKTEST, QUICK).await;
    sleep(REST_OF_OUTAGE).await;
    scene.start(&later).await;
    let (code, report) = readiness(&worker).await;
    assert_eq!(code, 503, "{report:#}");
    assert_eq!(identity(&scene, &ids[0]).await, before);
    assert!(engine::is_running(&scene.docker, &before.0).await);

    let unstored = scene.logs_of(&ids[0]).await;
    let unstored = assert_counted(&unstored);
    store.restore();
    until("the worker is ready again", async || readiness(&worker).await.0 == 200).await;
    scene.logged(&ids[0], &format!("line {}", unstored + 300)).await;
    let result = scene.events.result_of(&ids[1]).await;
    result.expect("stopped");
    result.expect_message(&["during the outage"]);
    let result = scene.events.result_of(&ids[2]).await;
    let data = result.expect("succeeded").clone();
    scene.events.result_of(&scene.id("later")).await.expect("succeeded");
    assert_eq!(identity(&scene, &ids[0]).await, before);
    scene.stop(&json!({ "id": ids[0] })).await;
    scene.events.result_of(&ids[0]).await.expect("stopped");

    let lines = ids.each_ref().map(|id| scene.logs_of(id));
    let [_, _, ended] = futures_util::future::join_all(lines)
        .await
        .iter()
        .map(|log| assert_counted(log))
        .collect::<Vec<_>>()
        .try_into()
        .unwrap();
    assert_eq!(data["result"], json!({ "lines": ended }));
    for (id, verdict) in ids.iter().zip(["stopped", "stopped", "succeeded"]) {
        assert_one_result(&scene, id, verdict);
    }
    nothing_is_left(scene, [worker]).await;
}

#[tokio::test]
async fn a_worker_that_is_ended_while_the_store_is_away_loses_no_line_and_no_result() {
    let scene = Scene::new().await;
    let store = Proxy::start(s3::addr().await).await;
    let address = store.addr().to_string();
    let settings = [
        ("MINIO_ENDPOINT", address.as_str()),
        ("STORE_TIMEOUT_SECONDS", "3"),
        ("STORE_MAX_ATTEMPTS", "2"),
        ("DRAIN_GRACE_SECONDS", "2"),
    ];
    let mut worker = scene.worker_with(&settings).await;
    let bot = counter(&scene, "bot", &PYTHON_BOT, None).await;
    let ends = counter(&scene, "ends", &PYTHON_BACKTEST, Some(3)).await;
    let ids = [scene.id("bot"), scene.id("ends")];
    scene.start(&bot).await;
    scene.start(&ends).await;
    for id in &ids {
        scene.logged(id, "line 5").await;
    }
    let before = identity(&scene, &ids[0]).await;
    store.cut();
    until_missing(&worker, "store", &[]).await;
    until_ended(&scene, &ids[1]).await;
    worker.terminate();
    assert_eq!(worker.wait().await.code(), Some(0));
    assert_eq!(scene.events.all_results().len(), 0);
    let stored = assert_counted(&scene.logs_of(&ids[0]).await);

    let next = scene.worker().await;
    let result = scene.events.result_of(&ids[1]).await;
    let lines = assert_counted(&scene.logs_of(&ids[1]).await);
    assert_eq!(result.expect("succeeded")["result"], json!({ "lines": lines }));
    scene.logged(&ids[0], &format!("line {}", stored + 200)).await;
    assert_eq!(identity(&scene, &ids[0]).await, before);
    scene.stop(&json!({ "id": ids[0] })).await;
    scene.events.result_of(&ids[0]).await.expect("stopped");
    assert_counted(&scene.logs_of(&ids[0]).await);
    for (id, verdict) in ids.iter().zip(["stopped", "succeeded"]) {
        assert_one_result(&scene, id, verdict);
    }
    nothing_is_left(scene, [next]).await;
}

#[tokio::test]
async fn a_start_on_hearing_of_an_end_is_not_lost_while_the_store_is_slow_to_forget_the_run() {
    let scene = Scene::new().await;
    let store = Proxy::start(s3::addr().await).await;
    let address = store.addr().to_string();
    let worker = scene.worker_with(&[("MINIO_ENDPOINT", &address)]).await;
    let message = scene.job("again", &PYTHON_BACKTEST, QUICK).await;
    let id = scene.id("again");
    let is_result = |seen: &Seen| seen.is_result() && seen.subject() == Some(&id);
    scene.start(&message).await;
    for round in 1..=4 {
        scene.events.wait_for_nth("next result", round, is_result).await.expect("succeeded");
        // The journal's last traces of the run cannot be removed now.
        store.stall();
        scene.start(&message).await;
        sleep(std::time::Duration::from_secs(1)).await;
        store.restore();
    }
    scene.events.wait_for_nth("last result", 5, is_result).await.expect("succeeded");
    let states = scene.events.states_of(&id);
    assert!(!states.iter().any(|state| state == "duplicate"), "{states:?}");
    nothing_is_left(scene, [worker]).await;
}

#[tokio::test]
async fn starts_that_come_while_the_store_is_away_wait_for_it_and_use_up_no_attempts() {
    let scene = Scene::new().await;
    let store = Proxy::start(s3::addr().await).await;
    let address = store.addr().to_string();
    // Two attempts, with a second between them: without waiting none would outlive this outage.
    let settings = [
        ("MINIO_ENDPOINT", address.as_str()),
        ("STORE_TIMEOUT_SECONDS", "5"),
        ("STORE_MAX_ATTEMPTS", "1"),
        ("JOB_MAX_ATTEMPTS", "2"),
        ("MAX_TERMINATING", "2"),
    ];
    let worker = scene.worker_with(&settings).await;
    let key = scene.put_code("quick", &[(PYTHON_BACKTEST.script, QUICK)]).await;
    let ids: Vec<_> = (0..6).map(|number| scene.id(&format!("quick-{number}"))).collect();
    store.cut();
    for id in &ids {
        scene.start(&PYTHON_BACKTEST.message(id, &key)).await;
    }
    until("it takes no jobs", async || worker.log().matches("taking no jobs for now").count() > 5)
        .await;
    store.restore();
    for id in &ids {
        scene.events.result_of(id).await.expect("succeeded");
    }
    nothing_is_left(scene, [worker]).await;
}

#[tokio::test]
async fn bots_are_stopped_although_the_store_hangs() {
    let scene = Scene::new().await;
    let store = Proxy::start(s3::addr().await).await;
    let address = store.addr().to_string();
    // A request gets no answer for longer than the test waits.
    let settings = [("MINIO_ENDPOINT", address.as_str()), ("STORE_TIMEOUT_SECONDS", "600")];
    let worker = scene.worker_with(&settings).await;
    let ids = ["one", "two", "three"].map(|name| scene.id(name));
    for name in ["one", "two", "three"] {
        scene.start(&counter(&scene, name, &PYTHON_BOT, None).await).await;
    }
    for id in &ids {
        scene.events.wait_state(id, "running").await;
    }
    store.stall();
    for id in &ids {
        scene.stop(&json!({ "id": id, "reason": "while the store hangs" })).await;
    }
    for id in &ids {
        until_ended(&scene, id).await;
    }
    assert!(scene.events.all_results().is_empty(), "nothing can have been noted");
    // The requests that hang end with their connections.
    store.cut();
    store.restore();
    for id in &ids {
        let result = scene.events.result_of(id).await;
        result.expect("stopped");
        result.expect_message(&["while the store hangs"]);
    }
    nothing_is_left(scene, [worker]).await;
}
