//! Workers on two engines: never two of one bot.

use std::time::Duration;

use serde_json::json;
use tokio::time::sleep;

use super::{GRACE, OtherHost, STAMPER, assert_no_overlap, container_on, output_of, runs_under};
use crate::robustness::{assert_one_result, nothing_is_left, readiness, through_proxy, until};
use longshore_testing::engine;
use longshore_testing::program::{PYTHON_BACKTEST, PYTHON_BOT};
use longshore_testing::scene::Scene;

/// A backtest that has no end on the second engine, whose only network interface is a loopback.
const ENDS_HERE: &str = "import socket, time\ndef main(id, config):\n    \
                         while len(socket.if_nameindex()) == 1: time.sleep(0.1)\n";

#[tokio::test]
async fn a_bot_whose_host_lost_its_worker_ends_itself_before_it_runs_elsewhere() {
    let scene = Scene::new().await;
    let there = OtherHost::of(&scene).await;
    let mut a = scene.worker_with(&there.settings()).await;
    let (bot, backtest) = (scene.id("bot"), scene.id("backtest"));
    scene.start(&scene.job("bot", &PYTHON_BOT, STAMPER).await).await;
    scene.start(&scene.job("backtest", &PYTHON_BACKTEST, ENDS_HERE).await).await;
    let old = runs_under(&scene, &bot, "there").await;
    runs_under(&scene, &backtest, "there").await;
    let b = scene.worker_with(&[GRACE, ("WORKER_NAME", "here")]).await;
    a.kill();
    a.wait().await;

    let new = runs_under(&scene, &bot, "here").await;
    sleep(Duration::from_secs(1)).await;
    assert!(!engine::is_running(there.docker(), &old).await, "the old bot runs still");
    // Nobody could store the last words of the old one.
    let words = [output_of(there.docker(), &old).await, output_of(&scene.docker, &new).await];
    assert_eq!(assert_no_overlap(&words.concat()), 2);
    let result = scene.events.result_of(&backtest).await;
    assert_eq!(result.expect("succeeded")["attempt"], 2);

    // The worker that comes back there finds that all has gone on elsewhere, and tidies up.
    let again = scene.worker_with(&there.settings_of("again")).await;
    there.is_swept(&scene).await;
    scene.stop(&json!({ "id": bot })).await;
    let result = scene.events.result_of(&bot).await;
    assert_eq!(result.expect("stopped")["attempt"], 2);
    for (id, verdict) in [(&bot, "stopped"), (&backtest, "succeeded")] {
        assert_one_result(&scene, id, verdict);
    }
    nothing_is_left(scene, [b, again]).await;
}

#[tokio::test]
async fn a_worker_that_is_cut_off_leaves_its_bots_to_another_and_none_runs_twice() {
    let scene = Scene::new().await;
    let there = OtherHost::of(&scene).await;
    let (proxy, url) = through_proxy().await;
    let cut_off = [("AMQP_URL", url.as_str())];
    let a = scene.worker_with(&[&there.settings()[..], &cut_off].concat()).await;
    let bot = scene.id("bot");
    scene.start(&scene.job("bot", &PYTHON_BOT, STAMPER).await).await;
    let old = runs_under(&scene, &bot, "there").await;
    let b = scene.worker_with(&[GRACE, ("WORKER_NAME", "here")]).await;

    proxy.cut();
    let new = runs_under(&scene, &bot, "here").await;
    sleep(Duration::from_secs(1)).await;
    assert!(!engine::is_running(there.docker(), &old).await, "the old bot runs still");

    // Back again, it is a worker like any other, with a segment of its own.
    proxy.restore();
    until("the worker is back", async || readiness(&a).await.0 == 200).await;
    there.is_swept(&scene).await;
    assert_eq!(container_on(&scene.docker, &scene, &bot).await.id.unwrap(), new);
    scene.stop(&json!({ "id": bot })).await;
    let result = scene.events.result_of(&bot).await;
    assert_eq!(result.expect("stopped")["attempt"], 2);
    assert_eq!(assert_no_overlap(&scene.logs_of(&bot).await), 2);
    assert_one_result(&scene, &bot, "stopped");
    nothing_is_left(scene, [a, b]).await;
}

#[tokio::test]
async fn a_bot_that_ended_itself_while_the_broker_was_away_runs_again_afterwards() {
    let scene = Scene::new().await;
    let (proxy, url) = through_proxy().await;
    let worker = scene.worker_with(&[("AMQP_URL", &url), GRACE, ("WORKER_NAME", "a")]).await;
    let bot = scene.id("bot");
    scene.start(&scene.job("bot", &PYTHON_BOT, STAMPER).await).await;
    let old = runs_under(&scene, &bot, "a").await;
    proxy.cut();
    until("the bot has ended itself", async || !engine::is_running(&scene.docker, &old).await)
        .await;
    // Nobody may start it, for nobody can show whose it is.
    sleep(Duration::from_secs(3)).await;
    for container in scene.containers().await {
        assert!(!engine::is_running(&scene.docker, &container).await, "it was started again");
    }
    proxy.restore();
    scene.events.wait_state(&bot, "restarting").await.expect_message(&["its worker"]);
    until("it runs again", async || {
        let all = scene.events.all();
        let runs = all.iter().filter(|seen| seen.subject() == Some(&bot));
        runs.filter(|seen| seen.state() == Some("running") && seen.data()["attempt"] == 2).count()
            == 1
    })
    .await;
    scene.stop(&json!({ "id": bot })).await;
    scene.events.result_of(&bot).await.expect("stopped");
    assert_one_result(&scene, &bot, "stopped");
    nothing_is_left(scene, [worker]).await;
}
