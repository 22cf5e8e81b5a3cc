//! Code that fails, each in its own way: the verdict says how, and what it said is kept.

use longshore::storage::Bucket;
use serde_json::{Value, json};

use crate::support::program::{NODE_BACKTEST, PYTHON_BACKTEST, PYTHON_BOT, Program};
use crate::support::scene::Scene;

/// A program, and how its run must end.
struct Case {
    name: &'static str,
    source: &'static str,
    verdict: &'static str,
    exit_code: i64,
    message: &'static str,
    /// What the result's `status` is, where there is a result.
    status: Value,
}

fn case(
    name: &'static str,
    source: &'static str,
    verdict: &'static str,
    exit_code: i64,
    message: &'static str,
    status: impl Into<Value>,
) -> Case {
    Case { name, source, verdict, exit_code, message, status: status.into() }
}

async fn each_ends_as_told(program: Program, cases: &[Case]) {
    let scene = Scene::new().await;
    let worker = scene.worker().await;
    for case in cases {
        scene.start(&scene.job(case.name, &program, case.source).await).await;
    }
    for case in cases {
        let result = scene.events.result_of(&scene.id(case.name)).await;
        let data = result.expect(case.verdict);
        assert_eq!(data["exit_code"], case.exit_code, "{}: {data:#}", case.name);
        result.expect_message(&[case.message]);
        let status = data.get("result").map_or(Value::Null, |result| result["status"].clone());
        assert_eq!(status, case.status, "{}: {data:#}", case.name);
        let failed = case.verdict != "succeeded";
        assert_eq!(data.get("error").is_some(), failed, "{}: {data:#}", case.name);
        assert_eq!(data["status"], if failed { "error" } else { "success" }, "{}", case.name);
    }
    // Their own fault: nothing is tried again.
    assert!(scene.events.all().iter().all(|seen| seen.data()["attempt"] == 1));
    scene.finish([worker]).await;
}

#[tokio::test]
async fn compat_11_the_ends_of_python_code_are_told_apart() {
    each_ends_as_told(
        PYTHON_BACKTEST,
        &[
            case("returns", "def main(id, config): return {'status': 'mine'}", "succeeded", 0, "", "mine"),
            case("nothing", "def main(id, config): pass", "succeeded", 0, "executed successfully", "success"),
            case("raises", "def main(id, config): raise ValueError('no prices')", "failed", 1, "ValueError: no prices", "error"),
            case("on-import", "import nowhere\ndef main(id, config): pass", "failed", 1, "nowhere", "error"),
            case("syntax", "def main(id, config: pass", "failed", 1, "SyntaxError", "error"),
            case("no-main", "x = 1", "failed", 1, "main", "error"),
            case("exit-3", "import sys\ndef main(id, config): sys.exit(3)", "failed", 3, "exited with code 3", "error"),
            case("exit-text", "import sys\ndef main(id, config): sys.exit('enough')", "failed", 1, "enough", "error"),
            case("os-exit-3", "import os\ndef main(id, config): os._exit(3)", "failed", 3, "exit code 3", Value::Null),
            case("os-exit-0", "import os\ndef main(id, config): os._exit(0)", "failed", 0, "wrote no result.json", Value::Null),
            case("term", "import os, signal, time\ndef main(id, config):\n    os.kill(os.getpid(), signal.SIGTERM)\n    time.sleep(60)", "failed", 143, "SIGTERM", "terminated"),
            case("invalid", "import os\ndef main(id, config):\n    open('/backtest/result.json', 'w').write('{not json')\n    os._exit(0)", "failed", 0, "not valid JSON", Value::Null),
            case("folder", "import os\ndef main(id, config): os.mkdir('/backtest/result.json')", "failed", 1, "FileExistsError", "error"),
            case("link", "import os\ndef main(id, config): os.symlink('/etc/passwd', '/backtest/result.json')", "failed", 1, "FileExistsError", "error"),
            case("circle", "def main(id, config):\n    a = []\n    a.append(a)\n    return a", "failed", 1, "contains itself", "error"),
        ],
    )
    .await;
}

