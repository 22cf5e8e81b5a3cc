//! A broker that goes away and comes back, with jobs running.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::sleep;

use super::{
    QUICK, assert_counted, assert_one_result, counter, identity, nothing_is_left, readiness, says,
    until, until_ended, until_missing,
};
use longshore::storage::Bucket;
use longshore_testing::engine;
use longshore_testing::own_broker::OwnBroker;
use longshore_testing::program::{NODE_BOT, NODE_TICKER, PYTHON_BACKTEST, PYTHON_BOT};
use longshore_testing::proxy::Proxy;
use longshore_testing::rabbit::Rabbit;
use longshore_testing::s3;
use longshore_testing::scene::Scene;
use longshore_testing::servers::amqp_url;
use longshore_testing::worker::Worker;

/// The URL of the tests' broker, through a proxy.
pub(crate) async fn through_proxy() -> (Proxy, String) {
    let proxy = Proxy::start(Rabbit::new().addr().await).await;
    let url = amqp_url();
    let (credentials, path) = url.split_once('@').unwrap();
    let vhost = path.split_once('/').map_or("", |(_, vhost)| vhost);
    let through = format!("{credentials}@{}/{vhost}", proxy.addr());
    (proxy, through)
}

/// A worker that was cut off from the broker while it runs a backtest, which ends within seconds.
pub(super) async fn cut_off_with_a_backtest(scene: &Scene) -> (Worker, Proxy, String) {
    let (proxy, url) = through_proxy().await;
    let worker = scene.worker_with(&[("AMQP_URL", &url)]).await;
    let message = counter(scene, "ends", &PYTHON_BACKTEST, Some(4)).await;
    let id = scene.id("ends");
    scene.start(&message).await;
    scene.events.wait_state(&id, "running").await;
    proxy.cut();
    (worker, proxy, id)
}

/// What a worker misses beside the broker when that is away.
const IMPLIED: &[&str] = &["segment", "inboxes"];

#[tokio::test]
async fn a_worker_outlives_its_broker_and_says_afterwards_what_happened_meanwhile() {
    let scene = Scene::new().await;
    let mut broker = OwnBroker::create(&scene.docker, &scene.namespace).await;
    let url = broker.url();
    // Nobody listens there yet.
    let mut worker = scene.spawn_worker(&[("AMQP_URL", &url)]);
    until("the worker has tried twice", async || {
        worker.log().matches("could not connect to RabbitMQ").count() >= 2
    })
    .await;
    broker.start().await;
    worker.ready().await;

    let bots = [
        counter(&scene, "py-bot", &PYTHON_BOT, None).await,
        scene.job("js-bot", &NODE_BOT, NODE_TICKER).await,
    ];
    let backtest = counter(&scene, "ends", &PYTHON_BACKTEST, Some(8)).await;
    let (bot_ids, id) = ([scene.id("py-bot"), scene.id("js-bot")], scene.id("ends"));
    for bot in &bots {
        broker.publish("start.long-running", bot).await;
    }
    broker.publish("start.terminating", &backtest).await;
    for id in bot_ids.iter().chain([&id]) {
        broker.wait_for("status running", says(id, "running")).await;
    }
    let before = [identity(&scene, &bot_ids[0]).await, identity(&scene, &bot_ids[1]).await];

    broker.stop().await;
    until_missing(&worker, "broker", IMPLIED).await;
    until_ended(&scene, &id).await;
    sleep(Duration::from_secs(2)).await;
    for (container, _) in &before {
        assert!(engine::is_running(&scene.docker, container).await);
    }
    broker.start().await;
    until("the worker is ready again", async || readiness(&worker).await.0 == 200).await;

    let result = broker.result_of(&id).await;
    let lines = assert_counted(&scene.logs_of(&id).await);
    assert_eq!(result.expect("succeeded")["result"], json!({ "lines": lines }));
    let fresh = scene.job("fresh", &PYTHON_BACKTEST, QUICK).await;
    broker.publish("start.terminating", &fresh).await;
    broker.result_of(&scene.id("fresh")).await.expect("succeeded");
    for (id, before) in bot_ids.iter().zip(before) {
        assert_eq!(identity(&scene, id).await, before, "{id} was started again");
        broker.publish("stop", &json!({ "id": id })).await;
        broker.result_of(id).await.expect("stopped");
    }
    assert_counted(&scene.logs_of(&bot_ids[0]).await);
    for id in bot_ids.iter().chain([&id, &scene.id("fresh")]) {
        let seen = broker.seen().await.iter();
        let results = seen.filter(|one| one.is_result() && one.subject() == Some(id)).count();
        assert_eq!(results, 1, "results of {id}");
    }
    nothing_is_left(scene, [worker]).await;
}

