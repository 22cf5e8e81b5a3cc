//! Each config is a row, and what it breaks is its own.

use longshore::job::Verdict::{Failed, OutOfMemory, Succeeded, TimedOut};
use longshore::storage::Bucket;
use longshore_testing::scene::Scene;
use serde_json::{Value, json};

use super::{each_once, message, table, verdicts};

#[tokio::test]
async fn a_grid_runs_in_order_and_its_best_rows_are_told() {
    let scene = Scene::new().await;
    let worker = scene.worker().await;
    let source = "print('once')\n\
        def main(id, config):\n    \
        return {'score': config['fast'] * 10 - config['risk']['stop'], 'text': '=1+1', 'seen': config}";
    let sweep = json!({
        "grid": {"fast": {"from": 1, "to": 3, "step": 1}, "/risk/stop": [0.5, 0.25]},
        "best": {"by": "score", "keep": 2},
    });
    let config = json!({"fast": 0, "risk": {"take": 9}, "symbol": "EURUSD"});
    let message = message(&scene, "grid", source, config, sweep).await;
    let id = scene.id("grid");
    let result = scene.run(&message).await;
    let data = result.expect("succeeded");
    result.expect_message(&["6 of 6 configs succeeded"]);
    let rows = each_once(&scene, &id, data, 6).await;
    // The message comes from a library that sorts keys.
    let texts: Vec<_> = rows.iter().map(|row| row.config.as_str().to_owned()).collect();
    assert_eq!(
        texts[..3],
        [
            r#"{"risk":{"stop":0.5},"fast":1}"#,
            r#"{"risk":{"stop":0.5},"fast":2}"#,
            r#"{"risk":{"stop":0.5},"fast":3}"#,
        ]
    );
    let seen: Value = serde_json::from_str(rows[5].result.as_ref().unwrap().as_str()).unwrap();
    let whole = json!({"fast": 3, "risk": {"take": 9, "stop": 0.25}, "symbol": "EURUSD"});
    assert_eq!(seen["seen"], whole);
    let best = &data["sweep"]["best"];
    assert_eq!((&best[0]["index"], &best[0]["value"]), (&json!(5), &json!(29.75)), "{best:#}");
    assert_eq!(best[0]["config"], json!({"fast": 3, "risk.stop": 0.25}));
    assert_eq!(best.as_array().unwrap().len(), 2);
    assert_eq!(data["sweep"]["verdicts"], json!({"succeeded": 6}));
    let csv = data["objects"]["csv_key"].as_str().unwrap();
    let csv = scene.read_object(Bucket::Results, csv).await;
    let lines: Vec<_> = csv.lines().collect();
    assert_eq!(lines.len(), 7, "{csv}");
    assert!(lines[0].starts_with("index,verdict,message,duration_seconds,attempt,config.risk.stop,config.fast,result.score"), "{csv}");
    assert!(
        lines[1].starts_with("0,succeeded,succeeded,") && lines[1].contains(",'=1+1,"),
        "{csv}"
    );
    let log = scene.read_object(Bucket::Results, &format!("{id}/logs.txt")).await;
    assert_eq!(log.matches("once").count(), 1, "the script is imported once: {log}");
    scene.finish([worker]).await;
}

/// What a config breaks, by its number.
const BREAKS: &str = r#"
import os, sys, threading, time
state = {"poisoned": False}
def main(id, config):
    n = config["n"]
    print("config", n)
    if n == 1: raise ValueError("no prices")
    if n == 2: sys.exit(3)
    if n == 3: os._exit(0)
    if n == 4: os.kill(os.getpid(), 11)
    if n == 5: return bytearray(400 << 20) and {}
    if n == 6: time.sleep(600)
    if n == 7:
        state["poisoned"] = True
        os.environ["POISON"] = "1"
        sys.modules["json"] = None
    if n == 8: return "x" * 100_000
    if n == 9:
        os.close(1)
        os.system("sleep 600 &")
    if n == 10: threading.Thread(target=lambda: time.sleep(600)).start()
    if n == 11: print("e" * 50_000)
    return {"n": n, "poisoned": state["poisoned"] or "POISON" in os.environ}
"#;

