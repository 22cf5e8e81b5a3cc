//! Defects of an earlier implementation, from start message to result: none may come back.

use longshore::storage::Bucket;
use serde_json::{Value, json};

use longshore_testing::engine;
use longshore_testing::events::Seen;
use longshore_testing::program::{
    NODE_BACKTEST, NODE_BOT, NODE_TICKER, PYTHON_BACKTEST, PYTHON_BOT, PYTHON_TICKER, Program,
};
use longshore_testing::scene::Scene;

/// compat.md 1: the reconciler's filter was managed + segment alone.
#[tokio::test]
async fn compat_1_containers_of_others_on_the_same_engine_are_left_alone() {
    let scene = Scene::new().await;
    // Whole, so that nothing but the namespace tells them from a container of ours.
    let of_another = [
        ("runtime.managed", "true"),
        ("runtime.segment", "0"),
        ("runtime.id", "foreign"),
        ("runtime.run", "run-1"),
        ("runtime.attempt", "1"),
        ("runtime.type", "bot"),
        ("runtime.entrypoint", "main.py"),
        ("runtime.namespace", "another-longshore"),
    ];
    let (_, of_none) = of_another.split_last().unwrap();
    let mut foreign = Vec::new();
    for labels in [&of_another[..], of_none] {
        foreign.push(engine::start_foreign(&scene.docker, &scene.namespace, labels).await);
    }
    // Twice, for what is taken over is looked up when a worker starts.
    for name in ["first", "second"] {
        let mut worker = scene.worker().await;
        let message = scene.job(name, &PYTHON_BACKTEST, "def main(id, config): pass").await;
        scene.run(&message).await.expect("succeeded");
        worker.stop().await;
    }
    for container in &foreign {
        assert!(engine::is_running(&scene.docker, container).await, "a foreign container stopped");
    }
    scene.finish([]).await;
}

