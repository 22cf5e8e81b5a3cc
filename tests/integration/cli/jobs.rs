//! `longshore jobs` against a real worker and a real store.

use futures_util::{StreamExt as _, stream};
use longshore::storage::{Bucket, JobRecord};
use serde_json::{Value, json};

use super::{in_scene, json_of, text};
use longshore_testing::http_proxy::{Asked, HttpProxy};
use longshore_testing::program::{PYTHON_BACKTEST, PYTHON_BOT, PYTHON_TICKER};
use longshore_testing::rabbit::within;
use longshore_testing::s3;
use longshore_testing::scene::Scene;

/// What the program lists.
async fn jobs(scene: &Scene, arguments: &[&str]) -> Vec<Value> {
    let arguments = [&["jobs", "--output", "json"], arguments].concat();
    let output = within(in_scene(scene).args(&arguments).output()).await.unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    json_of(&output).as_array().unwrap().clone()
}

async fn ids(scene: &Scene, arguments: &[&str]) -> Vec<String> {
    let jobs = jobs(scene, arguments).await;
    jobs.iter().map(|job| job["id"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn jobs_lists_runs_by_their_state_verdict_segment_and_time() {
    let scene = Scene::new().await;
    assert!(within(in_scene(&scene).arg("jobs").output()).await.unwrap().status.success());
    let worker = scene.worker().await;
    let good = scene.job("good", &PYTHON_BACKTEST, "def main(id, config): return {}").await;
    scene.run(&good).await.expect("succeeded");
    let bad = scene.job("bad", &PYTHON_BACKTEST, "def main(id, config): return 1 / 0").await;
    scene.run(&bad).await.expect("failed");
    scene.start(&scene.job("bot", &PYTHON_BOT, PYTHON_TICKER).await).await;
    let [good, bad, bot] = ["good", "bad", "bot"].map(|name| scene.id(name));
    scene.events.wait_state(&bot, "running").await;

    let all = jobs(&scene, &[]).await;
    let states: Vec<_> =
        all.iter().map(|job| (&job["id"], &job["state"], &job["verdict"])).collect();
    let expected = [
        (&json!(bot), &json!("active"), &Value::Null),
        (&json!(bad), &json!("finished"), &json!("failed")),
        (&json!(good), &json!("finished"), &json!("succeeded")),
    ];
    assert_eq!(states, expected);
    let name = format!("{}-worker-0", scene.namespace);
    for job in &all {
        assert_eq!((&job["worker"], &job["segment"]), (&json!(name), &json!(0)), "{job:#}");
        assert_eq!(job["attempt"], 1);
    }
    assert!(all[1]["message"].as_str().unwrap().contains("division by zero"), "{all:#?}");

    assert_eq!(ids(&scene, &["--failed"]).await, [&bad[..]]);
    assert_eq!(ids(&scene, &["--running"]).await, [&bot[..]]);
    assert_eq!(ids(&scene, &["--running", "--segment", "0"]).await, [&bot[..]]);
    assert_eq!(ids(&scene, &["--running", "--segment", "1"]).await, [""; 0]);
    assert_eq!(ids(&scene, &["--segment", "1"]).await, [""; 0]);
    assert_eq!(ids(&scene, &["--since", "1h"]).await.len(), 3);
    assert_eq!(ids(&scene, &["--since", "2100-01-01T00:00:00Z"]).await, [""; 0]);

    let output = within(in_scene(&scene).args(["jobs", "--limit", "2"]).output()).await.unwrap();
    let (shown, told) = (text(&output.stdout), text(&output.stderr));
    assert!(shown.starts_with("JOB") && shown.lines().count() == 3, "{shown}");
    assert!(told.contains("--limit 2 is reached, and 1 older"), "{told}");
    // Columns of this table fit into a terminal, and these ids are longer than most.
    assert!(shown.lines().all(|line| line.chars().count() <= 80), "{shown}");

    scene.stop(&json!({ "id": bot })).await;
    scene.events.result_of(&bot).await.expect("stopped");
    scene.finish([worker]).await;
}

/// More than one page of a store's listing.
const MANY: usize = 1_200;

#[tokio::test]
async fn jobs_reads_only_the_records_that_it_shows() {
    let scene = Scene::new().await;
    let record = |number: usize| -> JobRecord {
        serde_json::from_value(json!({
            "id": scene.id(&format!("n-{number}")), "run_id": "r", "segment": 0, "state": "active",
            "attempt": 1, "claimed_at": "2026-11-22T10:00:00Z", "message": { "body": "{}" },
        }))
        .unwrap()
    };
    let key =
        |number| format!("{}/jobs/{}.json", scene.namespace, scene.id(&format!("n-{number}")));
    stream::iter(0..MANY)
        .for_each_concurrent(16, async |number| {
            let body = serde_json::to_vec(&record(number)).unwrap();
            scene.put_object(Bucket::State, &key(number), body).await;
        })
        .await;
    // One that cannot be read costs nothing but itself.
    scene.put_object(Bucket::State, &key(MANY), b"{".to_vec()).await;

    let proxy = HttpProxy::start(s3::addr().await).await;
    let asked = async |arguments: &[&str]| {
        let before = proxy.asked().len();
        let mut command = in_scene(&scene);
        command.env("MINIO_ENDPOINT", proxy.endpoint()).arg("jobs").args(arguments);
        let output = within(command.output()).await.unwrap();
        let told = text(&output.stderr);
        assert!(output.status.success(), "{told}");
        let asked = proxy.asked().split_off(before);
        // The query of a listing may name a key, too.
        let is_record = |asked: &&Asked| asked.is("GET", "-n-") && !asked.is("GET", "list-type");
        let records = asked.iter().filter(is_record);
        (text(&output.stdout).lines().count() - 1, records.count(), asked.len(), told)
    };
    let (shown, records, requests, told) = asked(&["--limit", "5"]).await;
    // A few that were asked for ahead come on top: see CONCURRENCY.
    assert!(shown == 5 && records <= 5 + 16, "{shown} shown, {records} read");
    assert!(requests <= records + 3, "two pages and an owner: {requests}");
    assert!(told.contains("--limit 5 is reached"), "{told}");

    let (shown, records, _, told) = asked(&["--failed", "--scan", "50"]).await;
    assert_eq!((shown, records), (0, 50));
    assert!(told.contains("only the newest 50 of 1201"), "{told}");
    let (shown, records, ..) = asked(&["--since", "2100-01-01T00:00:00Z"]).await;
    assert_eq!((shown, records), (0, 0));
    let (shown, .., told) = asked(&["--limit", "2000"]).await;
    assert_eq!(shown, MANY);
    assert!(told.contains("cannot be read"), "{told}");
    scene.finish([]).await;
}
