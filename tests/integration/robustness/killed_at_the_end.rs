//! A worker that is killed when it has noted a run's end, before it has seen to all that follows from it.

use std::os::unix::process::ExitStatusExt as _;

use longshore::storage::Bucket;
use serde_json::{Value, json};

use super::interleavings::PATIENT;
use super::outage_of_broker::cut_off_with_a_backtest;
use super::{QUICK, assert_counted, assert_one_result, nothing_is_left, until};
use longshore_testing::events::Seen;
use longshore_testing::gates::GatedLine;
use longshore_testing::program::PYTHON_BACKTEST;
use longshore_testing::s3;
use longshore_testing::scene::Scene;
use longshore_testing::worker::Worker;

async fn kill(worker: &mut Worker) {
    worker.kill();
    assert_eq!(worker.wait().await.signal(), Some(9));
}

/// What the journal says of a job.
async fn record_of(scene: &Scene, id: &str) -> Value {
    let key = format!("{}/jobs/{id}.json", scene.namespace);
    serde_json::from_str(&scene.read_object(Bucket::State, &key).await).unwrap()
}

#[tokio::test]
async fn a_result_that_is_noted_and_not_published_is_published_once_by_the_next_worker() {
    let scene = Scene::new().await;
    let (mut worker, _proxy, id) = cut_off_with_a_backtest(&scene).await;
    until("the journal has the run's end", async || {
        record_of(&scene, &id).await["state"] == "finished"
    })
    .await;
    kill(&mut worker).await;
    let noted = record_of(&scene, &id).await;
    assert_eq!(scene.events.results_of(&id).len(), 0);

    let next = scene.worker().await;
    let result = scene.events.result_of(&id).await;
    let lines = assert_counted(&scene.logs_of(&id).await);
    assert_eq!(result.expect("succeeded")["result"], json!({ "lines": lines }));
    assert_eq!(result.event, noted["result"], "another event than the one that was noted");
    let states = scene.events.states_of(&id);
    assert_eq!(states, ["accepted", "preparing", "running", "finished"]);
    assert_one_result(&scene, &id, "succeeded");
    nothing_is_left(scene, [next]).await;
}

#[tokio::test]
async fn a_result_that_was_published_and_is_still_in_the_index_comes_once_more_as_the_same_event() {
    let scene = Scene::new().await;
    let store = GatedLine::start(s3::addr().await).await;
    let endpoint = store.addr().to_string();
    let mut worker = scene.worker_with(&[("MINIO_ENDPOINT", &endpoint), PATIENT]).await;
    let message = scene.job("ends", &PYTHON_BACKTEST, QUICK).await;
    let id = scene.id("ends");
    // The first worker of a namespace has the first segment.
    let index = format!("{}/segments/0/claims/{id}/", scene.namespace);
    let leave_index = store.hold("DELETE", &index);
    scene.start(&message).await;
    leave_index.reached().await;
    let first = scene.events.result_of(&id).await;
    kill(&mut worker).await;
    assert_one_result(&scene, &id, "succeeded");
    assert_eq!(scene.objects(Bucket::State, &index).await.len(), 1);

    let next = scene.worker().await;
    let is_result = |seen: &Seen| seen.is_result() && seen.subject() == Some(&id);
    let second = scene.events.wait_for_nth("second result", 2, is_result).await;
    assert_eq!(second.event, first.event, "a repeat must be the same event");
    until("the run is not in the index any more", async || {
        scene.objects(Bucket::State, &format!("{}/segments/", scene.namespace)).await.is_empty()
    })
    .await;
    assert_eq!(scene.events.results_of(&id).len(), 2);
    let states = scene.events.states_of(&id);
    assert_eq!(states, ["accepted", "preparing", "running", "finished"]);
    nothing_is_left(scene, [next]).await;
}