/// compat.md 2 and 4: new code under an old id was never deployed, and old files stayed.
#[tokio::test]
async fn compat_4_a_second_run_of_an_id_sees_the_new_code_and_no_old_files() {
    let scene = Scene::new().await;
    let worker = scene.worker_with(&[("BOT_READ_ONLY_CODE", "false")]).await;
    let look = "import os\ndef main(id, config):\n    \
                found = sorted(os.listdir('/backtest'))\n    \
                open('/backtest/left.txt', 'w').write('x')\n    \
                open('/tmp/left.txt', 'w').write('x')\n    \
                return {'version': VERSION, 'found': found}\n";
    let (old, new) = (format!("VERSION = 1\n{look}"), format!("VERSION = 2\n{look}"));
    let key = scene.put_code("code", &[("backtest.py", &old), ("old.py", "")]).await;
    let message = PYTHON_BACKTEST.message(&scene.id("same"), &key);
    let first = scene.run(&message).await;
    assert_eq!(first.expect("succeeded")["result"]["version"], 1);

    scene.put_code("code", &[("backtest.py", &new), ("new.py", "")]).await;
    scene.start(&message).await;
    let is_ours = |seen: &Seen| seen.is_result() && seen.subject() == message["id"].as_str();
    let second = scene.events.wait_for_nth("second result", 2, is_ours).await;
    let result = &second.expect("succeeded")["result"];
    assert_eq!(result["version"], 2);
    let found: Vec<&str> =
        result["found"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert!(found.contains(&"new.py"), "{found:?}");
    assert!(!found.contains(&"old.py") && !found.contains(&"left.txt"), "{found:?}");
    assert_ne!(first.id(), second.id());
    assert_ne!(first.data()["run_id"], second.data()["run_id"]);
    scene.finish([worker]).await;
}

/// A configuration that a shell, a template or a reader of lines would trip over.
fn nasty_config(length: usize) -> Value {
    json!({
        "quotes": "it's \"quoted\" and `ticked`",
        "shell": "$(touch /tmp/pwned); ${HOME} && rm -rf / ; \\ \u{7} !x",
        "shell in quotes": "'$(touch /tmp/pwned)'\"$(touch /tmp/pwned)\"`touch /tmp/pwned`",
        "end of text": "EOF\n'EOF'\nCONFIG\n\"\"\"\n'''",
        "lines": "one\ntwo\r\nthree\ttab\u{0}nul\u{2028}separator",
        "unicode": "日本語 ünïcödé 🚀 \u{202e}rtl \u{feff}",
        "ключ": { "nested": [1, 2.5, -3e-7, true, null, { "": "" }] },
        "large": 9_007_199_254_740_991_i64,
        "filler": "x".repeat(length),
    })
}

/// compat.md 10: a `'` in the config broke the script, or injected shell.
#[tokio::test]
async fn compat_10_a_config_arrives_exactly_whatever_is_in_it_and_however_large() {
    let scene = Scene::new().await;
    let worker = scene.worker().await;
    let python = "import os, json\ndef main(id, config):\n    \
                  file = json.load(open(os.environ['CONFIG_FILE'], encoding='utf-8'))\n    \
                  env = os.environ.get('CONFIG')\n    \
                  return {'config': config, 'same file': file == config, 'in env': env is not None,\n            \
                  'same env': env is None or json.loads(env) == config == json.loads(os.environ['BACKTEST_CONFIG']),\n            \
                  'pwned': os.path.exists('/tmp/pwned')}\n";
    let node = r"
const fs = require('node:fs');
const { isDeepStrictEqual: same } = require('node:util');
exports.main = async (id, config) => {
  const file = JSON.parse(fs.readFileSync(process.env.CONFIG_FILE, 'utf8'));
  const { CONFIG: env, BACKTEST_CONFIG: own } = process.env;
  return {
    config,
    'same file': same(file, config),
    'in env': env !== undefined,
    'same env': env === undefined || (same(JSON.parse(env), config) && same(JSON.parse(own), config)),
    pwned: fs.existsSync('/tmp/pwned'),
  };
};
";
    // The second fits into no variable of the environment.
    for (size, length) in [("small", 0), ("large", 1024 * 1024)] {
        for (name, program, source) in
            [("py", PYTHON_BACKTEST, python), ("js", NODE_BACKTEST, node)]
        {
            let name = format!("{name}-{size}");
            let mut message = scene.job(&name, &program, source).await;
            message["config"] = nasty_config(length);
            scene.run(&message).await.expect("succeeded");
            let key = format!("{}/analysis.json", scene.id(&name));
            let text = scene.read_object(Bucket::Results, &key).await;
            let result: Value = serde_json::from_str(&text).unwrap();
            assert!(result["config"] == message["config"], "{name}: the config has changed");
            for (claim, expected) in
                [("same file", true), ("in env", length == 0), ("same env", true), ("pwned", false)]
            {
                assert_eq!(result[claim], expected, "{name}: {claim}");
            }
        }
    }
    scene.finish([worker]).await;
}

/// compat.md 12: a `result.json` inside the zip was taken for the result; the user's own
/// `entrypoint.sh` was overwritten.
#[tokio::test]
async fn compat_12_files_of_the_users_with_our_names_are_neither_taken_nor_overwritten() {
    let scene = Scene::new().await;
    let worker = scene.worker().await;
    let forged = r#"{"sharpe": 99, "status": "success"}"#;
    let silent = "import os\ndef main(id, config): os._exit(0)\n";
    let reads = "def main(id, config): return {'mine': open('/backtest/entrypoint.sh').read()}\n";
    let own = "echo the user's own\n";
    let files = [("result.json", forged), ("entrypoint.sh", own)];
    for (name, source) in [("silent", silent), ("reads", reads)] {
        let key = scene.put_code(name, &[("backtest.py", source), files[0], files[1]]).await;
        scene.start(&PYTHON_BACKTEST.message(&scene.id(name), &key)).await;
    }
    let silent = scene.events.result_of(&scene.id("silent")).await;
    assert_eq!(silent.expect("failed").get("result"), None);
    let reads = scene.events.result_of(&scene.id("reads")).await;
    assert_eq!(reads.expect("succeeded")["result"], json!({ "mine": own }));
    scene.finish([worker]).await;
}

/// compat.md 5: lines repeated, vanished, or lost their order.
#[tokio::test]
async fn compat_5_every_line_is_stored_once_and_in_order() {
    const LINES: usize = 5000;
    let scene = Scene::new().await;
    let worker = scene.worker().await;
    // Over several shipments, with the last lines just before the end. The pauses around stderr are
    // there because the engine reads the two streams side by side.
    let python = "import sys, time\ndef main(id, config):\n    for number in range(5000):\n        \
                  rare = number % 500 == 250\n        \
                  if rare: time.sleep(0.15)\n        \
                  print('line', number, flush=True, file=sys.stderr if rare else sys.stdout)\n        \
                  if rare: time.sleep(0.15)\n";
    let one_shot = Program { is_long_running: false, ..PYTHON_BOT };
    scene.start(&scene.job("bot", &PYTHON_BOT, python).await).await;
    scene.start(&scene.job("backtest", &one_shot, python).await).await;
    let numbers = |text: &str| -> Vec<usize> {
        let lines = text.lines().filter_map(|line| line.rsplit_once("line "));
        lines.filter_map(|(_, number)| number.parse().ok()).collect()
    };
    let all: Vec<usize> = (0..LINES).collect();
    for name in ["bot", "backtest"] {
        let id = scene.id(name);
        let result = scene.events.result_of(&id).await;
        let mut log = String::new();
        for key in result.expect("succeeded")["objects"]["log_keys"].as_array().unwrap() {
            log.push_str(&scene.read_object(Bucket::Logs, key.as_str().unwrap()).await);
        }
        assert!(numbers(&log) == all, "{name}: the daily log differs: {:?}", numbers(&log));
    }
    let key = format!("{}/logs.txt", scene.id("backtest"));
    let output = scene.read_object(Bucket::Results, &key).await;
    assert!(numbers(&output) == all, "the output differs: {:?}", numbers(&output));
    scene.finish([worker]).await;
}

/// compat.md 6: crashed bots stayed in the map, so that they could not be started again.
#[tokio::test]
async fn compat_6_a_bot_that_has_ended_can_be_started_again() {
    let scene = Scene::new().await;
    let worker = scene.worker().await;
    for (name, program, source) in
        [("py", PYTHON_BOT, PYTHON_TICKER), ("js", NODE_BOT, NODE_TICKER)]
    {
        let message = scene.job(name, &program, source).await;
        let id = scene.id(name);
        for turn in 1..=2 {
            let is = |state: &'static str| {
                let id = id.clone();
                move |seen: &Seen| seen.subject() == Some(&id) && seen.state() == Some(state)
            };
            scene.start(&message).await;
            scene.events.wait_for_nth("running", turn, is("running")).await;
            scene.stop(&json!({ "id": id, "timeout_seconds": 1 })).await;
            scene.events.wait_for_nth("finished", turn, is("finished")).await;
            scene.is_tidy().await;
        }
        let is_result = |seen: &Seen| seen.is_result() && seen.subject() == Some(&id);
        for turn in 1..=2 {
            scene.events.wait_for_nth("result", turn, is_result).await.expect("stopped");
        }
        assert_eq!(scene.events.results_of(&id).len(), 2);
    }
    scene.finish([worker]).await;
}

