use serde_json::{Value, json};

use super::*;
use crate::job::{Bounds, Entrypoint, Runtimes, parse_executable};

/// A bot, validated like any other.
pub(crate) fn job(script: &str) -> Job {
    let message = json!({
        "id": "my-job", "run_id": "run-1", "runtime": "python3.11", "entrypoint": "bot",
        "entrypoint_files": {"bot": script}, "file_path": "code.zip", "config": {},
        "is_long_running": true, "persist_results": false, "network": "bridge",
        "limits": {"memory_mb": 64, "cpu_shares": 128, "cpus": 0.5, "pids": 32},
        "max_attempts": 1,
    });
    let executable = parse_executable(message.to_string().as_bytes()).unwrap();
    Job::validate(executable, &Bounds::default(), None).unwrap()
}

const FIRST: Assignment<'static> =
    Assignment { namespace: "ls", segment: 3, attempt: 1, lock: None };

fn built(job: &Job) -> ContainerSpec {
    ContainerBuilder::new("python:3.11-slim").with_job(job, &FIRST).build()
}

fn env<'a>(spec: &'a ContainerSpec, name: &str) -> Option<&'a str> {
    spec.env.get(name).map(String::as_str)
}

fn bind(host: &str, container: &str, read_only: bool) -> Bind {
    Bind { host: PathBuf::from(host), container: container.to_owned(), read_only }
}

#[test]
fn of_read_only_code_the_files_that_are_written_are_mounted_once_more() {
    let (root, job) = (Path::new("/r"), job("main.py"));
    let writes = ["result.json", ".longshore/exit-note"];
    let expected = [
        bind("/r", "/bot", true),
        bind("/r/result.json", "/bot/result.json", false),
        bind("/r/.longshore/exit-note", "/bot/.longshore/exit-note", false),
    ];
    assert_eq!(code_binds(root, &job, &writes, true), expected);
    assert_eq!(code_binds(root, &job, &writes, false), [bind("/r", "/bot", false)]);
}

