//! `longshore segments` against a real worker.

use serde_json::{Value, json};

use super::{longshore, text};
use crate::robustness::until;
use longshore_testing::program::{PYTHON_BOT, PYTHON_TICKER};
use longshore_testing::scene::Scene;
use longshore_testing::worker::settings_of_a_worker;

/// What the program prints about the segments of a scene.
fn segments(scene: &Scene, arguments: &[&str]) -> String {
    let mut command = longshore();
    command.envs(settings_of_a_worker(&scene.namespace, "client", &scene.temp_dir()));
    let output = command.arg("segments").args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout)
}

fn segments_as_json(scene: &Scene) -> Vec<Value> {
    serde_json::from_str(&segments(scene, &["--output", "json"])).unwrap()
}

#[tokio::test]
async fn segments_shows_who_holds_each_and_how_many_jobs_it_has() {
    let scene = Scene::new().await;
    assert_eq!(segments_as_json(&scene), [Value::Null; 0]);
    let mut worker = scene.worker().await;
    let name = format!("{}-worker-0", scene.namespace);
    let id = scene.id("bot");
    scene.start(&scene.job("bot", &PYTHON_BOT, PYTHON_TICKER).await).await;
    scene.events.wait_state(&id, "running").await;

    let [held] = &segments_as_json(&scene)[..] else { panic!("one worker holds one segment") };
    assert_eq!((&held["segment"], &held["state"]), (&json!(0), &json!("held")), "{held:#}");
    assert_eq!((&held["worker"], &held["jobs"]), (&json!(name), &json!(1)), "{held:#}");
    assert_eq!(held["temp_dir"].as_str(), scene.temp_dir().to_str());
    let shown = segments(&scene, &[]);
    let rows: Vec<Vec<&str>> = shown.lines().map(|row| row.split_whitespace().collect()).collect();
    let titles = ["SEGMENT", "STATE", "WORKER", "JOBS", "EPOCH", "SINCE", "ENGINE"];
    assert_eq!((rows.len(), &rows[0][..]), (2, &titles[..]), "{shown}");
    assert_eq!(rows[1][..5], ["0", "held", &name, "1", "1"], "{shown}");

    scene.stop(&json!({ "id": id })).await;
    scene.events.result_of(&id).await.expect("stopped");
    scene.is_tidy().await;
    worker.stop().await;
    // The broker frees the lock once it has noticed that the connection is closed.
    until("the segment is left", async || segments_as_json(&scene)[0]["state"] == "left").await;
    let left = &segments_as_json(&scene)[0];
    assert_eq!((&left["worker"], &left["jobs"]), (&json!(name), &json!(0)), "{left:#}");
    assert!(left["released_at"].is_string(), "{left:#}");
    scene.finish([]).await;
}
