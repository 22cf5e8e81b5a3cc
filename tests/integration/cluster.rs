//! A broker of three nodes, of which any one may be missing.

mod load;
mod long_round;

use serde_json::Value;

use self::load::Load;
use crate::cli::{longshore, text};
use crate::robustness::{counter, identity, nothing_is_left, readiness, until};
use longshore_testing::own_cluster::{NODES, OwnCluster, PASSWORD};
use longshore_testing::program::PYTHON_BOT;
use longshore_testing::scene::Scene;
use longshore_testing::worker::Worker;

/// The default, unlike in other tests: it is what must be enough.
const GRACE: (&str, &str) = ("SEGMENT_GRACE_SECONDS", "15");

/// The nodes to which a worker was connected one after the other, for work or for locks.
fn nodes_of(cluster: &OwnCluster, worker: &Worker, purpose: &str) -> Vec<usize> {
    let log = worker.log();
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let connected = lines.filter_map(|line| {
        let fields = if line["fields"].is_object() { &line["fields"] } else { &line };
        let is_meant = fields["message"] == "connected to RabbitMQ" && fields["purpose"] == purpose;
        is_meant.then(|| cluster.node_in(fields["broker"].as_str().unwrap()).unwrap())
    });
    connected.collect()
}

/// The node to which a worker was connected last.
fn node_of(cluster: &OwnCluster, worker: &Worker, purpose: &str) -> usize {
    *nodes_of(cluster, worker, purpose).last().unwrap()
}

/// Waits until a worker works again, without this node.
async fn works_without(cluster: &OwnCluster, worker: &Worker, node: usize) {
    until(&format!("the worker is ready without node {node}"), async || {
        let elsewhere =
            ["work", "locks"].iter().all(|purpose| node_of(cluster, worker, purpose) != node);
        elsewhere && readiness(worker).await.0 == 200
    })
    .await;
}

/// `longshore doctor` says which node does not answer, and that the others do.
fn doctor_names(cluster: &OwnCluster, node: usize) {
    let mut command = longshore();
    command.env("AMQP_URL", cluster.urls()).args(["doctor", "--output", "json"]);
    let output = command.output().unwrap();
    let findings: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    let hosts: Vec<_> = findings.iter().filter(|one| one["check"] == "broker").collect();
    assert_eq!(hosts.len(), NODES, "{findings:#?}");
    for (number, host) in hosts.into_iter().enumerate() {
        let grade = if number == node { "warn" } else { "ok" };
        assert_eq!(host["grade"], grade, "{host:#}");
        let said = host["said"].as_str().unwrap();
        assert_eq!(cluster.node_in(said), Some(number), "{host:#}");
        assert!(!said.contains(PASSWORD), "{host:#}");
    }
}

#[tokio::test]
async fn a_worker_goes_on_while_any_one_node_of_three_is_killed_restarted_cut_off_or_frozen() {
    let scene = Scene::new().await;
    let mut cluster = OwnCluster::start(&scene.docker, &scene.namespace, scene.folder()).await;
    let worker = scene.worker_with(&[("AMQP_URL", &cluster.urls()), GRACE]).await;
    let bot = scene.id("bot");
    let message = counter(&scene, "bot", &PYTHON_BOT, None).await;
    cluster.events.publish("start.long-running", &message).await;
    cluster.events.wait_for("status running", crate::robustness::says(&bot, "running")).await;
    let before = identity(&scene, &bot).await;
    let load = Load::begin(&scene, &cluster).await;

    let node = node_of(&cluster, &worker, "locks");
    cluster.kill(node).await;
    works_without(&cluster, &worker, node).await;
    doctor_names(&cluster, node);
    cluster.start_again(node).await;
    assert_eq!(identity(&scene, &bot).await, before, "restarted after a node was killed");

    for node in 0..NODES {
        cluster.stop(node).await;
        works_without(&cluster, &worker, node).await;
        cluster.start_again(node).await;
    }
    assert_eq!(identity(&scene, &bot).await, before, "restarted by a rolling restart");

    let node = node_of(&cluster, &worker, "locks");
    cluster.cut_off(node).await;
    works_without(&cluster, &worker, node).await;
    cluster.rejoin(node).await;
    assert_eq!(identity(&scene, &bot).await, before, "restarted after a node was cut off");

    let node = node_of(&cluster, &worker, "locks");
    cluster.freeze(node).await;
    works_without(&cluster, &worker, node).await;
    cluster.thaw(node).await;
    assert_eq!(identity(&scene, &bot).await, before, "restarted after a node was frozen");

    let jobs = load.end().await;
    let reckoned = load::reckon(&mut cluster, &jobs).await;
    assert_eq!((reckoned.lost, reckoned.twice), (vec![], vec![]), "of {} jobs", jobs.len());
    // A command finds a node that answers, too.
    cluster.kill(0).await;
    let mut stop = longshore();
    stop.env("AMQP_URL", cluster.urls())
        .env("AMQP_NAMESPACE", &scene.namespace)
        .args(["stop", &bot]);
    let output = stop.output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let result = cluster.events.result_of(&bot).await;
    assert_eq!(result.expect("stopped")["attempt"], 1);
    nothing_is_left(scene, [worker]).await;
}
