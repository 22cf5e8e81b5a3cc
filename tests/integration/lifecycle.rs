//! Runs from a start message to settled: both ways to run, on both runtimes.

use serde_json::{Value, json};

use longshore::storage::Bucket;

use longshore_testing::events::Seen;
use longshore_testing::program::{
    NODE_BACKTEST, NODE_BOT, NODE_TICKER, PYTHON_BACKTEST, PYTHON_BOT, PYTHON_TICKER, Program,
};
use longshore_testing::scene::Scene;

/// Says what a program finds around it, on both runtimes.
const PYTHON_LOOKS_AROUND: &str = r#"
import os, json
def main(id, config):
    names = ["ID", "BOT_ID", "BACKTEST_ID", "CONFIG", "BOT_CONFIG", "BACKTEST_CONFIG",
             "ENTRYPOINT_TYPE", "CODE_MOUNT_DIR", "SCRIPT_PATH", "PYTHONDONTWRITEBYTECODE"]
    found = {name: os.environ.get(name) for name in names}
    print(json.dumps({"id": id, "config": config, "cwd": os.getcwd(), "env": found}), flush=True)
"#;

const NODE_LOOKS_AROUND: &str = r"
exports.main = async (id, config) => {
  const names = ['ID', 'BOT_ID', 'BACKTEST_ID', 'CONFIG', 'BOT_CONFIG', 'BACKTEST_CONFIG',
    'ENTRYPOINT_TYPE', 'CODE_MOUNT_DIR', 'SCRIPT_PATH', 'PYTHONDONTWRITEBYTECODE'];
  const env = Object.fromEntries(names.map((name) => [name, process.env[name] ?? null]));
  console.log(JSON.stringify({ id, config, cwd: process.cwd(), env }));
};
";

