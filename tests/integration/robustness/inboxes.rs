//! Whether each queue of a worker is consumed, as `/readyz` and `longshore doctor` tell it.

use lapin::options::{QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::FieldTable;
use serde_json::Value;

use super::{QUICK, nothing_is_left, readiness, until};
use crate::cli::longshore;
use longshore_testing::program::PYTHON_BACKTEST;
use longshore_testing::scene::Scene;
use longshore_testing::worker::settings_of_a_worker;

/// Puts a queue in the place of `name` that only its own connection may use; it goes with the channel's
/// connection.
async fn take_away(connection: &lapin::Connection, name: &str) {
    // A worker may be faster, and declare the queue again.
    until(&format!("{name} is ours"), async || {
        let channel = connection.create_channel().await.unwrap();
        let delete = QueueDeleteOptions::default();
        channel.queue_delete(name.into(), delete).await.unwrap();
        let exclusive = QueueDeclareOptions { exclusive: true, ..Default::default() };
        channel.queue_declare(name.into(), exclusive, FieldTable::default()).await.is_ok()
    })
    .await;
}

#[tokio::test]
async fn a_worker_that_cannot_consume_a_queue_is_not_ready_and_names_it_until_it_can() {
    let scene = Scene::new().await;
    let worker = scene.worker().await;
    let (code, report) = readiness(&worker).await;
    assert_eq!(code, 200, "{report:#}");
    let queue = format!("{}.stop", scene.namespace);
    let stranger = longshore_testing::servers::broker().await;
    take_away(&stranger, &queue).await;
    until("the worker says that it does not consume the queue", async || {
        let (code, report) = readiness(&worker).await;
        let checks = report["checks"].as_array().unwrap();
        let missing: Vec<_> = checks.iter().filter(|check| check["ok"] == false).collect();
        code == 503
            && missing.len() == 1
            && missing[0]["name"] == "inboxes"
            && missing[0]["detail"].as_str().unwrap().contains(&queue)
    })
    .await;
    stranger.close(200, "enough".into()).await.unwrap();
    until("the worker is ready again", async || readiness(&worker).await.0 == 200).await;
    nothing_is_left(scene, [worker]).await;
}

#[tokio::test]
async fn messages_that_wait_while_nobody_consumes_are_a_warning_of_doctor() {
    let scene = Scene::new().await;
    let settings = settings_of_a_worker(&scene.namespace, "doctor", &scene.temp_dir());
    let inboxes = async || {
        let mut command = longshore();
        command.envs(&settings).args(["doctor", "--output", "json"]);
        let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
        let findings: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
        findings.into_iter().filter(|one| one["check"] == "inboxes").collect::<Vec<_>>()
    };
    let mut worker = scene.worker().await;
    let well = inboxes().await;
    assert_eq!(well[0]["grade"], "ok", "{well:#?}");
    worker.stop().await;
    scene.start(&scene.job("waits", &PYTHON_BACKTEST, QUICK).await).await;
    let found = inboxes().await;
    assert_eq!((found.len(), &found[0]["grade"]), (1, &"warn".into()), "{found:#?}");
    let queue = format!("{}.start.terminating", scene.namespace);
    assert_eq!(found[0]["said"], format!("nobody consumes {queue}, where messages wait: 1"));
    let worker = scene.worker().await;
    scene.events.result_of(&scene.id("waits")).await.expect("succeeded");
    assert_eq!(inboxes().await[0]["grade"], "ok");
    nothing_is_left(scene, [worker]).await;
}

#[tokio::test]
async fn dead_letters_that_soon_have_no_room_are_a_warning_of_doctor() {
    let scene = Scene::new().await;
    let worker = scene.worker().await;
    let mut settings = settings_of_a_worker(&scene.namespace, "doctor", &scene.temp_dir());
    settings.insert("DEAD_LETTERS_MAX".to_owned(), "2".to_owned());
    let finding = async || {
        let mut command = longshore();
        command.envs(&settings).args(["doctor", "--output", "json"]);
        let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
        let findings: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
        findings.into_iter().find(|one| one["check"] == "dead").unwrap()
    };
    let well = finding().await;
    assert_eq!(well["grade"], "ok", "{well:#}");
    for body in ["1", "2"] {
        scene.publish("stop", body.as_bytes(), lapin::BasicProperties::default()).await;
    }
    until("doctor warns", async || {
        let full = finding().await;
        let said = full["said"].as_str().unwrap();
        full["grade"] == "warn"
            && said.contains("keeps 2 of at most 2")
            && said.contains("the oldest one goes")
    })
    .await;
    scene.dead_letters(2).await;
    nothing_is_left(scene, [worker]).await;
}
