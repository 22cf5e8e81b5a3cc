//! Faults of our own infrastructure: tried again with back-off, and not for ever.

use std::time::Duration;

use bollard::query_parameters::{KillContainerOptions, RemoveImageOptions, TagImageOptionsBuilder};
use futures_util::StreamExt as _;
use lapin::message::Delivery;
use lapin::types::AMQPValue;
use serde_json::json;

use super::stops::{at, listen, now};
use super::{QUICK, assert_one_result, nothing_is_left, says};
use longshore_testing::bench::PYTHON;
use longshore_testing::events::{PATIENCE, Seen};
use longshore_testing::program::{PYTHON_BACKTEST, PYTHON_BOT, PYTHON_TICKER};
use longshore_testing::scene::Scene;

/// The settings of a worker whose engine has no image for Python, and no registry to pull it from.
pub(super) fn without_image(image: &str) -> [(&str, &str); 2] {
    [("PYTHON_IMAGE", image), ("IMAGE_PULL_TIMEOUT_SECONDS", "10")]
}

/// An image that no other test uses, of a registry that is not there.
pub(super) fn missing_image(scene: &Scene) -> (String, String) {
    (format!("127.0.0.1:9/{}", scene.namespace), "missing".to_owned())
}

pub(super) async fn tag_python(scene: &Scene, name: &str, tag: &str) {
    let options = TagImageOptionsBuilder::default().repo(name).tag(tag).build();
    scene.docker.tag_image(PYTHON, Some(options)).await.unwrap();
}

pub(super) async fn untag(scene: &Scene, image: &str) {
    scene.docker.remove_image(image, None::<RemoveImageOptions>, None).await.unwrap();
}

/// The attempt that the header of a start says, where there is one.
fn attempt_of(delivery: &Delivery) -> Option<i64> {
    let headers = delivery.properties.headers().as_ref()?;
    match headers.inner().get("x-longshore-attempt")? {
        AMQPValue::LongLongInt(number) => Some(*number),
        other => panic!("the attempt is {other:?}"),
    }
}

/// The attempts of a job's events in a state, in order.
pub(super) fn attempts(seen: &[Seen], id: &str, state: &str) -> Vec<i64> {
    let is_meant = says(id, state);
    let found = seen.iter().filter(|seen| is_meant(seen));
    found.map(|seen| seen.data()["attempt"].as_i64().unwrap()).collect()
}

#[tokio::test]
async fn a_fault_of_ours_that_does_not_pass_ends_as_unavailable_after_its_attempts() {
    let scene = Scene::new().await;
    let (name, tag) = missing_image(&scene);
    let image = format!("{name}:{tag}");
    for (name, program, key) in [
        ("backtest", PYTHON_BACKTEST, "start.terminating"),
        ("bot", PYTHON_BOT, "start.long-running"),
    ] {
        // One each, for a worker that has failed waits longer and longer before it takes the next job.
        let mut worker = scene.worker_with(&without_image(&image)).await;
        let mut starts = listen(&scene, key).await;
        let message = scene.job(name, &program, PYTHON_TICKER).await;
        let id = scene.id(name);
        scene.start(&message).await;
        let result = scene.events.result_of(&id).await;
        assert_eq!(result.expect("unavailable")["attempt"], 3);
        result.expect_message(&["gave up after 3 attempts", &scene.namespace]);
        let all = scene.events.all();
        assert_eq!(attempts(&all, &id, "accepted"), [1, 2, 3], "{all:#?}");
        assert_eq!(attempts(&all, &id, "preparing"), [1, 2, 3], "{all:#?}");
        assert_eq!(attempts(&all, &id, "restarting"), [1, 2], "{all:#?}");
        // Each step of the back-off in turn.
        for (nth, said) in [(1, "tried again in 1 s"), (2, "tried again in 2 s")] {
            let what = format!("restart {nth}");
            let told = scene.events.wait_for_nth(&what, nth, says(&id, "restarting")).await;
            told.expect_message(&[&format!("attempt {nth} failed"), said]);
        }
        for expected in [None, Some(2), Some(3)] {
            let next = tokio::time::timeout(PATIENCE, starts.next()).await;
            let delivery = next.expect("the start did not come again").unwrap().unwrap();
            assert_eq!(attempt_of(&delivery), expected);
            assert_eq!(delivery.data, message.to_string().into_bytes(), "the body was touched");
        }
        assert_one_result(&scene, &id, "unavailable");
        worker.stop().await;
    }
    nothing_is_left(scene, []).await;
}