#[tokio::test]
async fn compat_11_the_ends_of_javascript_code_are_told_apart() {
    each_ends_as_told(
        NODE_BACKTEST,
        &[
            case("returns", "exports.main = () => ({ status: 'mine' });", "succeeded", 0, "", "mine"),
            case("nothing", "exports.main = async () => {};", "succeeded", 0, "executed successfully", "success"),
            case("throws", "exports.main = () => { throw new Error('no prices'); };", "failed", 1, "no prices", "error"),
            case("rejects", "exports.main = async () => { throw new TypeError('late'); };", "failed", 1, "late", "error"),
            case("syntax", "exports.main = (", "failed", 1, "SyntaxError", "error"),
            case("no-main", "exports.other = 1;", "failed", 1, "main", "error"),
            case("exit-3", "exports.main = () => process.exit(3);", "failed", 3, "exited with code 3", "error"),
            case("term", "exports.main = async () => {\n  process.kill(process.pid, 'SIGTERM');\n  await new Promise((r) => setTimeout(r, 60000));\n};", "failed", 143, "SIGTERM", "terminated"),
        ],
    )
    .await;
}

/// compat.md 11: NaN made a result that no JSON reader takes.
#[tokio::test]
async fn compat_11_not_a_number_becomes_null() {
    let scene = Scene::new().await;
    let worker = scene.worker().await;
    let python =
        "def main(id, config): return {'sharpe': float('nan'), 'max': float('inf'), 'n': 1}";
    let node = "exports.main = () => ({ sharpe: NaN, max: Infinity, n: 1 });";
    for (name, program, source) in [("py", PYTHON_BACKTEST, python), ("js", NODE_BACKTEST, node)] {
        let result = scene.run(&scene.job(name, &program, source).await).await;
        let data = result.expect("succeeded");
        assert_eq!(data["result"], json!({ "sharpe": null, "max": null, "n": 1 }), "{name}");
    }
    scene.finish([worker]).await;
}

/// compat.md 13: on a time-out logs and result were lost.
#[tokio::test]
async fn compat_13_a_run_over_its_time_ends_as_timed_out_with_its_output_kept() {
    let scene = Scene::new().await;
    let worker = scene.worker().await;
    let python = "import time\ndef main(id, config):\n    print('before', flush=True)\n    time.sleep(600)\n";
    let deaf = "exports.main = () => { console.log('before'); for (;;); };";
    for (name, program, source) in [("py", PYTHON_BACKTEST, python), ("deaf", NODE_BACKTEST, deaf)]
    {
        let mut message = scene.job(name, &program, source).await;
        message["timeout_seconds"] = json!(3);
        scene.start(&message).await;
    }
    for (name, exit_code) in [("py", 143), ("deaf", 137)] {
        let id = scene.id(name);
        let result = scene.events.result_of(&id).await;
        let data = result.expect("timed_out");
        result.expect_message(&["3 s"]);
        assert_eq!(data["exit_code"], exit_code, "{data:#}");
        assert!(result.output().starts_with("before\n"), "{data:#}");
        let stored = scene.read_object(Bucket::Results, &format!("{id}/logs.txt")).await;
        assert!(stored.starts_with("before\n"), "{stored}");
    }
    let kept =
        scene.read_object(Bucket::Results, &format!("{}/analysis.json", scene.id("py"))).await;
    assert_eq!(serde_json::from_str::<Value>(&kept).unwrap()["status"], "terminated");
    scene.finish([worker]).await;
}

#[tokio::test]
async fn code_that_takes_all_memory_ends_as_out_of_memory() {
    let scene = Scene::new().await;
    let worker = scene.worker().await;
    let python = "def main(id, config):\n    print('hungry', flush=True)\n    kept = []\n    \
                  while True: kept.append(bytearray(4 << 20))\n";
    let mut message = scene.job("hungry", &PYTHON_BACKTEST, python).await;
    message["limits"] = json!({ "memory_mb": 64 });
    let result = scene.run(&message).await;
    let data = result.expect("out_of_memory");
    assert_eq!(data["exit_code"], 137);
    result.expect_message(&["64 MiB"]);
    let peak = data["resources"]["peak_memory_bytes"].as_u64().unwrap();
    assert!(peak > 48 << 20 && peak <= 64 << 20, "{peak}");
    assert!(result.output().contains("hungry"), "{data:#}");
    assert_eq!(scene.events.results_of(&scene.id("hungry")).len(), 1);
    scene.finish([worker]).await;
}

