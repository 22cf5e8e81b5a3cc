//! Containers that are started before there is a job for them.

mod crashes;
mod handover;
mod same;

use std::time::Duration;

use longshore_testing::events::{PATIENCE, Seen};
use longshore_testing::scene::Scene;
use longshore_testing::worker::Worker;
use serde_json::Value;
use tokio::time::{Instant, sleep};

/// Other runtimes whose images a machine may have.
const NO_OTHERS: &str = r#"{"python3.12": {"warm": 0}, "python3.13": {"warm": 0}, "nodejs22": {"warm": 0}, "nodejs24": {"warm": 0}}"#;

/// Settings of a worker with so many waiting containers of each of the two runtimes that every
/// machine has.
pub(crate) fn of_each(count: &str) -> [(&str, &str); 2] {
    [("WARM_CONTAINERS", count), ("BOT_RUNTIMES", NO_OTHERS)]
}

/// Waits until so many containers wait for a job of this worker. Gives their ids.
pub(crate) async fn waiting(scene: &Scene, worker: &Worker, count: usize) -> Vec<String> {
    let begun = Instant::now();
    loop {
        let (waiting, log) = (scene.waiting().await, worker.log());
        let said = |id: &str| {
            log.lines().any(|line| line.contains("waits for a job") && line.contains(id))
        };
        if waiting.len() == count && waiting.iter().all(|id| said(id)) {
            return waiting;
        }
        assert!(begun.elapsed() < PATIENCE, "{} containers wait, not {count}", waiting.len());
        sleep(Duration::from_millis(50)).await;
    }
}

fn container_of(result: &Seen) -> String {
    result.data()["container_id"].as_str().unwrap_or_default().to_owned()
}

/// Runs a job in one of the containers that wait: two of each runtime.
async fn run_warm(scene: &Scene, worker: &Worker, message: &Value) -> Seen {
    let waiting = waiting(scene, worker, 4).await;
    let result = scene.run(message).await;
    assert!(waiting.contains(&container_of(&result)), "it ran cold: {:#}", result.event);
    result
}
