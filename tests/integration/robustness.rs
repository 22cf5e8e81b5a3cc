//! What must hold when things go wrong: many jobs at once, stops in any order, a broker or a store
//! that goes away, workers that end well or badly.
//!
//! Each test ends with [`nothing_is_left`]: no container, directory, message or open journal entry.

mod chaos;
mod crashes;
mod cut_anywhere;
mod earlier_runs;
mod ended_from_outside;
mod inboxes;
mod interleavings;
mod killed_at_the_end;
mod many;
mod outage_of_broker;
mod outage_of_store;
mod restarts;
mod retries;
mod sick_engine;
mod sick_store;
mod sick_worker;
mod slow_readers;
mod start_up;
mod stops;
mod store_requests;
mod two_engines;

pub(crate) use self::outage_of_broker::through_proxy;

use std::time::Duration;

use futures_util::future::LocalBoxFuture;
use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;
use longshore::storage::Bucket;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use longshore_testing::engine;
use longshore_testing::events::{PATIENCE, Seen};
use longshore_testing::program::Program;
use longshore_testing::scene::Scene;
use longshore_testing::servers::Management;
use longshore_testing::worker::Worker;

/// A Python program that says `line 1`, `line 2`, … for as long as it runs: for `seconds` of its
/// config, or for ever. It returns how many.
const COUNTER: &str = r#"
import time
def main(id, config):
    end = time.monotonic() + config.get("seconds", 1e9)
    number = 0
    while time.monotonic() < end:
        number += 1
        print(f"line {number}", flush=True)
        time.sleep(0.02)
    return {"lines": number}
"#;

const QUICK: &str = "def main(id, config): return {'id': id}";

/// A start message of a counter; a terminating one counts for `seconds`.
pub(crate) async fn counter(
    scene: &Scene,
    name: &str,
    program: &Program,
    seconds: Option<u32>,
) -> Value {
    let mut message = scene.job(name, program, COUNTER).await;
    if let Some(seconds) = seconds {
        message["config"] = json!({ "seconds": seconds });
    }
    message
}

/// Checks that a log has every line of a counter from the first on, once and in order; gives how
/// many.
#[track_caller]
pub(crate) fn assert_counted(log: &str) -> usize {
    let mut expected = 1;
    for line in log.lines() {
        // Anything else may be what Python says of a program that is ended.
        let number = line.rsplit_once("line ");
        let number: Option<usize> = number.and_then(|(_, number)| number.trim().parse().ok());
        let Some(number) = number else { continue };
        assert_eq!(number, expected, "a line is missing or repeated; the log:\n{log}");
        expected += 1;
    }
    assert!(expected > 1, "no line is in the log: {log}");
    expected - 1
}

/// Checks that a job gave one result, and with which verdict.
#[track_caller]
pub(crate) fn assert_one_result(scene: &Scene, id: &str, verdict: &str) {
    let results = scene.events.results_of(id);
    assert_eq!(results.len(), 1, "results of {id}: {results:#?}");
    results[0].expect(verdict);
}

/// Waits until `is_so`.
pub(crate) async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let begun = Instant::now();
    while !is_so().await {
        assert!(begun.elapsed() < PATIENCE, "not within {} s: {what}", PATIENCE.as_secs());
        sleep(Duration::from_millis(100)).await;
    }
}

/// What a worker's readiness check says, code and body.
pub(crate) async fn readiness(worker: &Worker) -> (u16, Value) {
    let answer = reqwest::get(format!("http://{}/readyz", worker.http())).await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

/// Waits until a worker says that it misses `name`, and nothing that `name` does not imply.
async fn until_missing(worker: &Worker, name: &str, implied: &[&str]) {
    until(&format!("the worker misses its {name}"), async || {
        let (code, report) = readiness(worker).await;
        let checks = report["checks"].as_array().unwrap();
        let missing: Vec<_> = checks.iter().filter(|check| check["ok"] == false).collect();
        let is_meant = |check: &&Value| check["name"] == name;
        let is_implied = |check: &&Value| implied.iter().any(|other| check["name"] == *other);
        assert!(missing.iter().all(|one| is_meant(one) || is_implied(one)), "{report:#}");
        code == 503 && missing.iter().any(is_meant)
    })
    .await;
}

/// The id of a job's one container and when it was started, which tell whether it is the same.
pub(crate) async fn identity(scene: &Scene, id: &str) -> (String, String) {
    let container = scene.container_of(id).await;
    let started_at = container.state.unwrap().started_at.unwrap();
    (container.id.unwrap(), started_at)
}

/// Waits until no container of a job runs.
async fn until_ended(scene: &Scene, id: &str) {
    until(&format!("the container of {id} has ended"), async || {
        let labels = [("runtime.namespace", scene.namespace.as_str()), ("runtime.id", id)];
        for container in engine::with_labels(&scene.docker, &labels).await {
            if engine::is_running(&scene.docker, &container).await {
                return false;
            }
        }
        true
    })
    .await;
}

/// Ends a scene: no job may be open in the journal, no message may wait in a queue, and no
/// container or directory may be left.
pub(crate) fn nothing_is_left(
    scene: Scene,
    workers: impl IntoIterator<Item = Worker> + 'static,
) -> LocalBoxFuture<'static, ()> {
    Box::pin(async move {
        let index = format!("{}/segments/", scene.namespace);
        until("the journal has no open job", async || {
            scene.objects(Bucket::State, &index).await.is_empty()
        })
        .await;
        no_message_is_left(&scene).await;
        scene.finish(workers).await;
    })
}

/// Waits until no message is in a queue of the scene. Not at once: a start whose ack was lost may have
/// come again just before its run's end was tidied up, and is then put aside for a moment.
async fn no_message_is_left(scene: &Scene) {
    let prefix = format!("{}.", scene.namespace);
    let channel = scene.connection.create_channel().await.unwrap();
    for queue in Management::new().names("queues", &prefix).await.unwrap() {
        // The lock belongs to its worker alone.
        if !queue.ends_with(".lock") {
            until(&format!("no message is left in {queue}"), async || {
                let passive = QueueDeclareOptions { passive: true, ..Default::default() };
                let name = queue.as_str().into();
                let found = channel.queue_declare(name, passive, FieldTable::default()).await;
                found.unwrap().message_count() == 0
            })
            .await;
        }
    }
}

/// Whether an event is about a job and in a state.
pub(crate) fn says<'a>(id: &'a str, state: &'a str) -> impl Fn(&Seen) -> bool + 'a {
    move |seen| seen.subject() == Some(id) && seen.state() == Some(state)
}