#[tokio::test]
async fn a_hundred_megabytes_of_output_are_capped_and_the_event_stays_small() {
    let scene = Scene::new().await;
    let worker = scene.worker_with(&[("OUTPUT_MAX_MB", "8")]).await;
    let python = "import sys\ndef main(id, config):\n    line = 'x' * 8191 + '\\n'\n    \
                  for number in range(100): sys.stdout.write(line * 128)\n    \
                  print('the last line')\n    return {'done': True}\n";
    let message = scene.job("loud", &PYTHON_BACKTEST, python).await;
    let id = scene.id("loud");
    let result = scene.run(&message).await;
    let data = result.expect("succeeded");
    assert_eq!(data["result"], json!({ "done": true }));
    assert!(result.event.to_string().len() < 256 * 1024, "the event is large");
    let output = result.output();
    let shown = output.get(output.len().saturating_sub(300)..);
    assert!(
        output.contains("the last line"),
        "the tail is not the end: {shown:?}, {:#}",
        data["metadata"]
    );
    let stored = scene.read_object(Bucket::Results, &format!("{id}/logs.txt")).await;
    let (most, length) = (8 * 1024 * 1024, stored.len());
    assert!(length > most / 2 && length < most + 64 * 1024, "{length} bytes were stored");
    let notice = stored.lines().last().unwrap_or_default();
    assert!(!notice.starts_with('x'), "no notice says that the output was cut: {notice}");
    scene.finish([worker]).await;
}

#[tokio::test]
async fn a_large_result_travels_by_its_key_alone() {
    let scene = Scene::new().await;
    let worker = scene.worker().await;
    let python = "def main(id, config): return {'curve': 'x' * 1000000}";
    let mut message = scene.job("large", &PYTHON_BACKTEST, python).await;
    // Also where the result would not be kept otherwise: an event cannot carry it.
    message["persist_results"] = json!(false);
    let result = scene.run(&message).await;
    let data = result.expect("succeeded");
    assert_eq!(data.get("result"), None);
    let key = data["objects"]["result_key"].as_str().unwrap();
    assert_eq!(key, format!("{}/analysis.json", scene.id("large")));
    let whole: Value =
        serde_json::from_str(&scene.read_object(Bucket::Results, key).await).unwrap();
    assert_eq!(whole["curve"].as_str().unwrap().len(), 1_000_000);
    assert!(result.event.to_string().len() < 512 * 1024, "the event is large");
    scene.finish([worker]).await;
}

/// compat.md 6: of a bot that crashed, exit code and last lines were lost.
#[tokio::test]
async fn compat_6_a_bot_that_crashes_leaves_its_exit_code_and_its_last_lines() {
    let scene = Scene::new().await;
    let worker = scene.worker().await;
    let raises = "def main(id, config):\n    print('open positions: 3', flush=True)\n    raise KeyError('btc')\n";
    let exits = "import os\ndef main(id, config):\n    print('bye', flush=True)\n    os._exit(7)\n";
    for (name, source) in [("raises", raises), ("exits", exits)] {
        scene.start(&scene.job(name, &PYTHON_BOT, source).await).await;
    }
    for (name, exit_code, line) in [("raises", 1, "open positions: 3"), ("exits", 7, "bye")] {
        let id = scene.id(name);
        let result = scene.events.result_of(&id).await;
        let data = result.expect("failed");
        assert_eq!(data["exit_code"], exit_code, "{data:#}");
        assert!(result.output().contains(line), "{data:#}");
        assert!(scene.logs_of(&id).await.contains(line));
        let day = &data["objects"]["log_keys"][0];
        assert!(day.as_str().unwrap().starts_with(&format!("logs/{id}/")), "{data:#}");
    }
    let first = scene.events.result_of(&scene.id("raises")).await;
    assert!(first.output().contains("KeyError: 'btc'"), "{:#}", first.event);
    scene.finish([worker]).await;
}
