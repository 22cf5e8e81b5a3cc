//! `longshore dead` against the real broker and a real worker.

use std::process::Output;

use lapin::options::{BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel};
use longshore::storage::Bucket;
use reqwest::Method;
use serde_json::{Value, json};

use super::client::on;
use super::{in_scene, json_of, text};
use crate::robustness::until;
use longshore_testing::archive::zip_of;
use longshore_testing::events::Seen;
use longshore_testing::program::PYTHON_BACKTEST;
use longshore_testing::rabbit::{Rabbit, within};
use longshore_testing::scene::Scene;
use longshore_testing::servers::Management;

/// What the program prints about the dead letters of a namespace.
fn dead(rabbit: &Rabbit, arguments: &[&str]) -> Output {
    let output = on(rabbit).arg("dead").args(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
    output
}

/// The message ids of the oldest letters.
fn listed(rabbit: &Rabbit, limit: &str) -> Vec<String> {
    let list = json_of(&dead(rabbit, &["list", "--limit", limit, "--output", "json"]));
    let id = |letter: &Value| letter["message_id"].as_str().unwrap().to_owned();
    list.as_array().unwrap().iter().map(id).collect()
}

/// Puts letters among the dead ones: as a worker does, or as anybody could.
async fn fill(rabbit: &Rabbit, reason: &str, count: usize) -> Vec<String> {
    let channel = rabbit.foreign_channel().await;
    let ids: Vec<_> = (0..count).map(|number| format!("m-{number}")).collect();
    for id in &ids {
        fill_with(rabbit, &channel, reason, id, "elsewhere").await;
    }
    ids
}

/// Puts one there, from a queue.
async fn fill_with(rabbit: &Rabbit, channel: &Channel, reason: &str, id: &str, queue: &str) {
    channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
    let exchange = format!("{}.dead", rabbit.settings.namespace);
    let long = |text: &str| AMQPValue::LongString(text.into());
    let mut headers = FieldTable::default();
    headers.insert("x-longshore-reason".into(), long(reason));
    headers.insert("x-longshore-queue".into(), long(queue));
    let properties = BasicProperties::default().with_message_id(id.into()).with_headers(headers);
    let options = BasicPublishOptions { mandatory: true, ..Default::default() };
    let body = b"{\"id\": \"\\u001b[2Jjob\"}";
    let (exchange, key) = (exchange.as_str().into(), "any".into());
    let sent = channel.basic_publish(exchange, key, options, body, properties);
    sent.await.unwrap().await.unwrap();
}

/// More often than a broker returns a message if nobody asks for more.
const LOOKS: usize = 23;

#[tokio::test]
async fn looking_at_dead_letters_again_and_again_loses_none_and_keeps_their_order() {
    let rabbit = Rabbit::new();
    drop(rabbit.declared().await);
    // A broker that is told of more returns than this at once puts some of them off.
    let ids = fill(&rabbit, "why", 150).await;
    for look in 0..LOOKS {
        assert_eq!(listed(&rabbit, "5"), ids[..5], "look {look}");
    }
    // All were looked at, and then only a few of them.
    for limit in ["200", "1", "5", "200"] {
        assert_eq!(listed(&rabbit, limit), ids[..limit.parse::<usize>().unwrap().min(ids.len())]);
    }
    let list = json_of(&dead(&rabbit, &["list", "--output", "json"]));
    for number in [0, 7] {
        dead(&rabbit, &["show", list[number]["key"].as_str().unwrap()]);
        assert_eq!(listed(&rabbit, "200"), ids, "after a look at {number}");
    }
    dead(&rabbit, &["purge", list[3]["key"].as_str().unwrap(), "--yes"]);
    assert_eq!(listed(&rabbit, "200"), [&ids[..3], &ids[4..]].concat());
    rabbit.clean_up().await;
}

#[tokio::test]
async fn a_queue_that_somebody_else_declared_loses_no_letter_either() {
    let rabbit = Rabbit::new();
    let channel = rabbit.foreign_channel().await;
    let queue = format!("{}.dead", rabbit.settings.namespace);
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
    let options = QueueDeclareOptions { durable: true, ..Default::default() };
    channel.queue_declare(queue.as_str().into(), options, arguments).await.unwrap();
    // It stays as it is, and is bound.
    drop(rabbit.declared().await);
    let ids = fill(&rabbit, "why", 4).await;
    for _ in 0..LOOKS {
        assert_eq!(listed(&rabbit, "2").len(), 2);
    }
    let mut left = listed(&rabbit, "100");
    left.sort_unstable();
    assert_eq!(left, ids);
    rabbit.clean_up().await;
}

#[tokio::test]
async fn a_strangers_letter_is_shown_safely_and_goes_nowhere_else() {
    let rabbit = Rabbit::new();
    let none = on(&rabbit).args(["dead", "list"]).output().unwrap();
    assert_eq!(none.status.code(), Some(1));
    assert!(text(&none.stderr).contains("a worker declares it"), "{}", text(&none.stderr));
    drop(rabbit.declared().await);
    let hostile =
        "\u{1b}]0;title\u{7}\nforged \u{202e} line that is longer than a row has room for";
    fill(&rabbit, hostile, 2).await;
    let shown = text(&dead(&rabbit, &["list"]).stdout);
    let is_safe = |shown: &str| !shown.contains(['\u{1b}', '\u{7}', '\u{202e}']);
    assert!(is_safe(&shown) && shown.lines().count() == 3, "{shown:?}");
    assert!(shown.lines().all(|line| line.chars().count() <= 80), "{shown}");
    let list = json_of(&dead(&rabbit, &["list", "--output", "json"]));
    let key = list[0]["key"].as_str().unwrap();
    let shown = text(&dead(&rabbit, &["show", key]).stdout);
    assert!(is_safe(&shown) && shown.contains("replay     is not possible: "), "{shown:?}");
    assert!(!shown.lines().any(|line| line.starts_with("forged")), "{shown}");

    let replayed = on(&rabbit).args(["dead", "replay", "--all"]).output().unwrap();
    assert_eq!(replayed.status.code(), Some(1));
    assert_eq!(text(&replayed.stderr).matches("it came from \"elsewhere\"").count(), 2);
    assert_eq!(listed(&rabbit, "100"), ["m-0", "m-1"]);
    for (arguments, code) in [(&["purge", "--all"][..], 2), (&["purge", "--yes"], 2)] {
        let refused = on(&rabbit).arg("dead").args(arguments).output().unwrap();
        assert_eq!(refused.status.code(), Some(code), "{}", text(&refused.stderr));
    }
    assert_eq!(text(&dead(&rabbit, &["purge", key, "--yes"]).stdout), "removed 1 dead letters\n");
    assert_eq!(listed(&rabbit, "100"), ["m-1"]);
    dead(&rabbit, &["purge", "--all", "--yes"]);
    assert_eq!(listed(&rabbit, "100"), [""; 0]);
    rabbit.clean_up().await;
}

/// A user of the broker's with these rights to write and read, and where it connects to.
async fn operator(rabbit: &Rabbit, [write, read]: [&str; 2]) -> (String, String) {
    let user = format!("{}-operator", rabbit.settings.namespace);
    let management = Management::new();
    let account = json!({ "password": "only-for-this-test", "tags": "" });
    management.call(Method::PUT, &format!("users/{user}"), Some(account)).await;
    let right = |name: &str| match name {
        "" => "^$".to_owned(),
        name => format!("^{}\\.{name}$", rabbit.settings.namespace),
    };
    let rights = json!({ "configure": "^$", "write": right(write), "read": right(read) });
    management.call(Method::PUT, &format!("permissions/%2f/{user}"), Some(rights)).await;
    let (_, place) = rabbit.settings.url.rsplit_once('@').unwrap();
    (format!("amqp://{user}:only-for-this-test@{place}"), user)
}

#[tokio::test]
async fn looking_takes_the_right_to_read_and_replaying_that_to_publish_jobs() {
    let rabbit = Rabbit::new();
    drop(rabbit.declared().await);
    let channel = rabbit.foreign_channel().await;
    fill_with(&rabbit, &channel, "why", "m-0", &format!("{}.stop", rabbit.settings.namespace))
        .await;
    let run = async |rights, arguments: &[&str]| {
        let (url, _) = operator(&rabbit, rights).await;
        on(&rabbit).env("AMQP_URL", url).arg("dead").args(arguments).output().unwrap()
    };
    let refused = run(["jobs", ""], &["list"]).await;
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused.stderr).contains("ACCESS_REFUSED"), "{}", text(&refused.stderr));
    let list = json_of(&run(["", "dead"], &["list", "--output", "json"]).await);
    let key = list[0]["key"].as_str().unwrap();
    let refused = run(["", "dead"], &["replay", key]).await;
    assert_eq!(refused.status.code(), Some(1));
    assert_eq!(listed(&rabbit, "100"), ["m-0"], "it stays");
    let replayed = run(["jobs", "dead"], &["replay", key]).await;
    assert_eq!(replayed.status.code(), Some(0), "{}", text(&replayed.stderr));
    assert_eq!(listed(&rabbit, "100"), [""; 0]);
    let (_, user) = operator(&rabbit, ["", ""]).await;
    Management::new().call(Method::DELETE, &format!("users/{user}"), None).await;
    rabbit.clean_up().await;
}

