//! What AMQP says about a message is honoured: identity, reply, trace; and what a stop finds.

mod acks;

use futures_util::StreamExt as _;
use lapin::BasicProperties;
use lapin::options::{BasicConsumeOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use serde_json::json;

use longshore_testing::events::{PATIENCE, Seen};
use longshore_testing::program::{PYTHON_BACKTEST, PYTHON_BOT, PYTHON_TICKER};
use longshore_testing::scene::Scene;

const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

const QUICK: &str = "def main(id, config): return {'id': id}";

#[tokio::test]
async fn the_same_message_after_the_end_gives_the_same_event_and_no_second_run() {
    let scene = Scene::new().await;
    let worker = scene.worker().await;
    let message = scene.job("once", &PYTHON_BACKTEST, QUICK).await;
    let id = scene.id("once");
    let properties = || BasicProperties::default().with_message_id("the-message".into());
    scene.start_with(&message, properties()).await;
    let first = scene.events.result_of(&id).await;
    first.expect("succeeded");
    scene.start_with(&message, properties()).await;
    let is_result = |seen: &Seen| seen.is_result() && seen.subject() == Some(&id);
    let second = scene.events.wait_for_nth("second result", 2, is_result).await;
    assert_eq!(first.event, second.event, "a repeat must be the same event");
    let states = scene.events.states_of(&id);
    assert_eq!(states.iter().filter(|state| *state == "running").count(), 1, "{states:?}");

    // Another message is another run.
    scene.start(&message).await;
    let third = scene.events.wait_for_nth("third result", 3, is_result).await;
    assert_ne!(third.id(), first.id());
    assert_ne!(third.data()["run_id"], first.data()["run_id"]);

    // The first one is still remembered.
    scene.start_with(&message, properties()).await;
    let fourth = scene.events.wait_for_nth("fourth result", 4, is_result).await;
    assert_eq!(fourth.event, first.event);
    let states = scene.events.states_of(&id);
    assert_eq!(states.iter().filter(|state| *state == "running").count(), 2, "{states:?}");
    scene.finish([worker]).await;
}

#[tokio::test]
async fn a_start_of_an_active_job_is_a_duplicate_and_changes_nothing() {
    let scene = Scene::new().await;
    let worker = scene.worker().await;
    let message = scene.job("bot", &PYTHON_BOT, PYTHON_TICKER).await;
    let id = scene.id("bot");
    scene.start(&message).await;
    let running = scene.events.wait_state(&id, "running").await;
    scene.start(&message).await;
    let duplicate = scene.events.wait_state(&id, "duplicate").await;
    assert_ne!(duplicate.data()["run_id"], running.data()["run_id"]);
    let first = running.data()["run_id"].as_str().unwrap();
    assert!(duplicate.data()["message"].as_str().unwrap().contains(first), "{duplicate:?}");
    let container = scene.container_of(&id).await;
    assert_eq!(container.id.as_deref(), running.data()["container_id"].as_str());
    scene.logged(&id, "up").await;
    scene.stop(&json!({ "id": id })).await;
    scene.events.result_of(&id).await.expect("stopped");
    assert_eq!(scene.events.results_of(&id).len(), 1);
    scene.finish([worker]).await;
}

#[tokio::test]
async fn the_result_also_goes_to_the_reply_queue_with_the_correlation_id() {
    let scene = Scene::new().await;
    let worker = scene.worker().await;
    let channel = scene.connection.create_channel().await.unwrap();
    let exclusive = QueueDeclareOptions { exclusive: true, ..Default::default() };
    let queue = channel.queue_declare("".into(), exclusive, FieldTable::default()).await.unwrap();
    let options = BasicConsumeOptions { no_ack: true, ..Default::default() };
    let name = queue.name().clone();
    let replies = channel.basic_consume(name.clone(), "".into(), options, FieldTable::default());
    let mut replies = replies.await.unwrap();

    // One that runs, one that is refused: both callers wait for an answer.
    let good = scene.job("good", &PYTHON_BACKTEST, QUICK).await;
    let bad = json!({ "id": scene.id("bad") });
    for (message, correlation) in [(&good, "c-1"), (&bad, "c-2")] {
        let properties = BasicProperties::default()
            .with_reply_to(name.clone())
            .with_correlation_id(correlation.into());
        scene.start_with(message, properties).await;
        let reply = tokio::time::timeout(PATIENCE, replies.next()).await;
        let reply = reply.unwrap().unwrap().unwrap();
        let found = reply.properties.correlation_id().as_ref().map(ToString::to_string);
        assert_eq!(found.as_deref(), Some(correlation));
        let event = scene.events.result_of(message["id"].as_str().unwrap()).await;
        assert_eq!(Seen::of(&reply).event, event.event);
    }
    scene.dead_letters(1).await;
    scene.finish([worker]).await;
}

#[tokio::test]
async fn the_trace_of_a_message_goes_on_in_every_event() {
    let scene = Scene::new().await;
    let worker = scene.worker().await;
    let message = scene.job("traced", &PYTHON_BACKTEST, QUICK).await;
    let mut headers = FieldTable::default();
    headers.insert("traceparent".into(), AMQPValue::LongString(TRACE.into()));
    let properties = BasicProperties::default().with_headers(headers);
    scene.start_with(&message, properties.clone()).await;
    scene.publish("start.terminating", b"{\"id\": \"broken\"}", properties).await;
    scene.events.result_of(&scene.id("traced")).await.expect("succeeded");
    scene.events.result_of("broken").await.expect("rejected");
    let all = scene.events.all();
    assert_eq!(all.len(), 6, "{all:#?}");
    for seen in &all {
        // The trace goes on; each event may be a span of its own.
        let trace = seen.event["traceparent"].as_str().unwrap_or_default();
        assert_eq!(trace.get(..36), TRACE.get(..36), "{:#}", seen.event);
    }
    scene.dead_letters(1).await;
    scene.finish([worker]).await;
}

#[tokio::test]
async fn a_stop_of_what_does_not_run_is_answered() {
    let scene = Scene::new().await;
    let worker = scene.worker().await;
    scene.stop(&json!({ "id": scene.id("nobody") })).await;
    scene.events.wait_state(&scene.id("nobody"), "not_running").await;

    let message = scene.job("ended", &PYTHON_BACKTEST, QUICK).await;
    let id = scene.id("ended");
    scene.run(&message).await.expect("succeeded");
    scene.stop(&json!({ "id": id })).await;
    scene.events.wait_state(&id, "not_running").await;
    assert_eq!(scene.events.results_of(&id).len(), 1);
    scene.finish([worker]).await;
}

#[tokio::test]
async fn a_stop_of_another_run_of_the_job_is_not_meant_for_this_one() {
    let scene = Scene::new().await;
    let worker = scene.worker().await;
    let mut message = scene.job("bot", &PYTHON_BOT, PYTHON_TICKER).await;
    let id = scene.id("bot");
    message["run_id"] = json!("run-2");
    scene.start(&message).await;
    scene.events.wait_state(&id, "running").await;
    scene.stop(&json!({ "id": id, "run_id": "run-1" })).await;
    scene.events.wait_state(&id, "not_running").await;
    assert_eq!(scene.events.results_of(&id).len(), 0, "the wrong run was stopped");
    scene.logged(&id, "up").await;
    scene.stop(&json!({ "id": id, "run_id": "run-2" })).await;
    let result = scene.events.result_of(&id).await;
    assert_eq!(result.expect("stopped")["run_id"], "run-2");
    scene.finish([worker]).await;
}

#[tokio::test]
async fn a_stop_that_arrives_before_its_start_cancels_it() {
    let scene = Scene::new().await;
    let worker = scene.worker().await;
    let message = scene.job("early", &PYTHON_BACKTEST, QUICK).await;
    let id = scene.id("early");
    scene.stop(&json!({ "id": id, "reason": "changed my mind" })).await;
    scene.events.wait_state(&id, "not_running").await;
    let result = scene.run(&message).await;
    assert_eq!(result.expect("cancelled").get("container_id"), None);
    result.expect_message(&["changed my mind"]);
    let states = scene.events.states_of(&id);
    assert!(!states.contains(&"running".to_owned()), "{states:?}");

    // The stop has done its work: a later start runs.
    scene.start(&message).await;
    let is_result = |seen: &Seen| seen.is_result() && seen.subject() == Some(&id);
    let second = scene.events.wait_for_nth("second result", 2, is_result).await;
    second.expect("succeeded");
    scene.finish([worker]).await;
}

#[tokio::test]
async fn a_stop_while_code_and_image_are_fetched_cancels_the_run() {
    let scene = Scene::new().await;
    let worker = scene.worker().await;
    let message = scene
        .job("soon", &PYTHON_BACKTEST, "import time\ndef main(id, config): time.sleep(60)")
        .await;
    let id = scene.id("soon");
    scene.start(&message).await;
    scene.events.wait_state(&id, "accepted").await;
    scene.stop(&json!({ "id": id, "timeout_seconds": 1 })).await;
    let result = scene.events.result_of(&id).await;
    // Whichever came first; but never a run that goes on.
    let verdict = result.data()["verdict"].as_str().unwrap();
    assert!(["cancelled", "stopped"].contains(&verdict), "{:#}", result.event);
    scene.finish([worker]).await;
}
