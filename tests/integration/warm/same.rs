//! A run in a container that waited for it is told as one in a container of its own.

use longshore::storage::Bucket;
use longshore_testing::events::Seen;
use longshore_testing::program::{NODE_BACKTEST, PYTHON_BACKTEST, PYTHON_BOT, Program};
use longshore_testing::scene::Scene;
use serde_json::{Value, json};

use super::{container_of, of_each, run_warm, waiting};

const ONE_SHOT_BOT: Program = Program { is_long_running: false, ..PYTHON_BOT };

/// Programs that end in every way, each with what its message says besides.
fn programs() -> Vec<(&'static str, Program, &'static str, Value)> {
    let none = || json!({});
    vec![
        (
            "returns",
            PYTHON_BACKTEST,
            "def main(id, config):\n    print('hello')\n    return {'a': config['x']}",
            json!({"config": {"x": 7}}),
        ),
        ("prints", PYTHON_BACKTEST, PRINTS, none()),
        (
            "around",
            PYTHON_BACKTEST,
            LOOKS_AROUND,
            json!({"env": {"KEY": "a=b\nc", "EMPTY": ""}, "config": {"é": 1}}),
        ),
        ("bot", ONE_SHOT_BOT, LOOKS_AROUND, json!({"env": {"KEY": "v"}})),
        ("raises", PYTHON_BACKTEST, "def main(id, config):\n    raise ValueError('bad')", none()),
        ("exits", PYTHON_BACKTEST, "import sys\ndef main(id, config):\n    sys.exit(9)", none()),
        ("no-main", PYTHON_BACKTEST, "x = 1", none()),
        ("daemon", PYTHON_BACKTEST, DAEMON, none()),
        (
            "memory",
            PYTHON_BACKTEST,
            "def main(id, config):\n    print('takes')\n    b = bytearray(400 << 20)\n    return {}",
            none(),
        ),
        (
            "late",
            PYTHON_BACKTEST,
            "import time\ndef main(id, config):\n    print('waits')\n    time.sleep(60)",
            json!({"timeout_seconds": 1}),
        ),
        (
            "secret",
            PYTHON_BACKTEST,
            "import os\ndef main(id, config):\n    print('k', os.environ['KEY'])\n    return {'k': os.environ['KEY']}",
            json!({"env": {"KEY": "s3cret-value"}, "secrets": ["KEY"]}),
        ),
        (
            "js",
            NODE_BACKTEST,
            "exports.main = async (id, config) => { console.log('hi', process.env.KEY); return { x: config.x, cwd: process.cwd() }; };",
            json!({"config": {"x": 1}, "env": {"KEY": "v"}}),
        ),
        (
            "js-module",
            NODE_BACKTEST,
            "const { config } = require('longshore');\nexports.main = async (id, given) => [config, given];",
            json!({"config": {"x": 1}}),
        ),
        (
            "module",
            PYTHON_BACKTEST,
            "from longshore import config\ndef main(id, given): return [config, given]",
            json!({"config": {"x": 1}}),
        ),
        (
            "js-raises",
            NODE_BACKTEST,
            "exports.main = async () => { throw new Error('bad'); };",
            none(),
        ),
        (
            "js-late",
            NODE_BACKTEST,
            "exports.main = async () => { console.log('waits'); await new Promise((it) => setTimeout(it, 60000)); };",
            json!({"timeout_seconds": 1}),
        ),
    ]
}

/// Long lines, both outputs, no end of line at the end.
const PRINTS: &str = r#"
import sys
def main(id, config):
    for i in range(3000):
        print("line", i)
    print("e" * 40000, file=sys.stderr)
    sys.stderr.write("\x01 half")
"#;