async fn letters(scene: &Scene) -> Vec<Value> {
    let arguments = ["dead", "list", "--output", "json"];
    let output = within(in_scene(scene).args(arguments).output()).await.unwrap();
    json_of(&output).as_array().unwrap().clone()
}

#[tokio::test]
async fn a_replayed_start_runs_and_one_that_is_still_bad_comes_back_once() {
    let scene = Scene::new().await;
    let worker = scene.worker().await;
    let source = "def main(id, config): return {'ran': True}";
    let key = format!("{}/late.zip", scene.namespace);
    let mut late = PYTHON_BACKTEST.message(&scene.id("late"), &key);
    // As the command line names it. Its run has ended.
    late["run_id"] = json!("run-1");
    scene.run(&late).await.expect("rejected");
    scene.publish("stop", b"{\"id\": 7}", BasicProperties::default()).await;
    until("both are dead letters", async || letters(&scene).await.len() == 2).await;

    let all = letters(&scene).await;
    let start = all.iter().find(|letter| letter["id"] == *scene.id("late")).unwrap();
    let name = start["key"].as_str().unwrap();
    assert_eq!(start["queue"], format!("{}.start.terminating", scene.namespace));
    let shown = within(in_scene(&scene).args(["dead", "show", name, "--body"]).output()).await;
    assert_eq!(text(&shown.unwrap().stdout), late.to_string());

    let same = ["dead", "replay", name, "--same-run"];
    assert!(within(in_scene(&scene).args(same).output()).await.unwrap().status.success());
    let is_end = |seen: &Seen| seen.id() == "run-1/result";
    scene.events.wait_for_nth("the old result again", 2, is_end).await;
    assert_eq!(letters(&scene).await.len(), 1, "an answered start is no dead letter");
    late["run_id"] = json!("run-2");
    scene.start(&late).await;
    until("it is a dead letter again", async || letters(&scene).await.len() == 2).await;

    // What was wrong is put right.
    scene.put_object(Bucket::Code, &key, zip_of(&[(PYTHON_BACKTEST.script, source)])).await;
    let replay = ["dead", "replay", "--all"];
    let output = within(in_scene(&scene).args(replay).output()).await.unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert_eq!(text(&output.stdout).lines().count(), 2, "each once: {}", text(&output.stdout));
    until("the run has succeeded", async || {
        let results = scene.events.results_of(&scene.id("late"));
        results.iter().any(|seen| seen.data()["verdict"] == "succeeded")
    })
    .await;
    // The stop is as bad as before.
    until("it is back", async || letters(&scene).await.len() == 1).await;
    let back = letters(&scene).await;
    assert_eq!(back[0]["queue"], format!("{}.stop", scene.namespace), "{back:#?}");
    let output = within(in_scene(&scene).args(["dead", "purge", "--all", "--yes"]).output()).await;
    assert!(output.unwrap().status.success());
    assert!(letters(&scene).await.is_empty());
    scene.finish([worker]).await;
}