/// compat.md 16: the process exited while its shutdown was still running.
#[tokio::test]
async fn compat_16_a_worker_ends_only_when_everything_is_settled() {
    let scene = Scene::new().await;
    let mut worker = scene.worker().await;
    let source = "import time\ndef main(id, config):\n    print('begun', flush=True)\n    \
                  time.sleep(3)\n    print('the last line')\n    return {'done': True}\n";
    let message = scene.job("drained", &PYTHON_BACKTEST, source).await;
    let id = scene.id("drained");
    scene.start(&message).await;
    scene.logged(&id, "begun").await;
    worker.terminate();
    assert!(worker.wait().await.success());
    // Looked at without waiting: whatever was still to be done when the process ended is missing now.
    assert_eq!(scene.containers().await, [""; 0]);
    assert!(scene.directories().is_empty(), "{:?}", scene.directories());
    let stored = scene.read_object(Bucket::Results, &format!("{id}/analysis.json")).await;
    assert_eq!(serde_json::from_str::<Value>(&stored).unwrap(), json!({ "done": true }));
    assert!(scene.logs_of(&id).await.contains("the last line"));
    let last = worker.log();
    assert!(
        last.trim_end().lines().last().unwrap_or_default().contains("worker has ended"),
        "{last}"
    );
    scene.events.result_of(&id).await.expect("succeeded");
    scene.finish([]).await;
}
