//! What a worker asks of the store, counted between the two: requests cost money, and time.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::sleep;

use super::nothing_is_left;
use longshore_testing::http_proxy::{Asked, HttpProxy};
use longshore_testing::program::{PYTHON_BACKTEST, PYTHON_BOT};
use longshore_testing::s3;
use longshore_testing::scene::Scene;
use serde_json::json;

const BACKTESTS: usize = 10;

/// How long the worker is left alone with a bot that says nothing.
const IDLE: Duration = Duration::from_secs(70);

/// How often each kind of request was made, for a person to read.
fn counted(asked: &[Asked], jobs: &str) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for one in asked {
        let what = one.target.split(jobs).next().unwrap_or_default();
        *counts.entry(format!("{} {what}", one.method)).or_default() += 1;
    }
    counts
}

#[tokio::test]
async fn a_backtest_takes_eight_requests_an_idle_worker_two_a_minute_and_an_idle_bot_none() {
    let scene = Scene::new().await;
    let store = HttpProxy::start(s3::addr().await).await;
    let worker = scene.worker_with(&[("MINIO_ENDPOINT", &store.endpoint())]).await;
    let source = "def main(id, config):\n    print('done')\n    return {'sharpe': 1.5}\n";
    let first = scene.job("test-0", &PYTHON_BACKTEST, source).await;
    let run = async |number: usize| {
        let id = scene.id(&format!("test-{number}"));
        let mut start = first.clone();
        start["id"] = json!(id);
        scene.start(&start).await;
        scene.events.result_of(&id).await.expect("succeeded");
        // The segment's entry goes after the result is out.
        let index = format!("{}/segments/", scene.namespace);
        super::until("the journal has no open job", async || {
            scene.objects(longshore::storage::Bucket::State, &index).await.is_empty()
        })
        .await;
    };
    run(0).await;
    let before = store.asked().len();
    for number in 1..=BACKTESTS {
        run(number).await;
    }
    let asked = store.asked().split_off(before);
    let per_job = counted(&asked, &scene.namespace);
    assert!(asked.len() <= BACKTESTS * 8 + 4, "{} requests: {per_job:#?}", asked.len());

    scene
        .start(
            &scene
                .job(
                    "bot",
                    &PYTHON_BOT,
                    "import time\ndef main(id, config):\n    time.sleep(600)\n",
                )
                .await,
        )
        .await;
    let bot = scene.id("bot");
    scene.events.wait_state(&bot, "running").await;
    sleep(Duration::from_secs(20)).await;
    let before = store.asked().len();
    sleep(IDLE).await;
    let asked = store.asked().split_off(before);
    assert!(asked.len() <= 3, "{asked:#?}");
    scene.stop(&json!({ "id": bot })).await;
    scene.events.result_of(&bot).await.expect("stopped");
    nothing_is_left(scene, [worker]).await;
}