#[tokio::test]
async fn what_a_config_breaks_is_its_own() {
    let scene = Scene::new().await;
    let worker = scene.worker().await;
    for (name, isolation) in [("fork", "fork"), ("process", "process")] {
        let n: Vec<_> = (0..14).collect();
        let sweep = json!({
            "grid": {"n": n}, "parallel": 4, "timeout_seconds": 8, "isolation": isolation,
        });
        let message = message(&scene, name, BREAKS, json!({}), sweep).await;
        let result = scene.run(&message).await;
        let data = result.expect("succeeded");
        let rows = each_once(&scene, &scene.id(name), data, 14).await;
        let mut expected = vec![Succeeded; 14];
        for (index, verdict) in [
            (1, Failed),
            (2, Failed),
            (3, Failed),
            (4, Failed),
            (5, OutOfMemory),
            (6, TimedOut),
            (8, Failed),
        ] {
            expected[index] = verdict;
        }
        assert_eq!(verdicts(&rows), expected, "{isolation}: {rows:#?}");
        for (index, said) in [
            (1, "ValueError: no prices"),
            (2, "exit code 3"),
            (3, "wrote no result.json"),
            (4, "SIGSEGV"),
            (5, "ran out of its 256 MiB of memory"),
            (6, "ran longer than its 8 s"),
            (8, "SWEEP_RESULT_MAX_KB"),
        ] {
            assert!(rows[index].message.contains(said), "{isolation}: {:?}", rows[index]);
        }
        assert!(rows[1].output.contains("no prices") && rows[12].output.contains("config 12"));
        assert_eq!(rows[11].output.len(), 4096);
        for row in [12, 13] {
            let text = rows[row].result.as_ref().unwrap().as_str();
            assert!(text.contains(r#""poisoned":false"#), "{isolation}: {text}");
        }
        assert_eq!(data["sweep"]["verdicts"]["out_of_memory"], 1, "{data:#}");
        result.expect_message(&["7 of 14 configs succeeded; config 1: ", "no prices"]);
    }
    scene.finish([worker]).await;
}

#[tokio::test]
async fn a_thousand_configs_have_a_row_each_and_progress_is_told() {
    let scene = Scene::new().await;
    let worker = scene.worker().await;
    let source = "import random, time\n\
        def main(id, config):\n    time.sleep(0.01)\n    return {'n': config['n'], 'random': random.random()}";
    let sweep = json!({
        "sample": {"n": 1000, "seed": 7, "keys": {"n": {"int": [0, 1_000_000]}}},
        "best": {"by": "n", "goal": "min"},
    });
    let message = message(&scene, "many", source, json!({}), sweep).await;
    let id = scene.id("many");
    let result = scene.run(&message).await;
    let data = result.expect("succeeded");
    let rows = each_once(&scene, &id, data, 1000).await;
    let random = |row: usize| {
        let text = rows[row].result.as_ref().unwrap().as_str();
        serde_json::from_str::<Value>(text).unwrap()["random"].to_string()
    };
    assert_ne!(random(0), random(1), "every config has random numbers of its own");
    let all = scene.events.all();
    let told: Vec<_> = all.iter().filter(|seen| seen.data()["progress"].is_object()).collect();
    assert!(!told.is_empty(), "no progress was told");
    for seen in told {
        let progress = &seen.data()["progress"];
        assert_eq!((seen.state(), &progress["total"]), (Some("running"), &json!(1000)));
        assert!(progress["done"].as_u64().unwrap() <= 1000, "{progress}");
    }
    scene.finish([worker]).await;
}

#[tokio::test]
async fn secrets_are_masked_and_no_config_changes_one() {
    let scene = Scene::new().await;
    let worker = scene.worker().await;
    let source = "import os\n\
        def main(id, config):\n    print('token', os.environ['TOKEN'])\n    \
        return {'echo': os.environ['TOKEN'], 'key': config['key'], 'n': config['n']}";
    let config = json!({"key": "k-secret-5678", "n": 0});
    let sweep = json!({"configs": [{"n": 1}, {"n": 2}]});
    let mut good = message(&scene, "masked", source, config.clone(), sweep).await;
    good["env"] = json!({"TOKEN": "t-secret-1234"});
    good["secrets"] = json!(["TOKEN", "/key"]);
    let mut bad = good.clone();
    bad["id"] = json!(scene.id("changes"));
    bad["sweep"] = json!({"grid": {"key": ["a", "b"]}});
    let result = scene.run(&good).await;
    let data = result.expect("succeeded").clone();
    for key in scene.objects(Bucket::Results, &format!("{}/", scene.id("masked"))).await {
        let text = scene.read_object(Bucket::Results, &key).await;
        assert!(!text.contains("secret-"), "{key}: {text}");
    }
    let rows = table(&scene, &data).await;
    assert!(rows[1].result.as_ref().unwrap().as_str().contains(r#""echo":"[masked]""#));
    assert!(rows[1].output.contains("token [masked]"), "{rows:?}");
    assert!(!result.text.contains("secret-"), "{}", result.text);
    let refused = scene.run(&bad).await;
    refused.expect("rejected");
    refused.expect_message(&["sweep.grid.key: changes a secret of the message"]);
    scene.dead_letters(1).await;
    scene.finish([worker]).await;
}

#[tokio::test]
async fn configs_of_an_object_run_and_failures_are_bounded() {
    let scene = Scene::new().await;
    let worker = scene.worker().await;
    let source = "def main(id, config):\n    if config['n'] > 2: raise ValueError('too much')\n    return config";
    let key = format!("{}/configs.jsonl", scene.namespace);
    let lines: Vec<_> = (0..200).map(|n| json!({"n": n}).to_string()).collect();
    scene.put_object(Bucket::Code, &key, lines.join("\n").into_bytes()).await;
    let sweep = json!({"configs_key": key, "max_failures": 3, "parallel": 1});
    let message = message(&scene, "object", source, json!({}), sweep.clone()).await;
    let result = scene.run(&message).await;
    let data = result.expect("failed");
    result.expect_message(&["3 configs did not succeed (max_failures); 6 of 200"]);
    let rows = table(&scene, data).await;
    assert_eq!(rows.iter().map(|row| row.index).collect::<Vec<_>>(), [0, 1, 2, 3, 4, 5]);
    let mut missing = message.clone();
    missing["id"] = json!(scene.id("missing"));
    missing["sweep"]["configs_key"] = json!("nowhere.jsonl");
    let refused = scene.run(&missing).await;
    refused.expect("rejected");
    refused.expect_message(&["sweep.configs_key", "nowhere.jsonl"]);
    let broken = scene
        .job(
            "broken",
            &longshore_testing::program::PYTHON_BACKTEST,
            "import nowhere\ndef main(id, config): pass",
        )
        .await;
    let mut broken = broken;
    broken["sweep"] = json!({"grid": {"n": [1, 2]}});
    let result = scene.run(&broken).await;
    result.expect("failed");
    result.expect_message(&["nowhere", "0 of 2 configs are done"]);
    scene.dead_letters(1).await;
    scene.finish([worker]).await;
}