#[test]
fn a_bot_gets_the_names_that_bots_know() {
    let mut job = job("src/main.py");
    job.env.insert("EXTRA".to_owned(), "é\n'\"".to_owned());
    job.config = r#"{"a":"it's"}"#.parse().unwrap();
    let spec = ContainerBuilder::new("python:3.11-slim")
        .with_job(&job, &FIRST)
        .with_command(["/bin/bash", "-p", "/bot/entrypoint.sh"].map(str::to_owned).to_vec())
        .with_bind(Path::new("/tmp/runtime/x"), "/bot")
        .with_stop_timeout(Duration::from_secs(5))
        .build();
    let expected_env = [
        ("CODE_MOUNT_DIR", "bot"),
        ("CONFIG", r#"{"a":"it's"}"#),
        ("CONFIG_FILE", "/bot/.longshore/config.json"),
        ("ENTRYPOINT_TYPE", "bot"),
        ("EXTRA", "é\n'\""),
        ("HOME", "/tmp"),
        ("ID", "my-job"),
        ("IS_LONG_RUNNING", "true"),
        ("PYTHONDONTWRITEBYTECODE", "1"),
        ("SCRIPT_PATH", "/bot/src/main.py"),
    ];
    let found: Vec<_> = spec.env.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    assert_eq!(found, expected_env);
    let expected_labels = [
        ("runtime.attempt", "1"),
        ("runtime.entrypoint", "main.py"),
        ("runtime.id", "my-job"),
        ("runtime.managed", "true"),
        ("runtime.namespace", "ls"),
        ("runtime.run", "run-1"),
        ("runtime.segment", "3"),
        ("runtime.type", "bot"),
    ];
    let found: Vec<_> = spec.labels.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    assert_eq!(found, expected_labels);
    assert_eq!(spec.name, "ls.my-job.1");
    assert_eq!(spec.command, ["/bin/bash", "-p", "/bot/entrypoint.sh"]);
    assert_eq!(spec.working_dir, "/tmp");
    assert_eq!(spec.limits, job.limits);
    assert_eq!(spec.network, Network::Bridge);
    assert_eq!(spec.stop_timeout, Duration::from_secs(5));
    assert_eq!(spec.binds, [bind("/tmp/runtime/x", "/bot", false)]);
}

#[test]
fn a_backtest_lives_in_its_own_directory() {
    let mut job = job("backtest.py");
    job.entrypoint = Entrypoint::Backtest;
    job.is_long_running = false;
    let spec = built(&job);
    for (name, value) in [
        ("CODE_MOUNT_DIR", "backtest"),
        ("CONFIG_FILE", "/backtest/.longshore/config.json"),
        ("SCRIPT_PATH", "/backtest/backtest.py"),
        ("IS_LONG_RUNNING", "false"),
        ("ENTRYPOINT_TYPE", "backtest"),
    ] {
        assert_eq!(env(&spec, name), Some(value), "{name}");
    }
}

#[test]
fn the_heap_of_node_follows_the_memory_of_its_job() {
    for (memory, heap) in [(64, 48), (512, 384), (4096, 3072), (16384, 15360)] {
        assert_eq!(node_heap_mb(memory), heap, "{memory}");
    }
    let mut job = job("main.js");
    job.limits.memory_mb = 512;
    assert_eq!(env(&built(&job), "NODE_HEAP_MB"), None);
    job.runtime = Runtimes::default().get("nodejs20").unwrap().clone();
    job.env.insert("NODE_HEAP_MB".to_owned(), "9".to_owned());
    assert_eq!(env(&built(&job), "NODE_HEAP_MB"), Some("384"));
}

#[test]
fn a_config_too_large_for_the_environment_travels_by_file_alone() {
    // {"k":"…"} adds eight bytes.
    for (length, fits) in [(MAX_CONFIG_ENV_BYTES - 8, true), (MAX_CONFIG_ENV_BYTES - 7, false)] {
        let mut job = job("main.py");
        job.config = json!({"k": "x".repeat(length)}).to_string().parse().unwrap();
        let spec = built(&job);
        assert_eq!(env(&spec, "CONFIG").is_some(), fits, "{length}");
        assert_eq!(env(&spec, "CONFIG_FILE"), Some("/bot/.longshore/config.json"));
    }
}

#[test]
fn the_size_of_a_config_counts_in_bytes_not_in_characters() {
    let mut job = job("main.py");
    job.config = json!({"k": "é".repeat(MAX_CONFIG_ENV_BYTES / 2)}).to_string().parse().unwrap();
    assert_eq!(env(&built(&job), "CONFIG"), None);
}

#[test]
fn compat_10_a_config_is_handed_on_as_it_is_whatever_it_holds() {
    let mut job = job("main.py");
    let nasty = "it's $(rm -rf /)\n`id` \"日本\" \u{0}\u{1F680}";
    job.config = json!({nasty: nasty}).to_string().parse().unwrap();
    let spec = built(&job);
    let config = env(&spec, "CONFIG").unwrap();
    assert!(!config.contains('\0'), "the environment cannot hold a NUL");
    assert_eq!(serde_json::from_str::<Value>(config).unwrap(), json!({nasty: nasty}));
}

#[test]
fn our_own_names_win_over_the_jobs() {
    let mut job = job("main.py");
    job.env.insert("ID".to_owned(), "somebody-else".to_owned());
    job.env.insert("CONFIG".to_owned(), "{}".to_owned());
    job.config = json!({"k": "x".repeat(MAX_CONFIG_ENV_BYTES)}).to_string().parse().unwrap();
    let spec = built(&job);
    assert_eq!(env(&spec, "ID"), Some("my-job"));
    assert_eq!(env(&spec, "CONFIG"), None);
}

#[test]
fn names_tell_apart_namespace_job_and_attempt() {
    let name = |namespace, id: &str, attempt| {
        let mut job = job("main.py");
        job.id = id.parse().unwrap();
        container_name(&job, &Assignment { namespace, segment: 0, attempt, lock: None })
    };
    let names = [
        name("a", "b-1", 1),
        name("a-b", "1", 1),
        name("a", "b", 11),
        name("a", "b-1-1", 1),
        name("a.b", "1", 1),
        name("a", "b", 1),
    ];
    let distinct: std::collections::BTreeSet<_> = names.iter().collect();
    assert_eq!(distinct.len(), names.len(), "{names:?}");
}
