//! Inputs are fetched once for all runs of a host, and survive its workers.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::{READER, put, reader, sha256};
use crate::failover::{GRACE, OtherHost, output_of, runs_under};
use crate::robustness::{nothing_is_left, until};
use longshore_testing::events::PATIENCE;
use longshore_testing::http_proxy::{Deed, HttpProxy};
use longshore_testing::program::{PYTHON_BACKTEST, PYTHON_BOT};
use longshore_testing::s3;
use longshore_testing::scene::Scene;

/// How many runs of the same code and data there are.
const RUNS: usize = 100;

#[tokio::test]
async fn many_runs_of_the_same_code_and_data_fetch_each_object_once() {
    let scene = Scene::new().await;
    let store = HttpProxy::start(s3::addr().await).await;
    let settings = [("MINIO_ENDPOINT", store.endpoint()), ("MAX_TERMINATING", "6".to_owned())];
    let settings = settings.each_ref().map(|(name, value)| (*name, value.as_str()));
    let worker = scene.worker_with(&settings).await;
    let code = scene.put_code("many", &[("backtest.py", READER)]).await;
    let loose = put(&scene, "loose.csv", "1").await;
    let pinned = put(&scene, "pinned.csv", "2").await;
    let inputs = json!([
        {"key": loose, "path": "data/loose.csv"},
        {"key": pinned, "path": "data/pinned.csv", "sha256": sha256(b"2")},
    ]);
    // All of the first ones wait for the same answers.
    store.rule(|asked| {
        let is_slow = asked.is("GET", "loose.csv") || asked.is("GET", "pinned.csv");
        if is_slow { Deed::Slow(Duration::from_secs(1)) } else { Deed::Pass }
    });
    let ids: Vec<_> = (0..RUNS).map(|number| scene.id(&format!("run-{number}"))).collect();
    for id in &ids {
        let mut message = PYTHON_BACKTEST.message(id, &code);
        message["inputs"] = inputs.clone();
        message["config"] = json!({"read": ["data/loose.csv", "data/pinned.csv"]});
        scene.start(&message).await;
    }
    for id in &ids {
        let result = scene.events.result_of(id).await;
        let expected = json!({"data/loose.csv": "1", "data/pinned.csv": "2"});
        assert_eq!(result.expect("succeeded")["result"], expected);
    }
    for object in ["many.zip", "loose.csv", "pinned.csv"] {
        let answers = store.answers_to("GET", object);
        let fetched = answers.iter().filter(|status| **status == 200).count();
        assert_eq!(fetched, 1, "{object}: {answers:?}");
        assert!(answers.iter().all(|status| [200, 304].contains(status)), "{object}: {answers:?}");
    }
    // A hash that is known needs no question.
    assert_eq!(store.answers_to("GET", "pinned.csv"), [200]);
    scene.finish([worker]).await;
}

#[tokio::test]
async fn two_workers_share_what_survives_both_and_one_that_is_killed_leaves_nothing_half_made() {
    let scene = Scene::new().await;
    let store = HttpProxy::start(s3::addr().await).await;
    let endpoint = store.endpoint();
    let settings = [("MINIO_ENDPOINT", endpoint.as_str())];
    let mut killed = scene.worker_with(&settings).await;
    let key = put(&scene, "shared.csv", "1,2").await;
    let inputs = json!([{"key": key, "path": "data/shared.csv"}]);
    store.rule(|asked| if asked.is("GET", "shared.csv") { Deed::Hang } else { Deed::Pass });
    scene.start(&reader(&scene, "first", inputs.clone(), &["data/shared.csv"]).await).await;
    until("it is asked for", async || {
        store.asked().iter().any(|asked| asked.is("GET", "shared.csv"))
    })
    .await;
    killed.kill();
    killed.wait().await;
    store.restore();
    let before = store.answers_to("GET", "shared.csv").len();
    let one = scene.worker_with(&settings).await;
    let other = scene.worker_with(&settings).await;
    scene.events.result_of(&scene.id("first")).await.expect("succeeded");
    let making = scene.temp_dir().join(".cache/making");
    assert_eq!(std::fs::read_dir(making).unwrap().count(), 0);
    for name in ["second", "third"] {
        let message = reader(&scene, name, inputs.clone(), &["data/shared.csv"]).await;
        scene.run(&message).await.expect("succeeded");
    }
    for mut worker in [one, other] {
        worker.stop().await;
    }
    let last = scene.worker_with(&settings).await;
    let message = reader(&scene, "last", inputs, &["data/shared.csv"]).await;
    let result = scene.run(&message).await;
    assert_eq!(result.expect("succeeded")["result"]["data/shared.csv"], "1,2");
    assert_eq!(store.answers_to("GET", "shared.csv")[before..], [200, 304, 304, 304]);
    scene.finish([last]).await;
}

