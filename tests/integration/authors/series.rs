//! Programs that measure: series in the result event, on the command line, and for the next worker.

use longshore::storage::Bucket;
use serde_json::{Value, json};

use super::{ends_with, longshore};
use crate::robustness::until;
use longshore_testing::program::{NODE_BACKTEST, PYTHON_BACKTEST, PYTHON_BOT};
use longshore_testing::scene::Scene;

const PYTHON: &str = "import datetime, longshore\n\
    def main(id, config):\n    \
        day = datetime.date(2024, 1, 1)\n    \
        for number in range(20):\n        \
            longshore.metric('equity', 100 + number, day + datetime.timedelta(days=number))\n        \
            longshore.metric('step', number / 3, number)\n    \
        longshore.metric('secret', 12345678)\n    \
        longshore.metric('nothing', float('nan'))\n    \
        for name in ['progress', '1', 'a b', 'x' * 65]:\n        \
            try:\n            \
                longshore.metric(name, 1)\n        \
            except ValueError as error:\n            \
                print('refused', error)\n    \
        print('::longshore metric plain 7')\n";

const NODE: &str = "const { metric } = require('longshore');\n\
    exports.main = () => {\n    \
        for (let number = 0; number < 20; number += 1) {\n        \
            metric('equity', 100 + number, new Date(Date.UTC(2024, 0, 1 + number)));\n        \
            metric('step', number / 3, number);\n    \
        }\n    \
        metric('secret', 12345678);\n    \
        metric('nothing', NaN);\n    \
        for (const name of ['progress', '1', 'a b', 'x'.repeat(65)]) {\n        \
            try { metric(name, 1); } catch (error) { console.log('refused', error.message); }\n    \
        }\n    \
        console.log('::longshore metric plain 7');\n\
    };\n";

/// Measures until it is stopped, and keeps a state.
const BOT: &str = "import longshore\n\
    def main(id, config):\n    \
        longshore.state['n'] = 1\n    \
        longshore.state.save()\n    \
        longshore.progress(40, 'warming up')\n    \
        number = 0\n    \
        while not longshore.stopping.wait(0.1):\n        \
            longshore.metric('ticks', number)\n        \
            number += 1\n";