#[tokio::test]
async fn a_connection_that_is_cut_again_and_again_loses_no_job_and_runs_none_twice() {
    let scene = Scene::new().await;
    let (proxy, url) = through_proxy().await;
    let worker = scene.worker_with(&[("AMQP_URL", &url)]).await;
    let bot = counter(&scene, "bot", &PYTHON_BOT, None).await;
    let bot_id = scene.id("bot");
    scene.start(&bot).await;
    scene.events.wait_state(&bot_id, "running").await;
    let before = identity(&scene, &bot_id).await;

    let key = scene.put_code("quick", &[(PYTHON_BACKTEST.script, QUICK)]).await;
    let ids: Vec<_> = (0..12).map(|number| scene.id(&format!("quick-{number}"))).collect();
    for (number, id) in ids.iter().enumerate() {
        scene.start(&PYTHON_BACKTEST.message(id, &key)).await;
        if number % 3 == 2 {
            proxy.cut();
            until_missing(&worker, "broker", IMPLIED).await;
            proxy.restore();
            until("the worker is back", async || readiness(&worker).await.0 == 200).await;
        }
    }
    for id in &ids {
        scene.events.result_of(id).await.expect("succeeded");
    }
    for id in &ids {
        // The confirm of a result may be what was cut off: then it comes again, the same.
        let results = scene.events.results_of(id);
        let events: BTreeSet<_> = results.iter().map(|seen| seen.event.to_string()).collect();
        assert_eq!(events.len(), 1, "{id}: {results:#?}");
        let containers: BTreeSet<_> = scene
            .events
            .all()
            .iter()
            .filter_map(|seen| {
                let is_ours = seen.subject() == Some(id);
                seen.data()["container_id"].as_str().filter(|_| is_ours).map(str::to_owned)
            })
            .collect();
        assert_eq!(containers.len(), 1, "{id} ran twice");
    }
    assert_eq!(identity(&scene, &bot_id).await, before);
    // So that another worker, which may not have seen it held in between, does not count the time before.
    let owner =
        scene.read_object(Bucket::State, &format!("{}/owners/0.json", scene.namespace)).await;
    let owner: Value = serde_json::from_str(&owner).unwrap();
    assert!(owner["regained_at"].as_str() > owner["claimed_at"].as_str(), "{owner}");
    scene.stop(&json!({ "id": bot_id })).await;
    scene.events.result_of(&bot_id).await.expect("stopped");
    assert_one_result(&scene, &bot_id, "stopped");
    assert_counted(&scene.logs_of(&bot_id).await);
    nothing_is_left(scene, [worker]).await;
}

#[tokio::test]
async fn a_backtest_that_ends_while_the_connection_is_cut_gives_its_one_result_afterwards() {
    let scene = Scene::new().await;
    let (worker, proxy, id) = cut_off_with_a_backtest(&scene).await;
    until_missing(&worker, "broker", IMPLIED).await;
    until_ended(&scene, &id).await;
    sleep(Duration::from_secs(2)).await;
    assert_eq!(scene.events.results_of(&id).len(), 0);
    proxy.restore();
    scene.events.result_of(&id).await.expect("succeeded");
    let states = scene.events.states_of(&id);
    assert_eq!(states, ["accepted", "preparing", "running", "finished"]);
    assert_one_result(&scene, &id, "succeeded");
    until("the worker is ready again", async || readiness(&worker).await.0 == 200).await;
    nothing_is_left(scene, [worker]).await;
}

#[tokio::test]
async fn a_worker_that_is_ended_while_the_broker_is_away_leaves_its_results_to_the_next() {
    let scene = Scene::new().await;
    let (mut worker, _proxy, id) = cut_off_with_a_backtest(&scene).await;
    until_missing(&worker, "broker", IMPLIED).await;
    until_ended(&scene, &id).await;
    worker.terminate();
    assert_eq!(worker.wait().await.code(), Some(0));
    assert_eq!(scene.events.results_of(&id).len(), 0);
    let next = scene.worker().await;
    scene.events.result_of(&id).await.expect("succeeded");
    assert_one_result(&scene, &id, "succeeded");
    nothing_is_left(scene, [next]).await;
}

/// Connections to the store that froze are given up soon: the worker has its segment back before its
/// bots end, and another worker takes a segment over as soon as it may.
#[tokio::test]
async fn connections_to_the_store_that_freeze_in_an_outage_of_the_broker_cost_no_bot() {
    let scene = Scene::new().await;
    let (broker, url) = through_proxy().await;
    let store = Proxy::start(s3::addr().await).await;
    let address = store.addr().to_string();
    let settings = [
        ("AMQP_URL", url.as_str()),
        ("MINIO_ENDPOINT", address.as_str()),
        ("SEGMENT_GRACE_SECONDS", "15"),
    ];
    let worker = scene.worker_with(&settings).await;
    let bot = scene.id("bot");
    scene.start(&counter(&scene, "bot", &PYTHON_BOT, None).await).await;
    scene.events.wait_state(&bot, "running").await;
    let before = identity(&scene, &bot).await;
    store.freeze_present();
    broker.cut();
    sleep(Duration::from_secs(2)).await;
    broker.restore();
    until("the segment is claimed again", async || {
        worker.log().contains("claimed the segment again")
    })
    .await;
    // For longer than the grace since the last proof.
    sleep(Duration::from_secs(16)).await;
    assert_eq!(identity(&scene, &bot).await, before, "the bot was started again");
    scene.stop(&json!({ "id": bot })).await;
    assert_eq!(scene.events.result_of(&bot).await.expect("stopped")["attempt"], 1);
    nothing_is_left(scene, [worker]).await;
}
