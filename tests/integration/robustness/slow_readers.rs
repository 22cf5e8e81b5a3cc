//! Subscribers that do not take what they asked for: a full queue that rejects. They hold up nobody.

use std::time::Duration;

use lapin::options::{
    BasicPublishOptions, QueueBindOptions, QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel};
use longshore::storage::Bucket;
use serde_json::json;
use tokio::time::sleep;

use super::{QUICK, assert_one_result, nothing_is_left, readiness, until};
use longshore_testing::program::{PYTHON_BACKTEST, PYTHON_BOT};
use longshore_testing::scene::Scene;

/// Publishing is tried again every second at most, so that a test need not wait.
const SOON: (&str, &str) = ("PUBLISH_RETRY_MAX_SECONDS", "1");

/// A queue that is full and rejects what comes, bound to `exchange` by each of `keys`.
async fn full_queue(scene: &Scene, exchange: &str, keys: &[String]) -> (Channel, String) {
    let channel = scene.connection.create_channel().await.unwrap();
    let mut arguments = FieldTable::default();
    arguments.insert("x-max-length".into(), AMQPValue::LongInt(1));
    arguments.insert("x-overflow".into(), AMQPValue::LongString("reject-publish".into()));
    let options = QueueDeclareOptions { exclusive: true, ..Default::default() };
    let queue = channel.queue_declare("".into(), options, arguments).await.unwrap();
    let name = queue.name().to_string();
    let (options, properties) = (BasicPublishOptions::default(), BasicProperties::default());
    let published =
        channel.basic_publish("".into(), name.as_str().into(), options, b"full", properties);
    published.await.unwrap();
    let exchange = format!("{}.{exchange}", scene.namespace);
    for key in keys {
        let bound = channel.queue_bind(
            name.as_str().into(),
            exchange.as_str().into(),
            key.as_str().into(),
            QueueBindOptions::default(),
            FieldTable::default(),
        );
        bound.await.unwrap();
    }
    (channel, name)
}

async fn delete(channel: &Channel, queue: &str) {
    channel.queue_delete(queue.into(), QueueDeleteOptions::default()).await.unwrap();
}

/// The results of a scene that the broker has not confirmed, as the journal keeps them.
async fn unconfirmed(scene: &Scene) -> Vec<String> {
    let index = format!("{}/segments/", scene.namespace);
    let mut keys = scene.objects(Bucket::State, &index).await;
    keys.retain(|key| key.contains("/unconfirmed/"));
    keys
}

#[tokio::test]
async fn a_full_queue_of_one_subscriber_holds_up_no_other_job() {
    let scene = Scene::new().await;
    let worker = scene.worker_with(&[("MAX_TERMINATING", "2"), SOON]).await;
    let stuck: Vec<String> = (0..4).map(|n| scene.id(&format!("stuck-{n}"))).collect();
    let keys: Vec<String> = stuck.iter().map(|id| format!("*.*.{id}")).collect();
    let (channel, queue) = full_queue(&scene, "results", &keys).await;
    for n in 0..4 {
        scene.start(&scene.job(&format!("stuck-{n}"), &PYTHON_BACKTEST, QUICK).await).await;
    }
    for id in &stuck {
        // The queue of this scene takes it; the full one is why the broker does not confirm it.
        scene.events.result_of(id).await.expect("succeeded");
    }
    // More jobs than slots are stuck, and all slots are free.
    for n in 0..3 {
        scene.start(&scene.job(&format!("other-{n}"), &PYTHON_BACKTEST, QUICK).await).await;
    }
    for n in 0..3 {
        let id = scene.id(&format!("other-{n}"));
        scene.events.result_of(&id).await.expect("succeeded");
        assert_one_result(&scene, &id, "succeeded");
    }
    until("the worker says what waits, and why", async || {
        let (code, report) = readiness(&worker).await;
        let checks = report["checks"].as_array().unwrap();
        let results = checks.iter().find(|check| check["name"] == "results");
        assert_eq!(code, 200, "{report:#}");
        results.is_some_and(|check| check["detail"] == "4 results wait for the broker's confirm")
            && worker.log().contains("x-overflow: reject-publish")
    })
    .await;
    assert_eq!(unconfirmed(&scene).await.len(), 4);

    delete(&channel, &queue).await;
    until("every result is confirmed", async || unconfirmed(&scene).await.is_empty()).await;
    for id in &stuck {
        let results = scene.events.results_of(id);
        assert!(results.iter().all(|one| one.event == results[0].event), "{results:#?}");
    }
    nothing_is_left(scene, [worker]).await;
}