const LOOKS_AROUND: &str = r#"
import os, sys, json
def main(id, config):
    env = {k: v for k, v in os.environ.items() if k not in ("HOSTNAME",)}
    print(json.dumps({"env": env, "argv": sys.argv, "path": sys.path[:3], "cwd": os.getcwd(), "config": config}))
    print(sorted(it for it in os.listdir(".") if it != "__pycache__"), oct(os.stat("backtest.py" if os.path.exists("backtest.py") else "main.py").st_mode))
    print(os.path.exists("/tmp/x"), sorted(os.listdir("/tmp")), os.getuid() > 60000)
    open("/tmp/x", "w").close()
    return env
"#;

/// Leaves a process behind that holds the output open.
const DAEMON: &str = r#"
import subprocess
def main(id, config):
    subprocess.Popen(["sh", "-c", "setsid sh -c 'sleep 60; echo late' &"])
    print("left")
    return {"left": True}
"#;

/// What a result says, without what differs from run to run.
async fn told(scene: &Scene, id: &str, result: &Seen) -> Value {
    let data = result.data();
    let text = |value: &Value| value.to_string().replace(id, "ID");
    let log = scene.read_object(Bucket::Results, &format!("{id}/logs.txt")).await;
    // Both outputs have their own order.
    let lines = |stream: &str| {
        let of_stream = log.lines().filter(|line| line.contains(&format!(" {stream}")));
        of_stream.map(|line| line.split_once(' ').unwrap().1.replace(id, "ID")).collect::<Vec<_>>()
    };
    let states = scene.events.states_of(id);
    json!({
        "verdict": data["verdict"], "message": text(&data["message"]), "exit_code": data["exit_code"],
        "cpu": data["resources"]["cpu_seconds"].is_number(),
        "memory": data["resources"]["peak_memory_bytes"].is_number(),
        "result": text(&data["result"]), "states": states, "lines": log.lines().count(),
        "stdout": lines("stdout"), "stderr": lines("stderr"),
    })
}

#[tokio::test]
async fn every_kind_of_end_is_told_as_in_a_container_of_its_own() {
    let scene = Scene::new().await;
    let mut cold = Vec::new();
    let worker = scene.worker().await;
    for (name, program, source, more) in programs() {
        let mut message = scene.job(&format!("{name}-cold"), &program, source).await;
        message.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let result = scene.run(&message).await;
        cold.push(told(&scene, message["id"].as_str().unwrap(), &result).await);
    }
    let mut first = worker;
    first.stop().await;
    let worker = scene.worker_with(&of_each("2")).await;
    for ((name, program, source, more), cold) in programs().into_iter().zip(cold) {
        let mut message = scene.job(&format!("{name}-warm"), &program, source).await;
        message.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let result = run_warm(&scene, &worker, &message).await;
        let id = message["id"].as_str().unwrap();
        pretty_assertions(name, &told(&scene, id, &result).await, &cold);
        let duration = result.data()["duration_seconds"].as_f64().unwrap();
        assert!(duration < 20.0, "{name}: the time of waiting counts: {duration}");
    }
    scene.finish([worker]).await;
}

fn pretty_assertions(name: &str, warm: &Value, cold: &Value) {
    for (field, value) in cold.as_object().unwrap() {
        assert_eq!(&warm[field], value, "{name}: {field}");
    }
}

#[tokio::test]
async fn what_cannot_be_given_late_runs_cold() {
    let scene = Scene::new().await;
    let worker = scene.worker_with(&of_each("1")).await;
    let ready = waiting(&scene, &worker, 2).await;
    for (name, more) in [
        ("limits", json!({"limits": {"memory_mb": 128}})),
        ("network", json!({"network": "none"})),
        ("env", json!({"env": {"PYTHONHASHSEED": "1"}})),
        ("tz", json!({"env": {"TZ": "UTC"}})),
    ] {
        let mut message =
            scene.job(name, &PYTHON_BACKTEST, "def main(id, config): return {}").await;
        message.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let result = scene.run(&message).await;
        result.expect("succeeded");
        assert!(!ready.contains(&container_of(&result)), "{name} ran warm");
    }
    assert_eq!(waiting(&scene, &worker, 2).await, ready);
    scene.finish([worker]).await;
}