/// The first line that a program printed, as JSON.
fn first_line(result: &Seen) -> Value {
    let line = result.output().lines().next().unwrap_or_default();
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {:#}", result.event))
}

#[tokio::test]
async fn the_entrypoint_script_gives_bots_and_backtests_their_names_and_directories() {
    let scene = Scene::new().await;
    let worker = scene.worker().await;
    let one_shot_bot = Program { is_long_running: false, ..PYTHON_BOT };
    let cases = [
        ("py-backtest", PYTHON_BACKTEST, PYTHON_LOOKS_AROUND),
        ("py-bot", one_shot_bot, PYTHON_LOOKS_AROUND),
        ("js-backtest", NODE_BACKTEST, NODE_LOOKS_AROUND),
        ("js-bot", NODE_BOT, NODE_LOOKS_AROUND),
    ];
    for (name, program, source) in &cases {
        let mut message = scene.job(name, program, source).await;
        message["config"] = json!({ "fast": 10, "name": "é" });
        scene.start(&message).await;
    }
    for (name, program, _) in &cases {
        let id = scene.id(name);
        let result = scene.events.result_of(&id).await;
        result.expect("succeeded");
        let (mine, others) =
            if program.entrypoint == "bot" { ("BOT", "BACKTEST") } else { ("BACKTEST", "BOT") };
        let (said, folder) = (first_line(&result), format!("/{}", program.entrypoint));
        assert_eq!(said["id"], id);
        assert_eq!(said["config"], json!({ "fast": 10, "name": "é" }));
        assert_eq!(said["cwd"], folder);
        let env = &said["env"];
        for (variable, expected) in [
            ("ID", id.as_str()),
            (&format!("{mine}_ID"), &id),
            ("ENTRYPOINT_TYPE", program.entrypoint),
            ("CODE_MOUNT_DIR", program.entrypoint),
            ("SCRIPT_PATH", &format!("{folder}/{}", program.script)),
            ("PYTHONDONTWRITEBYTECODE", "1"),
        ] {
            assert_eq!(env[variable], expected, "{variable}: {said:#}");
        }
        for variable in ["CONFIG", &format!("{mine}_CONFIG")] {
            let config: Value = serde_json::from_str(env[variable].as_str().unwrap()).unwrap();
            assert_eq!(config, said["config"], "{variable}");
        }
        assert_eq!(env[format!("{others}_ID")], Value::Null);
    }
    scene.finish([worker]).await;
}

#[tokio::test]
async fn a_bot_runs_until_it_is_stopped_on_both_runtimes() {
    let scene = Scene::new().await;
    let worker = scene.worker().await;
    let cases = [
        ("py", PYTHON_BOT, PYTHON_TICKER, "/bin/bash -p"),
        ("js", NODE_BOT, NODE_TICKER, "/bin/sh"),
    ];
    for (name, program, source, _) in &cases {
        scene.start(&scene.job(name, program, source).await).await;
    }
    for (name, program, _, shell) in &cases {
        let id = scene.id(name);
        let running = scene.events.wait_state(&id, "running").await;
        let container = scene.container_of(&id).await;
        assert_eq!(running.data()["container_id"].as_str(), container.id.as_deref());
        assert_container(&scene, &id, program, shell, &container);
        scene.logged(&id, "tick 1").await;
        assert_eq!(scene.events.results_of(&id).len(), 0, "a bot that runs has no result yet");
    }
    // Both are seen where a scene looks for what is left behind.
    assert_eq!((scene.containers().await.len(), scene.directories().len()), (2, 2));
    for (name, ..) in &cases {
        scene.stop(&json!({ "id": scene.id(name), "reason": "market closed" })).await;
    }
    for (name, program, ..) in &cases {
        let id = scene.id(name);
        let result = scene.events.result_of(&id).await;
        let data = result.expect("stopped");
        result.expect_message(&["market closed"]);
        assert_eq!((&data["status"], &data["is_long_running"]), (&json!("success"), &json!(true)));
        // Not 137: the program heard SIGTERM, and nobody had to kill it.
        assert_eq!(data["exit_code"], 143, "{data:#}");
        assert_eq!(data["entrypoint"], program.entrypoint);
        assert!(result.output().contains("up\ntick 1\n"), "{data:#}");
        let states = scene.events.states_of(&id);
        assert_eq!(states, ["accepted", "preparing", "running", "stopping", "finished"]);
        assert!(scene.logs_of(&id).await.contains("tick 1"));
    }
    scene.finish([worker]).await;
}

/// What a container must look like, asked of the engine.
fn assert_container(
    scene: &Scene,
    id: &str,
    program: &Program,
    shell: &str,
    container: &bollard::models::ContainerInspectResponse,
) {
    let config = container.config.as_ref().unwrap();
    let labels = config.labels.as_ref().unwrap();
    for (label, value) in [
        ("runtime.id", id),
        ("runtime.entrypoint", program.script),
        ("runtime.managed", "true"),
        ("runtime.segment", "0"),
        ("runtime.type", program.entrypoint),
        ("runtime.namespace", &scene.namespace),
        ("runtime.attempt", "1"),
    ] {
        assert_eq!(labels.get(label).map(String::as_str), Some(value), "{label}");
    }
    let script = format!("/{}/entrypoint.sh", program.entrypoint);
    let command: Vec<_> = shell.split(' ').chain([script.as_str()]).collect();
    assert_eq!(config.cmd.as_deref().unwrap(), command);
    assert_eq!(config.working_dir.as_deref(), Some("/tmp"));
    assert_eq!(config.stop_signal.as_deref(), Some("SIGTERM"));
    let host = container.host_config.as_ref().unwrap();
    assert_eq!(host.network_mode.as_deref(), Some("host"));
    assert_eq!(host.memory, Some(256 * 1024 * 1024));
    assert_eq!((host.cpu_shares, host.pids_limit), (Some(512), Some(256)));
    assert_eq!(host.auto_remove, Some(false));
    assert_eq!(host.cap_drop.as_deref(), Some(&["ALL".to_owned()][..]));
    let mut mounts = container.mounts.clone().unwrap();
    mounts.sort_by(|a, b| a.destination.cmp(&b.destination));
    let folder = format!("/{}", program.entrypoint);
    let note = format!("{folder}/.longshore/exit-note");
    let places: Vec<_> =
        mounts.iter().map(|mount| (mount.destination.as_deref(), mount.rw)).collect();
    let mut ours = vec!["/etc/group", "/etc/passwd"];
    if program.runtime == "nodejs20" {
        ours.push("/node_modules/longshore/index.js");
    }
    let ours: Vec<_> = ours.into_iter().map(|file| (Some(file), Some(false))).collect();
    assert_eq!(places[..2], [(Some(&*folder), Some(false)), (Some(&*note), Some(true))]);
    assert_eq!(places[2], (Some(&*format!("{folder}/.longshore/init")), Some(false)));
    assert_eq!(places[3..], ours);
    let source = mounts[0].source.as_deref().unwrap();
    assert!(source.starts_with(scene.temp_dir().to_str().unwrap()), "{source}");
}

/// A stop may come before the language is up: process 1 does not hear signals that it has not
/// asked for, and the bot would be killed when its time to tidy up is over.
#[tokio::test]
async fn a_bot_that_is_stopped_the_moment_it_runs_ends_without_being_killed() {
    let scene = Scene::new().await;
    let worker = scene.worker().await;
    for (name, program, source) in
        [("py", PYTHON_BOT, PYTHON_TICKER), ("js", NODE_BOT, NODE_TICKER)]
    {
        let id = scene.id(name);
        scene.start(&scene.job(name, &program, source).await).await;
        scene.events.wait_state(&id, "running").await;
        scene.stop(&json!({ "id": id, "timeout_seconds": 10 })).await;
        let result = scene.events.result_of(&id).await;
        assert_eq!(result.expect("stopped")["exit_code"], 143, "{:#}", result.event);
    }
    scene.finish([worker]).await;
}

#[tokio::test]
async fn a_backtest_runs_to_its_end_on_both_runtimes() {
    let scene = Scene::new().await;
    let worker = scene.worker().await;
    let python = "def main(id, config):\n    print('in python')\n    return {'sharpe': 1.5}\n";
    let node = "exports.main = async () => { console.log('in node'); return { sharpe: 1.5 }; };";
    let cases = [("py", PYTHON_BACKTEST, python), ("js", NODE_BACKTEST, node)];
    for (name, program, source) in &cases {
        scene.start(&scene.job(name, program, source).await).await;
    }
    for (name, ..) in &cases {
        let id = scene.id(name);
        let result = scene.events.result_of(&id).await;
        let data = result.expect("succeeded");
        assert_eq!((&data["status"], &data["exit_code"]), (&json!("success"), &json!(0)));
        assert_eq!(data["result"], json!({ "sharpe": 1.5 }));
        assert_eq!((&data["attempt"], &data["segment"]), (&json!(1), &json!(0)));
        assert!(data["duration_seconds"].as_f64().unwrap() > 0.0);
        let used = &data["resources"];
        assert!(used["cpu_seconds"].as_f64() > Some(0.0), "{data:#}");
        assert!(used["peak_memory_bytes"].as_u64() > Some(1 << 20), "{data:#}");
        assert!(data["started_at"].as_str() <= data["finished_at"].as_str());
        let states = scene.events.states_of(&id);
        assert_eq!(states, ["accepted", "preparing", "running", "finished"]);
    }
    scene.finish([worker]).await;
}

#[tokio::test]
async fn a_backtest_is_stopped_on_both_runtimes() {
    let scene = Scene::new().await;
    let worker = scene.worker().await;
    let python = "import time\ndef main(id, config):\n    print('up', flush=True)\n    \
                  time.sleep(600)\n";
    let node = "exports.main = async () => { console.log('up'); \
                await new Promise((done) => setTimeout(done, 600000)); };";
    let cases = [("py", PYTHON_BACKTEST, python), ("js", NODE_BACKTEST, node)];
    for (name, program, source) in &cases {
        scene.start(&scene.job(name, program, source).await).await;
    }
    for (name, ..) in &cases {
        let id = scene.id(name);
        scene.logged(&id, "up").await;
        scene.stop(&json!({ "id": id, "reason": "not needed" })).await;
        let result = scene.events.result_of(&id).await;
        let data = result.expect("stopped");
        result.expect_message(&["not needed"]);
        assert_eq!(data["exit_code"], 143, "{data:#}");
        assert_eq!(data["result"]["status"], "terminated", "{data:#}");
        assert!(result.output().starts_with("up\n"), "{data:#}");
        let states = scene.events.states_of(&id);
        assert_eq!(states, ["accepted", "preparing", "running", "stopping", "finished"]);
    }
    scene.finish([worker]).await;
}

#[tokio::test]
async fn the_result_and_the_output_of_a_backtest_are_stored() {
    let scene = Scene::new().await;
    let worker = scene.worker().await;
    // The pauses are there because the engine reads stdout and stderr side by side.
    let source = "import sys, time\ndef main(id, config):\n    print('one')\n    time.sleep(0.3)\n    \
                  print('two', file=sys.stderr)\n    time.sleep(0.3)\n    return {'trades': [1, 2]}\n";
    let kept = scene.job("kept", &PYTHON_BACKTEST, source).await;
    let mut dropped = scene.job("dropped", &PYTHON_BACKTEST, source).await;
    dropped["persist_results"] = json!(false);
    scene.start(&kept).await;
    scene.start(&dropped).await;

    let id = scene.id("kept");
    let result = scene.events.result_of(&id).await;
    let objects = &result.expect("succeeded")["objects"];
    let (analysis, logs) = (format!("{id}/analysis.json"), format!("{id}/logs.txt"));
    assert_eq!(objects["result_key"], analysis.as_str());
    assert_eq!(objects["output_key"], logs.as_str());
    // Byte for byte what the launcher wrote, and printed last.
    let stored = scene.read_object(Bucket::Results, &analysis).await;
    let printed = scene.read_object(Bucket::Results, &logs).await;
    assert_eq!(serde_json::from_str::<Value>(&stored).unwrap(), json!({ "trades": [1, 2] }));
    assert_eq!(printed, format!("one\ntwo\n{}\n", stored.trim_end()));
    assert_eq!(result.output(), printed);

    let id = scene.id("dropped");
    let result = scene.events.result_of(&id).await;
    let data = result.expect("succeeded");
    assert_eq!(data["result"], json!({ "trades": [1, 2] }));
    assert_eq!(data["objects"].get("result_key"), None);
    assert_eq!(scene.objects(Bucket::Results, &format!("{id}/analysis")).await, [""; 0]);
    scene.finish([worker]).await;
}

#[tokio::test]
async fn results_are_stored_as_json_and_logs_as_plain_text() {
    let scene = Scene::new().await;
    let worker = scene.worker().await;
    let source = "def main(id, config):\n    print('one')\n    return {'trades': 2}\n";
    let id = scene.id("typed");
    let result = scene.run(&scene.job("typed", &PYTHON_BACKTEST, source).await).await;
    result.expect("succeeded");
    for (name, expected) in [("analysis.json", "application/json"), ("logs.txt", "text/plain")] {
        let stored = scene.content_type(Bucket::Results, &format!("{id}/{name}")).await;
        assert_eq!(stored.as_deref(), Some(expected), "{name}");
    }
    let days = scene.objects(Bucket::Logs, &format!("logs/{id}/")).await;
    assert!(!days.is_empty());
    for day in days {
        let stored = scene.content_type(Bucket::Logs, &day).await;
        assert_eq!(stored.as_deref(), Some("text/plain"), "{day}");
    }
    scene.finish([worker]).await;
}

#[tokio::test]
async fn one_archive_serves_several_entrypoints() {
    let scene = Scene::new().await;
    let worker = scene.worker().await;
    let shared = "WHO = 'shared code'\n";
    let main = "import shared\ndef main(id, config):\n    print('the bot with', shared.WHO)\n";
    let test = "import shared\ndef main(id, config):\n    return {'ran': shared.WHO}\n";
    let files = [("src/main.py", main), ("tests/backtest.py", test), ("shared.py", shared)];
    let key = scene.put_code("both", &files).await;
    let files = json!({ "bot": "src/main.py", "backtest": "./tests/backtest.py" });
    let mut bot = PYTHON_BOT.message(&scene.id("bot"), &key);
    let mut backtest = PYTHON_BACKTEST.message(&scene.id("backtest"), &key);
    bot["entrypoint_files"] = files.clone();
    backtest["entrypoint_files"] = files;

    scene.start(&bot).await;
    let result = scene.run(&backtest).await;
    assert_eq!(result.expect("succeeded")["result"], json!({ "ran": "shared code" }));
    let result = scene.events.result_of(&scene.id("bot")).await;
    result.expect("succeeded");
    assert!(result.output().contains("the bot with shared code"), "{:#}", result.event);
    scene.finish([worker]).await;
}

/// The keys of a JSON object as they stand in its text, repeated ones included.
struct Keys(Vec<String>);

impl<'de> serde::Deserialize<'de> for Keys {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct All;
        impl<'de> serde::de::Visitor<'de> for All {
            type Value = Keys;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Keys, A::Error> {
                let mut keys = Vec::new();
                while let Some((key, serde::de::IgnoredAny)) = map.next_entry()? {
                    keys.push(key);
                }
                Ok(Keys(keys))
            }
        }
        deserializer.deserialize_map(All)
    }
}

