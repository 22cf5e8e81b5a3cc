//! `longshore logs -f`: what is stored and then what comes, each line once.

use std::process::{Command, Output, Stdio};
use std::time::Duration;

use lapin::options::{BasicGetOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use serde_json::json;
use tokio::time::sleep;

use super::stored_lines;
use crate::cli::{longshore, text};
use longshore_testing::program::{PYTHON_BACKTEST, PYTHON_BOT};
use longshore_testing::proxy::Proxy;
use longshore_testing::rabbit::{Rabbit, within};
use longshore_testing::scene::Scene;
use longshore_testing::{s3, servers};

/// Writes a numbered line every few moments, by turns on both outputs.
const BY_TURNS: &str = r#"
import sys, time
def main(id, config):
    number = 0
    while True:
        number += 1
        stream = sys.stderr if number % 3 == 0 else sys.stdout
        print(f"line {number}", file=stream, flush=True)
        time.sleep(0.02)
"#;

/// So long that no line reaches the store by the timer alone while a test runs.
const RARELY: (&str, &str) = ("LOG_INTERVAL_SECONDS", "600");

/// `longshore logs` on a scene's servers.
fn logs(scene: &Scene, id: &str, arguments: &[&str]) -> Command {
    let store = s3::settings();
    let mut command = longshore();
    command
        .env("AMQP_URL", servers::amqp_url())
        .env("AMQP_NAMESPACE", &scene.namespace)
        .env("MINIO_ENDPOINT", &store.endpoint)
        .env("MINIO_ACCESS_KEY", &store.access_key)
        .env("MINIO_SECRET_KEY", &store.secret_key)
        .env("MINIO_LOGS_BUCKET", &store.logs_bucket)
        .env("MINIO_STATE_BUCKET", &store.state_bucket)
        .args(["logs", id, "--bare"])
        .args(arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// Starts it; gives what it printed once it has ended.
fn spawned(mut command: Command) -> tokio::task::JoinHandle<Output> {
    tokio::task::spawn_blocking(move || command.output().unwrap())
}

fn numbers(output: &Output) -> Vec<u64> {
    let (shown, told) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{told}");
    let number = |line: &str| line.strip_prefix("line ").unwrap().parse().unwrap();
    shown.lines().map(number).collect()
}

#[tokio::test]
async fn what_is_stored_and_what_comes_is_shown_once_and_in_order_also_when_the_worker_is_killed() {
    let scene = Scene::new().await;
    let mut worker = scene.worker_with(&[RARELY]).await;
    let id = scene.id("follow");
    let message = scene.job("follow", &PYTHON_BOT, BY_TURNS).await;
    // It waits for a run that is to come.
    let early = spawned(logs(&scene, &id, &["-f"]));
    sleep(Duration::from_secs(1)).await;
    scene.start(&message).await;
    scene.events.wait_state(&id, "running").await;
    sleep(Duration::from_secs(2)).await;
    let late = spawned(logs(&scene, &id, &["-f"]));
    let errors = spawned(logs(&scene, &id, &["-f", "--stream", "stderr"]));
    let fresh = spawned(logs(&scene, &id, &["-f", "--tail", "0"]));
    sleep(Duration::from_secs(3)).await;
    worker.kill();
    worker.wait().await;
    sleep(Duration::from_secs(1)).await;
    let mut worker = scene.worker_with(&[RARELY]).await;
    sleep(Duration::from_secs(3)).await;
    let later = spawned(logs(&scene, &id, &["-f"]));
    sleep(Duration::from_secs(2)).await;
    scene.stop(&json!({ "id": id })).await;
    scene.events.result_of(&id).await.expect("stopped");

    let all: Vec<u64> = stored_lines(&scene.store, &id)
        .await
        .into_iter()
        .map(|(_, text)| text.strip_prefix("line ").unwrap().parse().unwrap())
        .collect();
    // The engine reads the two outputs apart, so that of two lines a later one may come first.
    let mut sorted = all.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, (1..=all.len() as u64).collect::<Vec<_>>());
    for follower in [early, late, later] {
        assert_eq!(numbers(&within(follower).await.unwrap()), all);
    }
    let errors = numbers(&within(errors).await.unwrap());
    assert_eq!(errors, all.iter().copied().filter(|number| number % 3 == 0).collect::<Vec<_>>());
    let fresh = numbers(&within(fresh).await.unwrap());
    assert!(!fresh.is_empty() && fresh.len() < all.len(), "it did not ask for what was stored");
    assert_eq!(fresh, all[all.len() - fresh.len()..]);
    worker.stop().await;
    scene.finish([]).await;
}

#[tokio::test]
async fn a_follower_that_loses_the_broker_for_a_moment_misses_nothing() {
    let scene = Scene::new().await;
    let worker = scene.worker().await;
    let id = scene.id("blink");
    scene.start(&scene.job("blink", &PYTHON_BOT, BY_TURNS).await).await;
    scene.events.wait_state(&id, "running").await;
    let rabbit = Rabbit::new();
    let proxy = Proxy::start(rabbit.addr().await).await;
    let follower = || {
        let mut command = logs(&scene, &id, &["-f"]);
        command.env("AMQP_URL", &rabbit.through(proxy.addr()).settings.url);
        command.env("AMQP_RECONNECT_MAX_SECONDS", "1");
        spawned(command)
    };
    let followers = [follower(), follower()];
    sleep(Duration::from_secs(2)).await;
    for _ in 0..2 {
        proxy.cut();
        sleep(Duration::from_secs(2)).await;
        proxy.restore();
        sleep(Duration::from_secs(3)).await;
    }
    proxy.cut();
    scene.stop(&json!({ "id": id })).await;
    scene.events.result_of(&id).await.expect("stopped");
    sleep(Duration::from_secs(1)).await;
    proxy.restore();
    let all = stored_lines(&scene.store, &id).await.len();
    for follower in followers {
        let mut shown = numbers(&within(follower).await.unwrap());
        shown.sort_unstable();
        assert_eq!(shown, (1..=all as u64).collect::<Vec<_>>());
    }
    scene.finish([worker]).await;
}

#[tokio::test]
async fn a_follower_that_begins_while_the_connection_comes_and_goes_misses_nothing() {
    let scene = Scene::new().await;
    let worker = scene.worker().await;
    let id = scene.id("flicker");
    scene.start(&scene.job("flicker", &PYTHON_BOT, BY_TURNS).await).await;
    scene.events.wait_state(&id, "running").await;
    let rabbit = Rabbit::new();
    let proxy = Proxy::start(rabbit.addr().await).await;
    let mut followers = Vec::new();
    for round in 0..12 {
        let mut command = logs(&scene, &id, &["-f"]);
        command.env("AMQP_URL", &rabbit.through(proxy.addr()).settings.url);
        command.env("AMQP_RECONNECT_MAX_SECONDS", "1");
        followers.push(spawned(command));
        // At another moment of its beginning each time.
        sleep(Duration::from_millis(200 + 80 * round)).await;
        proxy.cut();
        sleep(Duration::from_millis(50)).await;
        proxy.restore();
    }
    sleep(Duration::from_secs(3)).await;
    scene.stop(&json!({ "id": id })).await;
    scene.events.result_of(&id).await.expect("stopped");
    let all = stored_lines(&scene.store, &id).await.len();
    let mut followed = 0;
    for follower in followers {
        let output = within(follower).await.unwrap();
        // A command does not wait for a broker that cannot be reached when it begins.
        if text(&output.stderr).contains("cannot reach RabbitMQ") {
            continue;
        }
        let mut shown = numbers(&output);
        shown.sort_unstable();
        assert_eq!(shown, (1..=all as u64).collect::<Vec<_>>());
        followed += 1;
    }
    assert!(followed > 0, "no follower came as far as following");
    scene.finish([worker]).await;
}

#[tokio::test]
async fn following_a_run_that_has_ended_shows_its_log_and_ends() {
    let scene = Scene::new().await;
    let worker = scene.worker().await;
    let id = scene.id("over");
    let source = "def main(id, config):\n    print('line 1')\n    return 1\n";
    let message = scene.job("over", &PYTHON_BACKTEST, source).await;
    scene.run(&message).await.expect("succeeded");
    let follower = within(spawned(logs(&scene, &id, &["-f"]))).await.unwrap();
    let shown = text(&follower.stdout);
    assert_eq!(follower.status.code(), Some(0), "{}", text(&follower.stderr));
    assert!(shown.starts_with("line 1\n"), "{shown}");
    scene.finish([worker]).await;
}

#[tokio::test]
async fn a_log_without_a_listener_is_not_sent() {
    let scene = Scene::new().await;
    let worker = scene.worker_with(&[("LOG_INTERVAL_SECONDS", "1")]).await;
    let id = scene.id("unheard");
    // Bound, but without a word to the workers.
    let options = QueueDeclareOptions { exclusive: true, auto_delete: true, ..Default::default() };
    let queue = scene.channel().queue_declare("".into(), options, FieldTable::default()).await;
    let queue = queue.unwrap().name().clone();
    let exchange = format!("{}.logs", scene.namespace);
    let (bind, arguments) = (QueueBindOptions::default(), FieldTable::default());
    let bound = scene
        .channel()
        .queue_bind(queue.clone(), exchange.as_str().into(), "#".into(), bind, arguments)
        .await;
    bound.unwrap();
    scene.start(&scene.job("unheard", &PYTHON_BOT, BY_TURNS).await).await;
    scene.logged(&id, "line 50").await;
    let get = || scene.channel().basic_get(queue.clone(), BasicGetOptions { no_ack: true });
    assert!(get().await.unwrap().is_none());

    let follower = spawned(logs(&scene, &id, &["-f"]));
    let mut heard = None;
    within(async {
        while heard.is_none() {
            heard = get().await.unwrap();
            sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    let key = heard.unwrap().delivery.routing_key.to_string();
    assert!(key.ends_with(&format!(".bot.{id}")), "{key}");
    scene.stop(&json!({ "id": id })).await;
    scene.events.result_of(&id).await.expect("stopped");
    assert!(!numbers(&within(follower).await.unwrap()).is_empty());
    scene.finish([worker]).await;
}

#[tokio::test]
async fn lines_since_a_moment_and_the_last_ones_are_shown() {
    let scene = Scene::new().await;
    let worker = scene.worker().await;
    let id = scene.id("since");
    scene.start(&scene.job("since", &PYTHON_BOT, BY_TURNS).await).await;
    scene.logged(&id, "line 20").await;
    scene.stop(&json!({ "id": id })).await;
    scene.events.result_of(&id).await.expect("stopped");
    let shown = async |arguments: &[&str]| {
        numbers(&within(spawned(logs(&scene, &id, arguments))).await.unwrap())
    };
    let all = shown(&[]).await;
    assert_eq!(shown(&["--since", "1h"]).await, all);
    assert!(shown(&["--since", "0s"]).await.is_empty());
    assert_eq!(shown(&["--tail", "3"]).await, all[all.len() - 3..]);
    scene.finish([worker]).await;
}
