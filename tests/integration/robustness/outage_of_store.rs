//! An object store that cannot be reached for a while, with jobs running.

use serde_json::json;
use tokio::time::sleep;

use super::{
    QUICK, assert_counted, assert_one_result, counter, identity, nothing_is_left, readiness, until,
    until_ended, until_missing,
};
use crate::support::engine;
use crate::support::program::{PYTHON_BACKTEST, PYTHON_BOT};
use crate::support::proxy::Proxy;
use crate::support::s3;
use crate::support::scene::Scene;

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
    jobs_survive(Outage::Cut).await;
}

#[tokio::test]
async fn jobs_run_on_and_no_line_is_lost_while_the_store_does_not_answer() {
    jobs_survive(Outage::Stalled).await;
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
