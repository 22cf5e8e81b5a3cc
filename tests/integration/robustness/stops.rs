//! Stops: before the start, twice, for nobody, and where another worker runs the job.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::StreamExt as _;
use lapin::BasicProperties;
use lapin::options::{BasicConsumeOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use serde_json::{Value, json};

use super::{QUICK, assert_one_result, nothing_is_left, says};
use longshore_testing::events::PATIENCE;
use longshore_testing::program::{PYTHON_BACKTEST, PYTHON_BOT, PYTHON_TICKER};
use longshore_testing::scene::Scene;

/// Seconds since 1970, as AMQP counts them.
pub(super) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

pub(super) fn at(seconds: u64) -> BasicProperties {
    BasicProperties::default()
        .with_message_id(uuid::Uuid::new_v4().to_string().into())
        .with_timestamp(seconds)
}

#[tokio::test]
async fn a_stop_cancels_starts_that_were_published_before_it_and_no_later_one() {
    let scene = Scene::new().await;
    let worker = scene.worker().await;
    let early = scene.job("early", &PYTHON_BACKTEST, QUICK).await;
    let later = scene.job("later", &PYTHON_BACKTEST, QUICK).await;
    let (early_id, later_id) = (scene.id("early"), scene.id("later"));
    let stopped_at = now();
    for id in [&early_id, &later_id] {
        let stop = json!({ "id": id, "reason": "too late" });
        scene.publish("stop", stop.to_string().as_bytes(), at(stopped_at)).await;
        scene.events.wait_state(id, "not_running").await;
    }
    scene.start_with(&early, at(stopped_at - 60)).await;
    scene.start_with(&later, at(stopped_at + 60)).await;

    let cancelled = scene.events.result_of(&early_id).await;
    assert_eq!(cancelled.expect("cancelled").get("container_id"), None);
    cancelled.expect_message(&["too late"]);
    scene.events.result_of(&later_id).await.expect("succeeded");
    let states = scene.events.states_of(&early_id);
    assert!(!states.iter().any(|state| state == "running"), "{states:?}");

    // It came after the stop, which has done its work.
    scene.start_with(&early, at(stopped_at + 60)).await;
    let is_second = |seen: &longshore_testing::events::Seen| {
        seen.is_result() && seen.subject() == Some(&early_id) && seen.id() != cancelled.id()
    };
    scene.events.wait_for("result of the later start", is_second).await.expect("succeeded");
    nothing_is_left(scene, [worker]).await;
}

#[tokio::test]
async fn a_second_stop_is_answered_and_changes_nothing() {
    // It takes its time to end, so that the second stop finds it stopping.
    let slow = "import signal, time\ndef main(id, config):\n    \
                signal.signal(signal.SIGTERM, lambda *_: None)\n    print('up', flush=True)\n    \
                while True: time.sleep(0.1)\n";
    let scene = Scene::new().await;
    let worker = scene.worker().await;
    let message = scene.job("bot", &PYTHON_BOT, slow).await;
    let id = scene.id("bot");
    scene.start(&message).await;
    scene.logged(&id, "up").await;
    let stop = |reason: &str| json!({ "id": id, "reason": reason, "timeout_seconds": 4 });
    scene.stop(&stop("first")).await;
    scene.events.wait_state(&id, "stopping").await;
    scene.stop(&stop("second")).await;
    let answer = scene.events.wait_for_nth("second answer", 2, says(&id, "stopping")).await;
    answer.expect_message(&["stopping already"]);
    scene.events.result_of(&id).await.expect_message(&["first"]);

    scene.stop(&stop("third")).await;
    scene.events.wait_state(&id, "not_running").await;
    assert_one_result(&scene, &id, "stopped");
    nothing_is_left(scene, [worker]).await;
}

#[tokio::test]
async fn a_stop_that_another_worker_gets_is_forwarded_to_the_owner() {
    const BOTS: usize = 4;
    let scene = Scene::new().await;
    let owner = scene.worker().await;
    // It takes stops, and no job.
    let other = scene.worker_with(&[("MAX_LONG_RUNNING", "0"), ("MAX_TERMINATING", "0")]).await;
    let mut mailbox = listen(&scene, "segment.0").await;
    let ids: Vec<_> = (0..BOTS).map(|number| scene.id(&format!("bot-{number}"))).collect();
    let key = scene.put_code("bot", &[(PYTHON_BOT.script, PYTHON_TICKER)]).await;
    for id in &ids {
        scene.start(&PYTHON_BOT.message(id, &key)).await;
    }
    for id in &ids {
        let running = scene.events.wait_state(id, "running").await;
        assert_eq!(running.data()["segment"], 0, "{running:?}");
    }
    // The broker gives them to both workers in turn.
    for id in &ids {
        scene.stop(&json!({ "id": id, "reason": "forwarded or not" })).await;
    }
    for id in &ids {
        let result = scene.events.result_of(id).await;
        assert_eq!(result.expect("stopped")["segment"], 0);
        result.expect_message(&["forwarded or not"]);
        assert_one_result(&scene, id, "stopped");
    }
    let forwarded = tokio::time::timeout(PATIENCE, mailbox.next()).await;
    let forwarded = forwarded.expect("no stop went through the owner's mailbox");
    let stop: Value = serde_json::from_slice(&forwarded.unwrap().unwrap().data).unwrap();
    assert!(ids.iter().any(|id| stop["id"] == id.as_str()), "{stop}");
    assert_eq!(stop["reason"], "forwarded or not");

    // Whoever gets a stop for nobody answers it.
    for number in 0..4 {
        let id = scene.id(&format!("nobody-{number}"));
        scene.stop(&json!({ "id": id })).await;
        scene.events.wait_state(&id, "not_running").await;
    }
    nothing_is_left(scene, [owner, other]).await;
}

/// Hears what is published with a routing key on the exchange of jobs.
pub(super) async fn listen(scene: &Scene, key: &str) -> lapin::Consumer {
    let channel = scene.connection.create_channel().await.unwrap();
    let exclusive = QueueDeclareOptions { exclusive: true, ..Default::default() };
    let queue = channel.queue_declare("".into(), exclusive, FieldTable::default()).await.unwrap();
    let name = queue.name().clone();
    // From publishers, from workers, and back from a retry queue.
    for exchange in ["jobs", "workers", "returns"] {
        let exchange = format!("{}.{exchange}", scene.namespace);
        let (options, arguments) = (QueueBindOptions::default(), FieldTable::default());
        let name = name.clone();
        let bound =
            channel.queue_bind(name, exchange.as_str().into(), key.into(), options, arguments);
        bound.await.unwrap();
    }
    let options = BasicConsumeOptions { no_ack: true, ..Default::default() };
    channel.basic_consume(name, "".into(), options, FieldTable::default()).await.unwrap()
}

#[tokio::test]
async fn a_stop_that_overtakes_its_start_on_another_worker_cancels_it() {
    let scene = Scene::new().await;
    // The starts wait until the stops are noted, for there is nobody who takes starts yet.
    let hears_stops =
        scene.worker_with(&[("MAX_LONG_RUNNING", "0"), ("MAX_TERMINATING", "0")]).await;
    let message = scene.job("bot", &PYTHON_BOT, PYTHON_TICKER).await;
    let id = scene.id("bot");
    scene.start_with(&message, at(now())).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    scene.stop(&json!({ "id": id, "reason": "never mind" })).await;
    scene.events.wait_state(&id, "not_running").await;
    let takes_starts = scene.worker().await;
    let result = scene.events.result_of(&id).await;
    result.expect("cancelled");
    result.expect_message(&["never mind"]);
    let states = scene.events.states_of(&id);
    assert!(!states.iter().any(|state| state == "running"), "{states:?}");
    assert_one_result(&scene, &id, "cancelled");
    nothing_is_left(scene, [hears_stops, takes_starts]).await;
}

#[tokio::test]
async fn a_stop_for_a_job_whose_worker_has_died_waits_for_the_next_owner() {
    let scene = Scene::new().await;
    let mut owner = scene.worker().await;
    let other = scene.worker_with(&[("MAX_LONG_RUNNING", "0"), ("MAX_TERMINATING", "0")]).await;
    let mut mailbox = listen(&scene, "segment.0").await;
    let message = scene.job("bot", &PYTHON_BOT, PYTHON_TICKER).await;
    let id = scene.id("bot");
    scene.start(&message).await;
    let running = scene.events.wait_state(&id, "running").await;
    owner.kill();
    owner.wait().await;
    scene.stop(&json!({ "id": id, "reason": "sent to nobody" })).await;
    // It has gone into the mailbox that nobody reads.
    let forwarded = tokio::time::timeout(PATIENCE, mailbox.next()).await;
    forwarded.expect("the stop was not forwarded").unwrap().unwrap();
    assert_eq!(scene.events.results_of(&id).len(), 0);
    let next = scene.worker().await;
    let result = scene.events.result_of(&id).await;
    result.expect_message(&["sent to nobody"]);
    assert_eq!(result.expect("stopped")["container_id"], running.data()["container_id"]);
    assert_one_result(&scene, &id, "stopped");
    nothing_is_left(scene, [other, next]).await;
}
