//! Workers that are killed again and again, at whatever they are doing.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::json;
use tokio::time::sleep;

use super::{QUICK, assert_counted, counter, nothing_is_left};
use longshore_testing::program::{PYTHON_BACKTEST, PYTHON_BOT};
use longshore_testing::scene::Scene;

const BACKTESTS: usize = 24;

/// How long after it is ready a worker is killed: uneven, so that it is at different things.
const LIVES_MS: [u64; 8] = [150, 900, 400, 1700, 250, 1200, 600, 2300];

#[tokio::test]
async fn workers_that_are_killed_again_and_again_give_one_result_for_each_job() {
    let scene = Scene::new().await;
    // So many that no run is lost to the kills alone.
    let settings = [("JOB_MAX_ATTEMPTS", "20")];
    let mut worker = scene.worker_with(&settings).await;
    let bot = counter(&scene, "bot", &PYTHON_BOT, None).await;
    let bot_id = scene.id("bot");
    scene.start(&bot).await;
    scene.events.wait_state(&bot_id, "running").await;

    let key = scene.put_code("quick", &[(PYTHON_BACKTEST.script, QUICK)]).await;
    let ids: Vec<_> = (0..BACKTESTS).map(|number| scene.id(&format!("job-{number}"))).collect();
    for id in &ids {
        scene.start(&PYTHON_BACKTEST.message(id, &key)).await;
    }
    for life in LIVES_MS {
        sleep(Duration::from_millis(life)).await;
        worker.kill();
        worker.wait().await;
        worker = scene.worker_with(&settings).await;
    }
    for id in &ids {
        scene.events.result_of(id).await.expect("succeeded");
    }
    scene.stop(&json!({ "id": bot_id })).await;
    scene.events.result_of(&bot_id).await.expect("stopped");
    assert_counted(&scene.logs_of(&bot_id).await);

    // A result may have been said twice by two workers, but it is the same event.
    let mut events: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for seen in scene.events.all_results() {
        let id = seen.subject().unwrap_or_default().to_owned();
        events.entry(id).or_default().insert(seen.event.to_string());
    }
    assert_eq!(events.len(), BACKTESTS + 1);
    for (id, told) in events {
        assert_eq!(told.len(), 1, "{id} has different results: {told:#?}");
    }
    nothing_is_left(scene, [worker]).await;
}
