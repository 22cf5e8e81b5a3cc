//! Ten minutes in which a node of three is killed, restarted, cut off or frozen every 30 s, under
//! load.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::load::{self, Load};
use super::{GRACE, node_of, works_without};
use crate::robustness::{counter, identity, nothing_is_left, says};
use longshore_testing::own_cluster::{NODES, OwnCluster};
use longshore_testing::program::PYTHON_BOT;
use longshore_testing::scene::Scene;

/// The time from one fault to the next.
const EVERY: Duration = Duration::from_secs(30);

/// How many faults there are.
const FAULTS: usize = 20;

/// How many bots run all the time.
const BOTS: usize = 4;

#[tokio::test]
#[ignore = "ten minutes"]
async fn a_node_that_goes_every_30_seconds_loses_no_job_and_restarts_no_bot() {
    let scene = Scene::new().await;
    let mut cluster = OwnCluster::start(&scene.docker, &scene.namespace, scene.folder()).await;
    let url = cluster.urls();
    // Two workers of one host, so that most faults hit one of them and not the other.
    let settings = [("AMQP_URL", url.as_str()), GRACE];
    let workers = [scene.worker_with(&settings).await, scene.worker_with(&settings).await];
    let bots: Vec<_> = (0..BOTS).map(|number| scene.id(&format!("bot-{number}"))).collect();
    let mut before = Vec::new();
    for (number, id) in bots.iter().enumerate() {
        let message = counter(&scene, &format!("bot-{number}"), &PYTHON_BOT, None).await;
        cluster.events.publish("start.long-running", &message).await;
        cluster.events.wait_for("status running", says(id, "running")).await;
        before.push(identity(&scene, id).await);
    }
    let load = Load::begin(&scene, &cluster).await;
    let begun = Instant::now();
    for fault in 0..FAULTS {
        sleep_until(begun + EVERY * u32::try_from(fault).unwrap()).await;
        // Every other fault hits the node that the first worker holds its segment by.
        let node =
            if fault % 2 == 0 { node_of(&cluster, &workers[0], "locks") } else { fault % NODES };
        let kind = ["killed", "stopped", "cut off", "frozen"][fault / 2 % 4];
        eprintln!("{:4} s: node {node} is {kind}", begun.elapsed().as_secs());
        match kind {
            "killed" => cluster.kill(node).await,
            "stopped" => cluster.stop(node).await,
            "cut off" => cluster.cut_off(node).await,
            _ => cluster.freeze(node).await,
        }
        for worker in &workers {
            works_without(&cluster, worker, node).await;
        }
        match kind {
            "killed" | "stopped" => cluster.start_again(node).await,
            "cut off" => cluster.rejoin(node).await,
            _ => cluster.thaw(node).await,
        }
    }
    let jobs = load.end().await;
    let reckoned = load::reckon(&mut cluster, &jobs).await;
    let mut restarted = Vec::new();
    for (id, before) in bots.iter().zip(before) {
        if identity(&scene, id).await != before {
            restarted.push(id);
        }
    }
    let load::Reckoned { lost, twice } = &reckoned;
    eprintln!(
        "{} s, {FAULTS} faults: jobs {}, lost {}, run twice {}, bots restarted {} of {BOTS}",
        begun.elapsed().as_secs(),
        jobs.len(),
        lost.len(),
        twice.len(),
        restarted.len()
    );
    assert_eq!((lost.len(), twice.len(), restarted.len()), (0, 0, 0), "{reckoned:?} {restarted:?}");
    for id in &bots {
        cluster.events.publish("stop", &serde_json::json!({ "id": id })).await;
    }
    for id in &bots {
        cluster.events.result_of(id).await.expect("stopped");
    }
    nothing_is_left(scene, workers).await;
}