#[tokio::test]
async fn a_full_queue_for_everything_stops_neither_starts_nor_refusals_nor_stops() {
    let scene = Scene::new().await;
    let settings = [("MAX_TERMINATING", "1"), ("MAX_LONG_RUNNING", "1"), SOON];
    let worker = scene.worker_with(&settings).await;
    let everything = ["#".to_owned()];
    let (results, full_of_results) = full_queue(&scene, "results", &everything).await;
    let (status, full_of_status) = full_queue(&scene, "status", &everything).await;

    let bot = "import time\ndef main(id, config):\n    while True: time.sleep(0.1)";
    for n in 0..2 {
        scene.start(&scene.job(&format!("bot-{n}"), &PYTHON_BOT, bot).await).await;
        let id = scene.id(&format!("bot-{n}"));
        scene.events.wait_state(&id, "running").await;
        scene.stop(&json!({ "id": id })).await;
        scene.events.result_of(&id).await.expect("stopped");
    }
    for n in 0..3 {
        let name = format!("bad-{n}");
        let mut bad = scene.job(&name, &PYTHON_BACKTEST, QUICK).await;
        bad["timeout_seconds"] = json!(0);
        scene.start(&bad).await;
        scene.events.result_of(&scene.id(&name)).await.expect("rejected");
    }
    for n in 0..3 {
        let name = format!("good-{n}");
        scene.start(&scene.job(&name, &PYTHON_BACKTEST, QUICK).await).await;
        scene.events.result_of(&scene.id(&name)).await.expect("succeeded");
    }
    assert_eq!(scene.dead_letters(3).await.len(), 3);
    // A job that has ended can be started again while its last result waits, and each run has its own.
    scene.start(&scene.job("good-0", &PYTHON_BACKTEST, QUICK).await).await;
    let good = scene.id("good-0");
    until("the second run has its result, too", async || {
        let results = scene.events.results_of(&good);
        let runs: std::collections::BTreeSet<_> =
            results.iter().map(|one| one.data()["run_id"].to_string()).collect();
        runs.len() == 2
    })
    .await;

    delete(&results, &full_of_results).await;
    delete(&status, &full_of_status).await;
    until("every result is confirmed", async || unconfirmed(&scene).await.is_empty()).await;
    nothing_is_left(scene, [worker]).await;
}

#[tokio::test]
async fn a_result_that_nobody_confirmed_outlives_its_worker() {
    let scene = Scene::new().await;
    let mut worker = scene.worker_with(&[SOON]).await;
    let id = scene.id("stuck");
    let (channel, queue) = full_queue(&scene, "results", &[format!("*.*.{id}")]).await;
    scene.start(&scene.job("stuck", &PYTHON_BACKTEST, QUICK).await).await;
    let first = scene.events.result_of(&id).await;
    until("the journal keeps it", async || unconfirmed(&scene).await.len() == 1).await;
    worker.kill();
    worker.wait().await;
    let told = scene.events.results_of(&id).len();

    let next = scene.worker_with(&[SOON]).await;
    until("the next worker tells it again", async || scene.events.results_of(&id).len() > told)
        .await;
    assert_eq!(unconfirmed(&scene).await.len(), 1, "it is kept until the broker confirms it");
    delete(&channel, &queue).await;
    until("it is confirmed", async || unconfirmed(&scene).await.is_empty()).await;
    sleep(Duration::from_secs(3)).await;
    let results = scene.events.results_of(&id);
    assert!(results.iter().all(|one| one.event == first.event), "{results:#?}");
    let confirmed = results.len();
    sleep(Duration::from_secs(3)).await;
    assert_eq!(scene.events.results_of(&id).len(), confirmed, "it is told after its confirm");
    nothing_is_left(scene, [next]).await;
}
