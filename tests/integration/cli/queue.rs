//! `longshore queue`, and what `longshore start` says about a start that waits.

use serde_json::{Value, json};

use super::client::on;
use super::{in_scene, json_of, text};
use crate::robustness::until;
use longshore_testing::least_rights::Publisher;
use longshore_testing::program::{PYTHON_BOT, PYTHON_TICKER};
use longshore_testing::rabbit::{Rabbit, within};
use longshore_testing::scene::Scene;

const START: [&str; 7] = ["start", "--id", "run-1", "--file", "main.py", "--code", "a.zip"];

/// What the program prints in a scene.
async fn said(scene: &Scene, arguments: &[&str]) -> String {
    let output = within(in_scene(scene).args(arguments).output()).await.unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout)
}

async fn queue(scene: &Scene) -> Value {
    let output =
        within(in_scene(scene).args(["queue", "--output", "json"]).output()).await.unwrap();
    json_of(&output)
}

/// How many messages wait in a queue, and how many consumers it has.
fn depth(queue: &Value, name: &str) -> (Value, Value) {
    let queues = queue["queues"].as_array().unwrap();
    let is_it = |one: &&Value| one["queue"].as_str().unwrap().ends_with(name);
    let one = queues.iter().find(is_it).unwrap_or_else(|| panic!("{name}: {queue:#}"));
    (one["waiting"].clone(), one["consumers"].clone())
}

#[tokio::test]
async fn a_start_without_a_worker_says_so_to_a_publisher_with_the_least_rights() {
    let rabbit = Rabbit::new();
    let none = on(&rabbit).arg("queue").output().unwrap();
    let expected = "there are no queues yet: the first worker makes them\n";
    assert_eq!((none.status.code(), text(&none.stdout)), (Some(0), expected.to_owned()));

    drop(rabbit.declared().await);
    let publisher = Publisher::new(&rabbit.settings.namespace).await;
    let start = |arguments: &[&str]| {
        let mut command = on(&rabbit);
        command.env("AMQP_URL", publisher.url()).args(START).args(arguments);
        command.output().unwrap()
    };
    let output = start(&[]);
    let shown = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(shown.starts_with("queued run-1 (run "), "{shown}");
    assert!(shown.ends_with("): no worker is connected\n"), "{shown}");
    assert_eq!(json_of(&start(&["--output", "json"]))["waits_because"], "no worker is connected");

    let mut waiting = on(&rabbit);
    waiting.args(START).args(["--wait", "--wait-timeout", "2"]);
    let told = text(&waiting.output().unwrap().stderr);
    assert!(told.starts_with("longshore: queued: no worker is connected\n"), "{told}");

    let output = on(&rabbit).env("AMQP_URL", publisher.url()).arg("queue").output().unwrap();
    let shown = text(&output.stdout);
    assert!(shown.ends_with("\nno worker is connected, and 3 starts wait\n"), "{shown}");
    assert!(shown.lines().all(|line| line.chars().count() <= 80), "{shown}");
    publisher.remove().await;
    rabbit.clean_up().await;
}

#[tokio::test]
async fn a_start_without_room_says_so_and_how_many_wait() {
    let scene = Scene::new().await;
    let worker = scene.worker_with(&[("MAX_LONG_RUNNING", "1")]).await;
    until("the worker has room", async || {
        let queue = queue(&scene).await;
        queue["said"] == "no start waits; 1 worker is connected"
            && depth(&queue, ".start.long-running").1 == 1
    })
    .await;
    let path = scene.folder().join("start.json");
    let path = path.to_str().unwrap();
    let start = async |name: &str| {
        let message = scene.job(name, &PYTHON_BOT, PYTHON_TICKER).await;
        std::fs::write(path, message.to_string()).unwrap();
        said(&scene, &["start", path]).await
    };
    let first = start("first").await;
    assert!(first.ends_with(")\n"), "it was taken at once: {first}");
    scene.events.wait_state(&scene.id("first"), "running").await;
    for (name, waiting) in [("second", "1 start waits"), ("third", "2 starts wait")] {
        let told = start(name).await;
        let why = format!("): no worker has room for long-running jobs, and {waiting}\n");
        assert!(told.ends_with(&why), "{told}");
    }
    let full = queue(&scene).await;
    assert_eq!(full["said"], "no worker has room for long-running jobs, and 2 starts wait");
    assert_eq!(full["workers"], 1);
    assert_eq!(depth(&full, ".start.long-running"), (json!(2), json!(0)), "{full:#}");
    assert_eq!(depth(&full, ".stop"), (json!(0), json!(1)), "{full:#}");
    assert_eq!(depth(&full, ".dead"), (json!(0), Value::Null), "{full:#}");
    assert_eq!(depth(&full, ".retry.1s"), (json!(0), Value::Null), "{full:#}");

    for name in ["first", "second", "third"] {
        let id = scene.id(name);
        scene.events.wait_state(&id, "running").await;
        scene.stop(&json!({ "id": id })).await;
        scene.events.result_of(&id).await.expect("stopped");
    }
    scene.finish([worker]).await;
}
