//! `longshore show` and `longshore result` against a real worker.

use std::process::Output;

use serde_json::{Value, json};

use super::{in_scene, json_of, text};
use crate::robustness::until;
use longshore_testing::program::{PYTHON_BACKTEST, PYTHON_BOT, PYTHON_TICKER};
use longshore_testing::rabbit::within;
use longshore_testing::scene::Scene;

async fn run(scene: &Scene, arguments: &[&str]) -> Output {
    within(in_scene(scene).args(arguments).output()).await.unwrap()
}

async fn show(scene: &Scene, id: &str) -> Value {
    json_of(&run(scene, &["show", id, "--output", "json"]).await)
}

/// Waits until the first line about a job contains a text.
async fn until_said(scene: &Scene, id: &str, part: &str) {
    until(part, async || show(scene, id).await["said"].as_str().unwrap().contains(part)).await;
}

#[tokio::test]
async fn result_prints_what_the_code_returned_and_nothing_else() {
    let scene = Scene::new().await;
    let worker = scene.worker().await;
    // The digits and the order of the keys are the program's.
    let good =
        "import json\ndef main(id, config):\n    return {'z': 12345678901234567890, 'a': 1.50}";
    scene.run(&scene.job("good", &PYTHON_BACKTEST, good).await).await.expect("succeeded");
    let large = "def main(id, config): return {'text': 'x' * 400000}";
    scene.run(&scene.job("large", &PYTHON_BACKTEST, large).await).await.expect("succeeded");
    let bad = "def main(id, config): return 1 / 0";
    scene.run(&scene.job("bad", &PYTHON_BACKTEST, bad).await).await.expect("failed");
    let [good, large, bad] = ["good", "large", "bad"].map(|name| scene.id(name));

    let output = run(&scene, &["result", &good]).await;
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let shown: String = text(&output.stdout).split_whitespace().collect();
    assert_eq!(shown, r#"{"z":12345678901234567890,"a":1.5}"#);
    assert_eq!(text(&output.stderr), "");
    let output = run(&scene, &["result", &large]).await;
    assert_eq!(json_of(&output)["text"].as_str().unwrap().len(), 400_000);
    assert_eq!(output.status.code(), Some(0));

    let output = run(&scene, &["result", &bad]).await;
    assert_eq!(output.status.code(), Some(10), "{}", text(&output.stderr));
    assert_eq!(json_of(&output)["message"], "ZeroDivisionError: division by zero");
    let output = run(&scene, &["result", &scene.id("nobody")]).await;
    assert_eq!((output.status.code(), text(&output.stdout).as_str()), (Some(1), ""));
    assert!(text(&output.stderr).contains("the journal knows no run of"));

    // A second run of the same job: the first is still there, but its object is not.
    let first = show(&scene, &large).await["run_id"].as_str().unwrap().to_owned();
    let again = scene.job("large", &PYTHON_BACKTEST, "def main(id, config): return {}").await;
    scene.start(&again).await;
    until("the second run has ended", async || {
        let story = show(&scene, &large).await;
        story["state"] == "finished" && story["run_id"] != *first
    })
    .await;
    assert_eq!(json_of(&run(&scene, &["result", &large]).await), json!({}));
    let output = run(&scene, &["result", &large, "--run-id", &first]).await;
    assert_eq!((output.status.code(), text(&output.stdout).as_str()), (Some(1), ""));
    assert!(text(&output.stderr).contains("is of a later run now"), "{}", text(&output.stderr));

    let story = show(&scene, &large).await;
    let earlier = &story["earlier_runs"][0];
    assert_eq!((&earlier["run_id"], &earlier["verdict"]), (&json!(first), &json!("succeeded")));
    let shown = text(&run(&scene, &["show", &large]).await.stdout);
    assert!(shown.starts_with(&format!("{large}: succeeded\n")), "{shown}");
    assert!(shown.contains("EARLIER RUN") && shown.contains(&first), "{shown}");
    assert!(shown.lines().all(|line| line.chars().count() <= 80), "{shown}");
    scene.finish([worker]).await;
}

#[tokio::test]
async fn show_says_why_a_job_does_not_run() {
    let scene = Scene::new().await;
    let (bot, later) = (scene.id("bot"), scene.id("later"));
    let unknown = run(&scene, &["show", &bot]).await;
    assert_eq!(unknown.status.code(), Some(1));
    assert!(text(&unknown.stdout).contains("there are no queues yet"), "{}", text(&unknown.stdout));

    let mut worker = scene.worker().await;
    assert!(show(&scene, &bot).await["said"].as_str().unwrap().contains("none was sent"));
    scene.start(&scene.job("bot", &PYTHON_BOT, PYTHON_TICKER).await).await;
    scene.events.wait_state(&bot, "running").await;
    let story = show(&scene, &bot).await;
    let name = format!("{}-worker-0", scene.namespace);
    assert_eq!(story["said"], format!("the worker {name} runs it or prepares it"), "{story:#}");
    assert_eq!((&story["worker"], &story["is_held"]), (&json!(name), &json!(true)), "{story:#}");
    let output = run(&scene, &["result", &bot]).await;
    assert_eq!((output.status.code(), text(&output.stdout).as_str()), (Some(3), ""));
    assert!(text(&output.stderr).contains("has not ended yet"), "{}", text(&output.stderr));

    // Without the broker, the journal still tells its part.
    let arguments = ["show", &bot];
    let alone = in_scene(&scene).env_remove("AMQP_URL").args(arguments).output().await.unwrap();
    assert_eq!(alone.status.code(), Some(0), "{}", text(&alone.stderr));
    assert!(text(&alone.stdout).contains("has it, as the journal says"), "{}", text(&alone.stdout));
    assert!(text(&alone.stderr).contains("AMQP_URL is not set"), "{}", text(&alone.stderr));

    worker.kill();
    worker.wait().await;
    until_said(&scene, &bot, "is gone, and segment 0 is free: no worker is connected").await;
    scene
        .start(&scene.job("later", &PYTHON_BACKTEST, "def main(id, config): return {}").await)
        .await;
    let story = show(&scene, &later).await;
    let waits = "it waits in its queue: no worker is connected, and 1 start waits";
    assert!(story["said"].as_str().unwrap().ends_with(waits), "{story:#}");

    let second = scene.worker().await;
    scene.events.result_of(&later).await.expect("succeeded");
    let name = format!("{}-worker-1", scene.namespace);
    until_said(&scene, &bot, &format!("the worker {name} runs it")).await;
    scene.stop(&json!({ "id": bot, "reason": "\u{1b}[2Jenough" })).await;
    scene.events.result_of(&bot).await.expect("stopped");
    until_said(&scene, &bot, "stopped: ").await;
    let story = show(&scene, &bot).await;
    assert_eq!(story["stops"][0]["reason"], "\u{1b}[2Jenough", "{story:#}");
    assert_eq!(story["end"]["verdict"], "stopped", "{story:#}");
    let shown = text(&run(&scene, &["show", &bot]).await.stdout);
    assert!(shown.contains("\\u{1b}[2Jenough") && !shown.contains('\u{1b}'), "{shown:?}");
    assert!(shown.contains(&format!("longshore logs {bot}")), "{shown}");
    let output = run(&scene, &["result", &bot]).await;
    assert_eq!((output.status.code(), text(&output.stdout).as_str()), (Some(1), ""));
    assert!(text(&output.stderr).contains("has no result: stopped: "), "{}", text(&output.stderr));
    scene.finish([second]).await;
}
