//! Survivors with little room, and a slow store: the bots of a lost worker run where there is room,
//! and those that still run are taken up in time.

use std::time::Duration;

use serde_json::json;

use super::{GRACE, OtherHost, STAMPER, runs_under};
use crate::robustness::{assert_one_result, nothing_is_left, says, until};
use longshore_testing::http_proxy::{Deed, HttpProxy};
use longshore_testing::program::PYTHON_BOT;
use longshore_testing::s3;
use longshore_testing::scene::Scene;

/// Publishes the starts of bots with these names; gives their ids.
async fn start_bots<const N: usize>(scene: &Scene, names: [&str; N]) -> [String; N] {
    for name in names {
        scene.start(&scene.job(name, &PYTHON_BOT, STAMPER).await).await;
    }
    names.map(|name| scene.id(name))
}

async fn stop_all(scene: &Scene, ids: &[&String]) {
    for id in ids {
        scene.stop(&json!({ "id": id })).await;
    }
    for id in ids {
        scene.events.result_of(id).await.expect("stopped");
        assert_one_result(scene, id, "stopped");
    }
}

#[tokio::test]
async fn bots_of_a_lost_worker_run_on_the_worker_that_has_room() {
    let scene = Scene::new().await;
    let full = [GRACE, ("WORKER_NAME", "full"), ("MAX_LONG_RUNNING", "1")];
    let full = scene.worker_with(&full).await;
    let [own] = start_bots(&scene, ["own"]).await;
    runs_under(&scene, &own, "full").await;
    let there = OtherHost::of(&scene).await;
    let mut lost = scene.worker_with(&there.settings()).await;
    let [one, two] = start_bots(&scene, ["one", "two"]).await;
    for id in [&one, &two] {
        runs_under(&scene, id, "there").await;
    }
    let idle = scene.worker_with(&[GRACE, ("WORKER_NAME", "idle")]).await;
    lost.kill();
    lost.wait().await;

    for id in [&one, &two] {
        runs_under(&scene, id, "idle").await;
    }
    stop_all(&scene, &[&own, &one, &two]).await;
    nothing_is_left(scene, [full, idle]).await;
}

#[tokio::test]
async fn a_bot_without_room_waits_in_its_queue_and_can_be_stopped() {
    let scene = Scene::new().await;
    let there = OtherHost::of(&scene).await;
    let mut lost = scene.worker_with(&there.settings()).await;
    let [one, two] = start_bots(&scene, ["one", "two"]).await;
    for id in [&one, &two] {
        runs_under(&scene, id, "there").await;
    }
    let here = [GRACE, ("WORKER_NAME", "here"), ("MAX_LONG_RUNNING", "1")];
    let here = scene.worker_with(&here).await;
    lost.kill();
    lost.wait().await;

    // One of them gets the slot, and the other waits in the queue.
    let runs = scene.events.wait_for("one that runs here", |seen| {
        seen.state() == Some("running") && seen.data()["worker"] == "here"
    });
    let running = runs.await.subject().unwrap().to_owned();
    let waiting = if running == one { &two } else { &one };
    let put_back = scene.events.wait_state(waiting, "restarting").await;
    put_back.expect_message(&["its worker is gone", "has no room"]);
    scene.stop(&json!({ "id": waiting, "reason": "not needed" })).await;
    scene.events.wait_for("an answer to the stop", says(waiting, "not_running")).await;
    stop_all(&scene, &[&running]).await;
    let result = scene.events.result_of(waiting).await;
    result.expect("cancelled");
    result.expect_message(&["not needed"]);
    assert_one_result(&scene, waiting, "cancelled");
    nothing_is_left(scene, [here]).await;
}

#[tokio::test]
async fn bots_are_taken_up_in_time_although_the_store_is_slow() {
    let scene = Scene::new().await;
    let store = HttpProxy::start(s3::addr().await).await;
    let endpoint = store.endpoint();
    let settings = [("MINIO_ENDPOINT", endpoint.as_str()), ("SEGMENT_GRACE_SECONDS", "15")];
    let mut first = scene.worker_with(&settings).await;
    let names = ["b0", "b1", "b2", "b3", "b4", "b5", "b6", "b7", "b8", "b9"];
    let ids = start_bots(&scene, names).await;
    for id in &ids {
        scene.events.wait_state(id, "running").await;
    }
    // Three requests for each bot, one after the other, would take longer than the grace.
    store.rule(|asked| {
        let is_of_a_job = asked.target.contains("/jobs/") || asked.target.contains("/stops/");
        if is_of_a_job { Deed::Slow(Duration::from_secs(1)) } else { Deed::Pass }
    });
    first.kill();
    first.wait().await;
    let next = scene.worker_with(&settings).await;
    until("all bots are taken up", async || {
        next.log().matches("took up a job").count() == ids.len()
    })
    .await;
    store.restore();
    let all: Vec<_> = ids.iter().collect();
    stop_all(&scene, &all).await;
    for id in &ids {
        assert!(!scene.events.states_of(id).contains(&"restarting".to_owned()), "{id}");
        assert_eq!(scene.events.results_of(id)[0].data()["attempt"], 1, "{id} was started again");
    }
    nothing_is_left(scene, [next]).await;
}