#[tokio::test]
async fn a_fault_of_ours_that_passes_costs_an_attempt_and_no_more() {
    let scene = Scene::new().await;
    let (name, tag) = missing_image(&scene);
    let image = format!("{name}:{tag}");
    let worker = scene.worker_with(&without_image(&image)).await;
    let message = scene.job("again", &PYTHON_BACKTEST, QUICK).await;
    let id = scene.id("again");
    scene.start(&message).await;
    scene.events.wait_state(&id, "restarting").await;
    tag_python(&scene, &name, &tag).await;
    let result = scene.events.result_of(&id).await;
    untag(&scene, &image).await;
    assert_eq!(result.expect("succeeded")["attempt"], 2);
    assert_eq!(attempts(&scene.events.all(), &id, "running"), [2]);
    assert_one_result(&scene, &id, "succeeded");
    nothing_is_left(scene, [worker]).await;
}

/// Its attempts are more than may fail by then; none of them did.
#[tokio::test]
async fn a_bot_that_has_been_restarted_before_is_not_given_up_at_the_first_fault_of_ours() {
    let scene = Scene::new().await;
    let (name, tag) = missing_image(&scene);
    let image = format!("{name}:{tag}");
    tag_python(&scene, &name, &tag).await;
    let settings = [&without_image(&image)[..], &[("JOB_MAX_ATTEMPTS", "2")]].concat();
    let worker = scene.worker_with(&settings).await;
    let mut message = scene.job("old-hand", &PYTHON_BOT, PYTHON_TICKER).await;
    message["restart"] = json!({ "when": "on_failure", "backoff_seconds": 2 });
    let id = scene.id("old-hand");
    scene.start(&message).await;
    for nth in 1..=2 {
        let running = scene.events.wait_for_nth("running", nth, says(&id, "running")).await;
        if nth == 2 {
            untag(&scene, &image).await;
        }
        let container = running.data()["container_id"].as_str().unwrap().to_owned();
        scene.docker.kill_container(&container, None::<KillContainerOptions>).await.unwrap();
    }
    let told = scene.events.wait_for_nth("restarting", 3, says(&id, "restarting")).await;
    told.expect_message(&["attempt 3 failed", "tried again in 1 s"]);
    tag_python(&scene, &name, &tag).await;
    let running = scene.events.wait_for_nth("running", 3, says(&id, "running")).await;
    assert_eq!(running.data()["attempt"], 4);
    untag(&scene, &image).await;
    scene.stop(&json!({ "id": id })).await;
    scene.events.result_of(&id).await.expect("stopped");
    assert_one_result(&scene, &id, "stopped");
    nothing_is_left(scene, [worker]).await;
}

#[tokio::test]
async fn a_stop_between_two_attempts_cancels_the_run_before_the_next_one() {
    let scene = Scene::new().await;
    let (name, tag) = missing_image(&scene);
    let image = format!("{name}:{tag}");
    let settings = [&without_image(&image)[..], &[("RETRY_DELAYS_SECONDS", "5")]].concat();
    let worker = scene.worker_with(&settings).await;
    for (name, program) in [("backtest", PYTHON_BACKTEST), ("bot", PYTHON_BOT)] {
        let message = scene.job(name, &program, PYTHON_TICKER).await;
        let id = scene.id(name);
        scene.start_with(&message, at(now())).await;
        scene.events.wait_state(&id, "restarting").await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        let stop = json!({ "id": id, "reason": "enough" }).to_string();
        scene.publish("stop", stop.as_bytes(), at(now())).await;
        let result = scene.events.result_of(&id).await;
        assert_eq!(result.expect("cancelled")["attempt"], 2);
        result.expect_message(&["enough"]);
        assert_eq!(attempts(&scene.events.all(), &id, "preparing"), [1]);
        assert_one_result(&scene, &id, "cancelled");
    }
    nothing_is_left(scene, [worker]).await;
}
