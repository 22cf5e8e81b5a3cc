//! Code that fails, each in its own way: the verdict says how, and what it said is kept.

use longshore::storage::Bucket;
use serde_json::{Value, json};

use longshore_testing::program::{NODE_BACKTEST, PYTHON_BACKTEST, PYTHON_BOT, Program};
use longshore_testing::scene::Scene;

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
async fn compat_11_the_ends_of_python_code_are_distinguished() {
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
async fn compat_11_the_ends_of_javascript_code_are_distinguished() {
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
    for (name, exit_code) in [("py", 143), ("deaf", 143)] {
        let id = scene.id(name);
        let result = scene.events.result_of(&id).await;
        let data = result.expect("timed_out");
        result.expect_message(&["3 s"]);
        assert_eq!(data["exit_code"], exit_code, "{data:#}");
        assert!(result.output().starts_with("before\n"), "{data:#}");
        let stored = scene.read_object(Bucket::Results, &format!("{id}/logs.txt")).await;
        assert!(stored.starts_with("before\n"), "{stored}");
    }
    for name in ["py", "deaf"] {
        let key = format!("{}/analysis.json", scene.id(name));
        let kept = scene.read_object(Bucket::Results, &key).await;
        assert_eq!(serde_json::from_str::<Value>(&kept).unwrap()["status"], "terminated");
    }
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

/// V8 ends itself when its heap is full, long before the kernel would.
#[tokio::test]
async fn node_has_most_of_its_memory_for_the_heap_and_ends_as_out_of_memory() {
    let scene = Scene::new().await;
    let worker = scene.worker().await;
    let limit =
        "exports.main = () => ({ heap: require('v8').getHeapStatistics().heap_size_limit });";
    let hungry = "exports.main = () => { const a = []; \
                  for (;;) a.push(Array.from({ length: 1e5 }, (_, i) => ({ i }))); };";
    for (name, source) in [("limit", limit), ("hungry", hungry)] {
        let mut message = scene.job(name, &NODE_BACKTEST, source).await;
        message["limits"] = json!({ "memory_mb": 256 });
        scene.start(&message).await;
    }
    let result = scene.events.result_of(&scene.id("limit")).await;
    let heap = result.expect("succeeded")["result"]["heap"].as_u64().unwrap();
    assert!((192 << 20..256 << 20).contains(&heap), "{heap}");
    let result = scene.events.result_of(&scene.id("hungry")).await;
    result.expect("out_of_memory");
    result.expect_message(&["256 MiB"]);
    scene.finish([worker]).await;
}

#[tokio::test]
async fn code_has_a_user_name_and_a_home_in_every_image() {
    let scene = Scene::new().await;
    let worker = scene.worker().await;
    let python = "import getpass, grp, os, pathlib, pwd\ndef main(id, config):\n    \
                  me = pwd.getpwuid(os.getuid())\n    \
                  return [me.pw_name, getpass.getuser(), grp.getgrgid(os.getgid()).gr_name, \
                  me.pw_dir, os.path.expanduser('~job'), str(pathlib.Path.home()), pwd.getpwnam('root').pw_uid]";
    let node = "const { homedir, userInfo } = require('os');\n\
                const { execSync } = require('child_process');\n\
                exports.main = () => [userInfo().username, String(execSync('id -un')).trim(), \
                String(execSync('id -gn')).trim(), userInfo().homedir, homedir()];";
    for (name, program, source) in [("py", PYTHON_BACKTEST, python), ("js", NODE_BACKTEST, node)] {
        let result = scene.run(&scene.job(name, &program, source).await).await;
        let expected = match name {
            "py" => json!(["job", "job", "job", "/tmp", "/tmp", "/tmp", 0]),
            _ => json!(["job", "job", "job", "/tmp", "/tmp"]),
        };
        assert_eq!(result.expect("succeeded")["result"], expected, "{name}");
    }
    scene.finish([worker]).await;
}

/// What stands in the way of a program is said where its author looks.
#[tokio::test]
async fn code_that_writes_to_a_read_only_place_learns_where_it_may_write() {
    let scene = Scene::new().await;
    let worker = scene.worker().await;
    let python = |body: &str| format!("def main(id, config):\n    {body}\n");
    let node = |body: &str| format!("exports.main = () => {{ {body} }};");
    let cases = [
        ("new", PYTHON_BACKTEST, python("open('bot.log', 'w')"), "BOT_READ_ONLY_CODE"),
        ("old", PYTHON_BACKTEST, python("open(__file__, 'a')"), "BOT_READ_ONLY_CODE"),
        ("root", PYTHON_BACKTEST, python("open('/usr/x', 'w')"), "BOT_READ_ONLY_ROOT"),
        (
            "sqlite",
            PYTHON_BACKTEST,
            python("import sqlite3; sqlite3.connect('a.db').execute('create table a (b)')"),
            "BOT_READ_ONLY_CODE",
        ),
        (
            "full",
            PYTHON_BACKTEST,
            python("f = open('/tmp/a', 'wb')\n    while True: f.write(bytes(1 << 20))"),
            "BOT_TMP_MB",
        ),
        (
            "replace",
            PYTHON_BACKTEST,
            python("import os; open('/tmp/r', 'w'); os.replace('/tmp/r', 'result.json')"),
            "result.json in place",
        ),
        (
            "js-new",
            NODE_BACKTEST,
            node("require('fs').writeFileSync('bot.log', '')"),
            "BOT_READ_ONLY_CODE",
        ),
        (
            "js-full",
            NODE_BACKTEST,
            node("for (;;) require('fs').appendFileSync('/tmp/a', Buffer.alloc(1 << 20))"),
            "BOT_TMP_MB",
        ),
    ];
    for (name, program, source, _) in &cases {
        scene.start(&scene.job(name, program, source).await).await;
    }
    for (name, .., setting) in &cases {
        let result = scene.events.result_of(&scene.id(name)).await;
        result.expect("failed");
        result.expect_message(&["/tmp", setting][usize::from(*name == "replace")..]);
    }
    scene.finish([worker]).await;
}

/// A stop waits for what a program cleans up, not for what it left behind.
#[tokio::test]
async fn a_bot_with_threads_and_pools_stops_long_before_it_would_be_killed() {
    let scene = Scene::new().await;
    let worker = scene.worker().await;
    let pool = "import time\nfrom concurrent.futures import ThreadPoolExecutor\n\
                def feed(n):\n    while True: time.sleep(.5)\ndef main(id, config):\n    \
                print('ready')\n    with ThreadPoolExecutor(2) as p: list(p.map(feed, range(2)))";
    let system = "import os\ndef main(id, config):\n    print('ready')\n    os.system('sleep 600')";
    for (name, source) in [("pool", pool), ("system", system)] {
        scene.start(&scene.job(name, &PYTHON_BOT, source).await).await;
    }
    for name in ["pool", "system"] {
        scene.logged(&scene.id(name), "ready").await;
        scene.stop(&json!({ "id": scene.id(name) })).await;
        let result = scene.events.result_of(&scene.id(name)).await;
        // 137 would be the end of the grace.
        assert_eq!(result.expect("stopped")["exit_code"], 143, "{name}");
    }
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

#[tokio::test]
async fn every_digit_and_the_order_of_keys_go_from_the_message_to_main_and_into_the_event() {
    let scene = Scene::new().await;
    let worker = scene.worker().await;
    let source = "import os\ndef main(id, config):\n    text = open(os.environ['CONFIG_FILE']).read()\n    \
                  return {'wei': config['wei'] * 10 + 9, 'config': config, 'text': text, \
                  'same': text == os.environ['BACKTEST_CONFIG']}";
    let message = scene.job("digits", &PYTHON_BACKTEST, source).await;
    let config =
        r#"{"zeta":1,"wei":123456789012345678901,"alpha":[0.1,{"b":2,"a":-9007199254740993}]}"#;
    let text = Value::from(config).to_string();
    let expected =
        format!(r#"{{"wei":1234567890123456789019,"config":{config},"text":{text},"same":true}}"#);
    let result = scene.run_with_config(&message, config).await;
    result.expect("succeeded");
    assert!(result.text.contains(&format!("\"result\":{expected}")), "{}", result.text);
    let id = message["id"].as_str().unwrap();
    let stored = scene.read_object(Bucket::Results, &format!("{id}/analysis.json")).await;
    assert_eq!(stored, expected);
    scene.finish([worker]).await;
}
