//! Programs that say how far they are.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::sleep;

use longshore_testing::events::Seen;
use longshore_testing::program::{NODE_BACKTEST, PYTHON_BACKTEST, PYTHON_BOT};
use longshore_testing::scene::Scene;

const PYTHON: &str = "import longshore, os, time\n\
    def main(id, config):\n    \
        for number in range(2000):\n        \
            longshore.progress(number / 25, f'with {os.environ[\"TOKEN\"]}')\n        \
            time.sleep(0.001)\n    \
        longshore.progress(float('nan'))\n    \
        print('::longshore progress 100 done', flush=True)\n";

const NODE: &str = "const { progress } = require('longshore');\n\
    exports.main = async () => {\n    \
        for (let number = 0; number < 2000; number += 1) {\n        \
            progress(number / 25, `with ${process.env.TOKEN}`);\n        \
            await new Promise((resolve) => setTimeout(resolve, 1));\n    \
        }\n    \
        progress(NaN);\n    \
        console.log('::longshore progress 100 done');\n\
    };\n";

const BOT: &str = "import longshore, time\n\
    def main(id, config):\n    \
        longshore.progress(41)\n    \
        longshore.progress(42, 'waiting')\n    \
        while True:\n        \
            time.sleep(0.2)\n        \
            print('tick', flush=True)\n";

/// Becomes unhealthy, and goes on saying how far it is, also after a stop.
const SICK: &str = "import longshore, time\n\
    def main(id, config):\n    \
        longshore.progress(1)\n    \
        time.sleep(2)\n    \
        open('/tmp/sick', 'w').close()\n    \
        for number in range(10_000):\n        \
            longshore.progress(2 + number / 1000)\n        \
            if longshore.stopping.wait(0.1):\n            \
                longshore.progress(99)\n            \
                return\n";

fn progress_of(scene: &Scene, id: &str) -> Vec<Value> {
    let of_job = |seen: &&Seen| seen.subject() == Some(id) && seen.data()["progress"].is_object();
    let all = scene.events.all();
    all.iter()
        .filter(of_job)
        .map(|seen| {
            assert_eq!(seen.state(), Some("running"));
            seen.data()["progress"].clone()
        })
        .collect()
}

#[tokio::test]
async fn how_far_a_program_says_it_is_becomes_status_events() {
    let scene = Scene::new().await;
    let worker = scene.worker().await;
    for (name, program, source) in [("py", &PYTHON_BACKTEST, PYTHON), ("js", &NODE_BACKTEST, NODE)]
    {
        let mut message = scene.job(name, program, source).await;
        message["env"] = json!({"TOKEN": "tok-secret-123"});
        message["secrets"] = json!(["TOKEN"]);
        let result = scene.run(&message).await;
        let seconds = result.expect("succeeded")["duration_seconds"].as_f64().unwrap();
        let seconds = Duration::from_secs_f64(seconds).as_secs();
        let id = scene.id(name);
        let told = progress_of(&scene, &id);
        let percents: Vec<_> = told.iter().map(|one| one["percent"].as_f64().unwrap()).collect();
        assert!(percents.len() >= 2 && percents.is_sorted(), "{percents:?}");
        // At most one a second, and the last.
        assert!(percents.len() as u64 <= seconds + 4, "{percents:?} in {seconds} s");
        let (last, before) = told.split_last().unwrap();
        let expected = json!({
            "percent": 100.0, "text": "done", "done": 100, "failed": 0, "total": 100, "per_second": 0.0
        });
        assert_eq!(*last, expected);
        for one in before {
            let text = one["text"].as_str().unwrap();
            assert!(text.starts_with("with ") && !text.contains("tok-secret"), "{one}");
        }
        // The lines stay in the log.
        assert!(scene.logs_of(&id).await.contains("::longshore progress 100 done"));
    }
    scene.finish([worker]).await;
}

#[tokio::test]
async fn the_next_worker_tells_again_what_a_bot_said_last() {
    let scene = Scene::new().await;
    let mut first = scene.worker_with(&[("LOG_INTERVAL_SECONDS", "1")]).await;
    let id = scene.id("bot");
    scene.start(&scene.job("bot", &PYTHON_BOT, BOT).await).await;
    let says =
        |seen: &Seen| seen.subject() == Some(&id) && seen.data()["progress"]["text"] == "waiting";
    let by = scene.events.wait_for("progress", says).await.data()["worker"].clone();
    // Now it stands in a stored part of the log.
    scene.logged(&id, "tick").await;
    first.kill();
    first.wait().await;
    let second = scene.worker().await;
    let is_of_other = |seen: &Seen| says(seen) && seen.data()["worker"] != by;
    scene.events.wait_for("progress again", is_of_other).await;
    scene.stop(&json!({ "id": id })).await;
    scene.events.result_of(&id).await.expect("stopped");
    let told = progress_of(&scene, &id);
    let again = told.iter().filter(|one| one["text"] == "waiting").count();
    assert_eq!(again, 2, "{told:?}");
    scene.finish([second]).await;
}

#[tokio::test]
async fn a_bot_that_is_unhealthy_or_stopping_is_not_told_to_be_running() {
    let scene = Scene::new().await;
    let worker = scene.worker_with(&[("HEALTH_CHECK_MIN_INTERVAL_SECONDS", "1")]).await;
    let id = scene.id("sick");
    let mut message = scene.job("sick", &PYTHON_BOT, SICK).await;
    message["health_check"] = json!({
        "command": ["test", "!", "-e", "/tmp/sick"],
        "interval_seconds": 1,
        "timeout_seconds": 60,
        "retries": 1,
    });
    scene.start(&message).await;
    scene.events.wait_state(&id, "unhealthy").await;
    // It says some more meanwhile.
    sleep(Duration::from_secs(3)).await;
    scene.stop(&json!({ "id": id })).await;
    scene.events.result_of(&id).await.expect("stopped");
    let mut states = scene.events.states_of(&id);
    states.dedup();
    let expected = ["accepted", "preparing", "running", "unhealthy", "stopping", "finished"];
    assert_eq!(states, expected);
    assert!(!progress_of(&scene, &id).is_empty());
    assert!(scene.logs_of(&id).await.contains("::longshore progress 99"));
    scene.finish([worker]).await;
}