#[tokio::test]
async fn a_store_that_is_away_for_a_while_costs_no_run_its_inputs() {
    let scene = Scene::new().await;
    let store = HttpProxy::start(s3::addr().await).await;
    let endpoint = store.endpoint();
    let settings = [("MINIO_ENDPOINT", endpoint.as_str()), ("STORE_MAX_ATTEMPTS", "1")];
    let worker = scene.worker_with(&settings).await;
    let key = put(&scene, "late.csv", "1").await;
    let inputs = json!([{"key": key, "path": "late.csv"}]);
    let mut left = 1;
    store.rule(move |asked| {
        if asked.is("GET", "late.csv") && left > 0 {
            left -= 1;
            return Deed::Refuse(503);
        }
        Deed::Pass
    });
    let result = scene.run(&reader(&scene, "late", inputs, &["late.csv"]).await).await;
    let data = result.expect("succeeded");
    assert_eq!((&data["attempt"], &data["result"]["late.csv"]), (&json!(2), &json!("1")));
    scene.finish([worker]).await;
}

/// A bot whose host is lost has its inputs where it goes on.
#[tokio::test]
async fn a_bot_that_goes_on_elsewhere_has_its_inputs_there() {
    let scene = Scene::new().await;
    let there = OtherHost::of(&scene).await;
    let mut first = scene.worker_with(&there.settings()).await;
    let key = put(&scene, "prices.csv", "1,2,3").await;
    let source = "\
import time
def main(id, config):
    while True:
        print('prices', open('data/prices.csv').read(), flush=True)
        time.sleep(0.5)
";
    let mut message: Value = scene.job("bot", &PYTHON_BOT, source).await;
    message["inputs"] =
        json!([{"key": key, "path": "data/prices.csv", "sha256": sha256(b"1,2,3")}]);
    let id = scene.id("bot");
    scene.start(&message).await;
    scene.logged(&id, "prices 1,2,3").await;
    first.kill();
    first.wait().await;
    let second = scene.worker_with(&[GRACE, ("WORKER_NAME", "here")]).await;
    let container = runs_under(&scene, &id, "here").await;
    let begun = Instant::now();
    while !output_of(&scene.docker, &container).await.contains("prices 1,2,3") {
        assert!(begun.elapsed() < PATIENCE, "it has no inputs here");
        sleep(Duration::from_millis(200)).await;
    }
    scene.stop(&json!({"id": id, "timeout_seconds": 2})).await;
    let result = scene.events.result_of(&id).await;
    let data = result.expect("stopped");
    assert_eq!((&data["worker"], &data["attempt"]), (&json!("here"), &json!(2)));
    let again = scene.worker_with(&there.settings()).await;
    there.is_swept(&scene).await;
    nothing_is_left(scene, [second, again]).await;
}

/// The key of a worker of an older set-up has no right to the bucket.
#[tokio::test]
async fn a_worker_without_the_bucket_runs_what_needs_no_inputs() {
    let scene = Scene::new().await;
    let store = HttpProxy::start(s3::addr().await).await;
    store.rule(|asked| {
        let is_inputs = asked.target.starts_with("/longshore-tests-inputs");
        if is_inputs { Deed::Refuse(403) } else { Deed::Pass }
    });
    let endpoint = store.endpoint();
    let settings = [("MINIO_ENDPOINT", endpoint.as_str()), ("JOB_MAX_ATTEMPTS", "1")];
    let worker = scene.worker_with(&settings).await;
    assert!(worker.log().contains("the bucket of inputs cannot be used"));
    scene.run(&reader(&scene, "without", json!([]), &[]).await).await.expect("succeeded");
    let inputs = json!([{"key": "prices.csv", "path": "prices.csv"}]);
    let result = scene.run(&reader(&scene, "with", inputs, &[]).await).await;
    let data = result.expect("unavailable");
    assert!(data["message"].as_str().unwrap().contains("longshore-tests-inputs"), "{data:#}");
    scene.finish([worker]).await;
}
