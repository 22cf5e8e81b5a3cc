//! Rights stay with whom they belong: what a publisher can make a worker do, write or say.

mod users;

use std::time::Duration;

use lapin::BasicProperties;
use lapin::options::{BasicGetOptions, BasicNackOptions, QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::FieldTable;
use longshore::job::refusal_id;
use serde_json::{Value, json};

use longshore_testing::events::Seen;
use longshore_testing::program::PYTHON_BACKTEST;
use longshore_testing::scene::Scene;

const QUICK: &str = "def main(id, config): return {'secret': 'of the victim'}";

/// Runs until it is stopped.
const SLOW: &str = "import time\ndef main(id, config):\n    while True: time.sleep(0.1)\n";

async fn queue(scene: &Scene, name: &str, exclusive: bool) -> String {
    let options = QueueDeclareOptions { exclusive, ..Default::default() };
    let declared = scene.channel().queue_declare(name.into(), options, FieldTable::default()).await;
    declared.unwrap().name().to_string()
}

async fn waiting(scene: &Scene, queue: &str) -> Option<Value> {
    let options = BasicGetOptions { no_ack: true };
    let got = scene.channel().basic_get(queue.into(), options).await.unwrap();
    got.map(|got| serde_json::from_slice(&got.delivery.data).unwrap())
}

async fn refusal(scene: &Scene, message_id: &str, message: &Value) -> Seen {
    let id = refusal_id(Some(message_id), message.to_string().as_bytes());
    scene.events.wait_for("refusal", |seen| seen.is_result() && seen.id() == id).await
}

#[tokio::test]
async fn a_result_goes_to_no_queue_that_is_not_the_publishers_own() {
    let scene = Scene::new().await;
    let worker = scene.worker().await;
    let foreign = queue(&scene, &scene.id("orders"), false).await;
    let good = scene.job("good", &PYTHON_BACKTEST, QUICK).await;
    let own = ["retry.1s", "stop", "segment.0", "dead", "start.terminating"];
    let own = own.map(|name| format!("{}.{name}", scene.namespace));
    for (number, target) in own.iter().chain([&foreign]).enumerate() {
        let message_id = format!("m-{number}");
        let properties = BasicProperties::default()
            .with_reply_to(target.as_str().into())
            .with_message_id(message_id.as_str().into());
        scene.start_with(&good, properties).await;
        let result = refusal(&scene, &message_id, &good).await;
        result.expect("rejected");
        result.expect_message(&["property reply_to", target]);
    }
    // Nor does a refusal go there, though its message says so.
    let bad = json!({ "id": scene.id("bad") });
    for number in 0..40 {
        let properties = BasicProperties::default()
            .with_reply_to(own[0].as_str().into())
            .with_message_id(format!("bad-{number}").into());
        scene.start_with(&bad, properties).await;
        refusal(&scene, &format!("bad-{number}"), &bad).await;
    }
    assert_eq!(waiting(&scene, &foreign).await, None);
    scene.dead_letters(own.len() + 1 + 40).await;
    let last = scene.job("last", &PYTHON_BACKTEST, QUICK).await;
    scene.run(&last).await.expect("succeeded");
    scene.channel().queue_delete(foreign.into(), QueueDeleteOptions::default()).await.unwrap();
    scene.finish([worker]).await;
}

#[tokio::test]
async fn a_refused_message_that_names_another_run_says_nothing_about_it() {
    let scene = Scene::new().await;
    let worker = scene.worker().await;
    let mut victim = scene.job("victim", &PYTHON_BACKTEST, SLOW).await;
    let id = scene.id("victim");
    victim["run_id"] = json!("run-1");
    scene.start(&victim).await;
    scene.events.wait_state(&id, "running").await;

    let mut forged = victim.clone();
    forged["timeout_seconds"] = json!(0);
    let mut other = victim.clone();
    other["config"] = json!({ "of": "a stranger" });
    for message in [&forged, &other, &forged] {
        let properties = BasicProperties::default().with_message_id("m".into());
        scene.start_with(message, properties).await;
        let refused = refusal(&scene, "m", message).await;
        refused.expect("rejected");
        assert_eq!(refused.subject(), None, "{:#}", refused.event);
        assert!(refused.data()["run_id"].is_null() && refused.data()["id"].is_null());
    }
    refusal(&scene, "m", &other).await.expect_message(&["run-1", "another body"]);
    // The same message again is told under the same id, with the same words.
    let again = refusal_id(Some("m"), forged.to_string().as_bytes());
    let is_again = |seen: &Seen| seen.id() == again;
    let second = scene.events.wait_for_nth("the refusal again", 2, is_again).await;
    assert_eq!(second.event, refusal(&scene, "m", &forged).await.event);
    scene.dead_letters(3).await;

    assert_eq!(scene.events.results_of(&id).len(), 0);
    scene.stop(&json!({ "id": id })).await;
    let end = scene.events.result_of(&id).await;
    end.expect("stopped");
    assert_eq!(end.id(), "run-1/result");
    scene.finish([worker]).await;
}

#[tokio::test]
async fn only_the_same_message_gets_a_stored_result_again() {
    let scene = Scene::new().await;
    let worker = scene.worker().await;
    let mut first = scene.job("once", &PYTHON_BACKTEST, QUICK).await;
    first["run_id"] = json!("run-1");
    let id = scene.id("once");
    scene.run(&first).await.expect("succeeded");
    let replies = queue(&scene, "", true).await;
    let asked = |message_id: &str| {
        BasicProperties::default()
            .with_reply_to(replies.as_str().into())
            .with_message_id(message_id.into())
    };
    let mut stranger = first.clone();
    stranger["file_path"] = json!("not-even-the-same.zip");
    // Of the latest run, and of one that has given way to another.
    for message_id in ["s-1", "s-2"] {
        scene.start_with(&stranger, asked(message_id)).await;
        let refused = refusal(&scene, message_id, &stranger).await;
        refused.expect("rejected");
        assert!(refused.data()["result"].is_null());
        let answer = waiting_for(&scene, &replies).await;
        assert_eq!(answer["id"], refused.id());

        scene.start_with(&first, asked("m")).await;
        let answer = waiting_for(&scene, &replies).await;
        assert_eq!(answer["id"], "run-1/result");
        assert_eq!(answer["data"]["result"]["secret"], "of the victim");
        let mut next = first.clone();
        next["run_id"] = json!(format!("after-{message_id}"));
        scene.start(&next).await;
        let end = format!("after-{message_id}/result");
        scene.events.wait_for("the next run's end", |seen| seen.id() == end).await;
    }
    let own = scene.events.results_of(&id);
    assert!(
        own.iter()
            .all(|seen| seen.data()["verdict"] != "rejected" || seen.data()["run_id"].is_null())
    );
    scene.dead_letters(2).await;
    scene.finish([worker]).await;
}

async fn waiting_for(scene: &Scene, queue: &str) -> Value {
    for _ in 0..600 {
        if let Some(value) = waiting(scene, queue).await {
            return value;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("nothing came to {queue}");
}

#[tokio::test]
async fn a_start_that_expires_or_comes_back_too_often_has_one_result() {
    let scene = Scene::new().await;
    let worker = scene.worker_with(&[("MAX_TERMINATING", "0")]).await;
    let message = scene.job("expired", &PYTHON_BACKTEST, QUICK).await;
    let id = scene.id("expired");
    let properties =
        || BasicProperties::default().with_message_id("m".into()).with_expiration("100".into());
    scene.start_with(&message, properties()).await;
    let result = scene.events.result_of(&id).await;
    result.expect("cancelled");
    result.expect_message(&["time to live"]);
    let run = result.data()["run_id"].as_str().unwrap();
    assert_eq!(result.id(), format!("{run}/result"));
    let letters = scene.dead_letters(1).await;
    assert!(letters[0].reason.contains("time to live"), "{letters:?}");

    let returned = scene.job("returned", &PYTHON_BACKTEST, QUICK).await;
    scene.start(&returned).await;
    let inbox = format!("{}.start.terminating", scene.namespace);
    let mut times = 0;
    while scene.events.results_of(&scene.id("returned")).is_empty() && times < 600 {
        let options = BasicGetOptions::default();
        let got = scene.channel().basic_get(inbox.as_str().into(), options).await.unwrap();
        if let Some(got) = got {
            let again = BasicNackOptions { requeue: true, ..Default::default() };
            got.delivery.acker.nack(again).await.unwrap();
        }
        times += 1;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    scene.events.result_of(&scene.id("returned")).await.expect("unavailable");
    scene.dead_letters(1).await;

    // The same start again hears the same, and does not run.
    drop(worker);
    let worker = scene.worker().await;
    let again = BasicProperties::default().with_message_id("m".into());
    scene.start_with(&message, again).await;
    let is_result = |seen: &Seen| seen.is_result() && seen.subject() == Some(&id);
    let second = scene.events.wait_for_nth("second result", 2, is_result).await;
    assert_eq!(second.event, result.event);
    scene.finish([worker]).await;
}