fn printed(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

#[tokio::test]
async fn what_a_program_measures_is_in_its_result_and_got_as_a_table() {
    let scene = Scene::new().await;
    let bounds = [("SERIES_MAX_POINTS", "10"), ("SERIES_MAX_NAMES", "3")];
    let worker = scene.worker().await;
    for (name, program, source) in [("py", &PYTHON_BACKTEST, PYTHON), ("js", &NODE_BACKTEST, NODE)]
    {
        let mut message = scene.job(name, program, source).await;
        (message["env"], message["secrets"]) = (json!({"PIN": "12345678"}), json!(["PIN"]));
        let result = scene.run(&message).await;
        let data = result.expect("succeeded");
        let short = json!([
            {"name": "equity", "points": 20, "last": 119.0},
            {"name": "step", "points": 20, "last": 19.0 / 3.0},
            {"name": "plain", "points": 1, "last": 7.0},
        ]);
        assert_eq!(data["objects"]["series"], short, "{data:#}");
        assert!(data["metadata"]["series"].is_null());
        let output = data["output"].as_str().unwrap();
        assert_eq!(output.matches("\nrefused ").count(), 4, "{output}");
        let id = scene.id(name);
        let get = ["get", &id, "--series", "equity"];
        let (table, _) = ends_with(0, longshore(&scene, &get)).await;
        let lines: Vec<_> = table.lines().collect();
        assert_eq!((lines.len(), lines[0]), (21, "name,attempt,n,value,at,time"), "{table}");
        assert!(lines[20].starts_with("equity,1,19,119,2024-01-20T00:00:00Z,"), "{table}");
        let (all, _) =
            ends_with(0, longshore(&scene, &["get", &id, "--series", "--output", "json"])).await;
        let all = printed(&all);
        assert_eq!(all["series"][1]["values"][4]["at"], 4.0, "{all:#}");
        let key = data["objects"]["series_key"].as_str().unwrap();
        assert_eq!(key, format!("{id}/{}/series/1.jsonl", data["run_id"].as_str().unwrap()));
        let (shown, _) = ends_with(0, longshore(&scene, &["show", &id])).await;
        assert!(shown.contains("equity: 20 points, last 119"), "{shown}");
        let (_, told) = ends_with(1, longshore(&scene, &["get", &id, "--series", "other"])).await;
        assert!(told.contains("has no series other"), "{told}");
    }
    scene.finish([worker]).await;
    let scene = Scene::new().await;
    let small = scene.worker_with(&bounds).await;
    let message = scene.job("small", &PYTHON_BACKTEST, PYTHON).await;
    let result = scene.run(&message).await;
    let data = result.expect("succeeded");
    let said = data["metadata"]["series"].as_str().unwrap();
    for part in [
        "equity has 20 points, and one in 4 is kept (SERIES_MAX_POINTS=10)",
        "1 points of further series are left out (SERIES_MAX_NAMES=3)",
    ] {
        assert!(said.contains(part), "{said}");
    }
    let key = data["objects"]["series_key"].as_str().unwrap();
    let stored = scene.read_object(Bucket::Results, key).await;
    assert!(stored.lines().filter(|line| line.contains("equity")).count() <= 10, "{stored}");
    scene.finish([small]).await;
}

#[tokio::test]
async fn a_bot_that_goes_on_is_shown_with_its_state_its_progress_and_its_series() {
    let scene = Scene::new().await;
    let often = [("SERIES_INTERVAL_SECONDS", "1"), ("LOG_INTERVAL_SECONDS", "1")];
    let mut first = scene.worker_with(&often).await;
    let mut message = scene.job("bot", &PYTHON_BOT, BOT).await;
    (message["state"], message["log_interval_seconds"]) = (json!({}), json!(1));
    let id = scene.id("bot");
    scene.start(&message).await;
    scene.events.wait_state(&id, "running").await;
    let show = async || {
        let (shown, _) = ends_with(0, longshore(&scene, &["show", &id, "--output", "json"])).await;
        printed(&shown)
    };
    until("it has measured", async || {
        let shown = show().await;
        shown["series"].as_array().is_some_and(|series| series.len() == 2)
            && shown["kept_state"]["bytes"] == 7
    })
    .await;
    let shown = show().await;
    assert_eq!(shown["progress"]["percent"], 40.0, "{shown:#}");
    assert_eq!(shown["progress"]["text"], "warming up", "{shown:#}");
    let (lines, _) = ends_with(0, longshore(&scene, &["show", &id])).await;
    for part in ["7 B, written ", "40 %: warming up (", "ticks: "] {
        assert!(lines.contains(part), "{part} is not in\n{lines}");
    }
    // The next worker goes on where the stored series end: no point is missing, none is there twice.
    first.kill();
    first.wait().await;
    let second = scene.worker_with(&often).await;
    scene
        .events
        .wait_for("adopted", |seen| {
            seen.subject() == Some(&id) && seen.data()["worker"] != shown["worker"]
        })
        .await;
    let points = |shown: &Value| shown["series"][1]["points"].as_u64().unwrap();
    let before = points(&show().await);
    until("it measures on", async || points(&show().await) > before + 20).await;
    scene.stop(&json!({ "id": id })).await;
    let result = scene.events.result_of(&id).await;
    result.expect("stopped");
    let get = ["get", &id, "--series", "ticks", "--output", "json"];
    let (all, _) = ends_with(0, longshore(&scene, &get)).await;
    let all = printed(&all);
    let values = all["series"][0]["values"].as_array().unwrap();
    for (number, point) in values.iter().enumerate() {
        let place = (point["n"].as_u64(), point["value"].as_f64());
        #[allow(clippy::cast_precision_loss, reason = "they are small")]
        let expected = (Some(number as u64), Some(number as f64));
        assert_eq!(place, expected, "{all:#}");
    }
    scene.finish([second]).await;
}

#[tokio::test]
async fn the_configs_of_a_sweep_may_measure_and_have_no_series() {
    let scene = Scene::new().await;
    let worker = scene.worker().await;
    let source = "import longshore\n\
        longshore.metric('import', 1)\n\
        def main(id, config):\n    \
            longshore.progress(50)\n    \
            longshore.metric('x', config['n'])\n    \
            return {'n': config['n']}\n";
    let mut message = scene.job("sweep", &PYTHON_BACKTEST, source).await;
    message["sweep"] = json!({ "grid": { "n": [1, 2, 3] } });
    let result = scene.run(&message).await;
    let data = result.expect("succeeded");
    assert_eq!(data["sweep"]["verdicts"], json!({ "succeeded": 3 }), "{data:#}");
    let objects = &data["objects"];
    assert!(objects["series"].is_null() && objects["series_key"].is_null(), "{data:#}");
    scene.finish([worker]).await;
}