#[tokio::test]
async fn a_workers_log_says_once_how_each_run_ended_and_no_line_has_a_key_twice() {
    let scene = Scene::new().await;
    let worker = scene.worker().await;
    scene.start(&scene.job("bot", &PYTHON_BOT, PYTHON_TICKER).await).await;
    scene
        .start(&scene.job("good", &PYTHON_BACKTEST, "def main(id, config): return {}").await)
        .await;
    scene.start(&scene.job("bad", &PYTHON_BACKTEST, "raise ValueError('no')").await).await;
    scene.start(&PYTHON_BACKTEST.message(&scene.id("none"), "no/such/code.zip")).await;
    scene.events.wait_state(&scene.id("bot"), "running").await;
    scene.stop(&json!({ "id": scene.id("bot") })).await;
    let expected =
        [("bot", "stopped"), ("good", "succeeded"), ("bad", "failed"), ("none", "rejected")];
    for (name, verdict) in expected {
        scene.events.result_of(&scene.id(name)).await.expect(verdict);
    }
    let log = worker.log();
    for line in log.lines() {
        let Keys(mut keys) = serde_json::from_str(line).unwrap();
        let all = keys.len();
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), all, "{line}");
    }
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for (name, verdict) in expected {
        let ends: Vec<_> = lines
            .iter()
            .filter(|line| line["message"] == "a run has ended")
            .filter(|line| line["job.id"] == scene.id(name))
            .collect();
        assert_eq!(ends.len(), 1, "{name}: {ends:#?}");
        assert_eq!(ends[0]["verdict"], verdict);
        assert!(ends[0]["duration_seconds"].is_number() && ends[0]["run.id"].is_string());
    }
    scene.dead_letters(1).await;
    scene.finish([worker]).await;
}
