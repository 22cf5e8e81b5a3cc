//! A worker that starts where something is missing, or is not as it should be.

use lapin::options::{ConfirmSelectOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use longshore::storage::Bucket;
use serde_json::Value;

use super::{QUICK, nothing_is_left, until};
use longshore_testing::gates::GatedLine;
use longshore_testing::program::PYTHON_BACKTEST;
use longshore_testing::proxy::Proxy;
use longshore_testing::s3;
use longshore_testing::scene::Scene;
use longshore_testing::worker::Worker;

/// The lines of a worker's log that have `text` in their message.
fn lines_with(worker: &Worker, text: &str) -> Vec<Value> {
    let log = worker.log();
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.filter(|line| line.to_string().contains(text)).collect()
}

#[tokio::test]
async fn a_store_that_is_not_there_yet_is_waited_for_with_a_line_a_try() {
    let scene = Scene::new().await;
    let store = Proxy::start(s3::addr().await).await;
    store.cut();
    let address = store.addr().to_string();
    let settings = [("MINIO_ENDPOINT", address.as_str()), ("STORE_MAX_ATTEMPTS", "1")];
    let mut worker = scene.spawn_worker(&settings);
    until("the worker has tried three times", async || {
        lines_with(&worker, "object store").len() >= 3
    })
    .await;
    for line in lines_with(&worker, "object store") {
        assert_eq!(line["level"], "WARN", "{line}");
    }
    store.restore();
    worker.ready().await;
    let message = scene.job("job", &PYTHON_BACKTEST, QUICK).await;
    scene.run(&message).await.expect("succeeded");
    nothing_is_left(scene, [worker]).await;
}

#[tokio::test]
async fn a_store_that_ignores_conditions_is_warned_of_once_with_what_is_lost_by_it() {
    let scene = Scene::new().await;
    let store = GatedLine::start(s3::addr().await).await;
    let address = store.addr().to_string();
    let settings = [("MINIO_ENDPOINT", address.as_str())];
    let ignored = "the object store ignores";
    let mut good = scene.worker_with(&settings).await;
    assert_eq!(lines_with(&good, ignored), Vec::<Value>::new());
    good.stop().await;

    store.forgive(&format!("/{}/probes/", scene.namespace));
    let worker = scene.worker_with(&settings).await;
    let said = lines_with(&worker, ignored);
    assert_eq!(said.len(), 1, "{said:#?}");
    assert_eq!(said[0]["level"], "WARN", "{said:#?}");
    for part in ["If-None-Match and If-Match", "two workers could take the same job"] {
        assert!(said[0].to_string().contains(part), "{said:#?}");
    }
    let probes = format!("{}/probes/", scene.namespace);
    assert_eq!(scene.objects(Bucket::State, &probes).await, [""; 0], "what it tried out is left");
    nothing_is_left(scene, [worker]).await;
}

#[tokio::test]
async fn a_worker_warns_once_that_jobs_may_have_the_network_of_broker_and_store() {
    let scene = Scene::new().await;
    let exposed = "strangers' code could do harm";
    let mut open = scene.worker().await;
    let said = lines_with(&open, exposed);
    assert_eq!(said.len(), 1, "{said:#?}");
    assert_eq!(said[0]["level"], "WARN", "{said:#?}");
    for part in
        ["(AMQP_URL)", "(MINIO_ENDPOINT)", "BOT_NETWORK=bridge", "BOT_ALLOWED_NETWORKS=bridge"]
    {
        assert!(said[0].to_string().contains(part), "{said:#?}");
    }
    open.stop().await;
    let closed = [("BOT_NETWORK", "bridge"), ("BOT_ALLOWED_NETWORKS", "bridge,none")];
    let worker = scene.worker_with(&closed).await;
    assert_eq!(lines_with(&worker, exposed), Vec::<Value>::new());
    nothing_is_left(scene, [worker]).await;
}

#[tokio::test]
async fn sigterm_ends_a_worker_that_still_waits_for_store_or_broker() {
    let scene = Scene::new().await;
    let nobody = Proxy::start(s3::addr().await).await;
    nobody.cut();
    let address = nobody.addr().to_string();
    let url = format!("amqp://longshore:longshore@{address}/%2f");
    for (setting, said) in
        [(("MINIO_ENDPOINT", address.as_str()), "object store"), (("AMQP_URL", &url), "RabbitMQ")]
    {
        let mut worker = scene.spawn_worker(&[setting]);
        until("the worker has tried", async || !lines_with(&worker, said).is_empty()).await;
        worker.stop().await;
    }
    nothing_is_left(scene, []).await;
}

/// A worker must end by itself, with one sentence that names the queue.
async fn ends_because_of(queue: &str) {
    let scene = Scene::new().await;
    let channel = scene.connection.create_channel().await.unwrap();
    channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
    let name = format!("{}.{queue}", scene.namespace);
    let durable = QueueDeclareOptions { durable: true, ..Default::default() };
    let mut arguments = FieldTable::default();
    arguments.insert("x-max-length".into(), AMQPValue::LongLongInt(7));
    channel.queue_declare(name.as_str().into(), durable, arguments).await.unwrap();

    let mut worker = scene.spawn_worker(&[]);
    assert_eq!(worker.wait().await.code(), Some(1), "{}", worker.log());
    let log = worker.log();
    let last = log.lines().last().unwrap_or_default();
    assert!(last.contains(&format!("queue \"{name}\" exists already and differs")), "{log}");
    nothing_is_left(scene, []).await;
}

#[tokio::test]
async fn a_work_queue_of_another_shape_ends_the_worker_with_its_name() {
    Box::pin(ends_because_of("start.terminating")).await;
}

#[tokio::test]
async fn a_mailbox_of_another_shape_ends_the_worker_with_its_name() {
    Box::pin(ends_because_of("segment.0")).await;
}
