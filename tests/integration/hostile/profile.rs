//! What a container may do: by default, where the operator gives more, and whatever a message asks.

use bollard::models::{ContainerInspectResponse, HostConfig};
use serde_json::json;

use longshore_testing::program::{NODE_BACKTEST, PYTHON_BACKTEST, PYTHON_BOT, PYTHON_TICKER};
use longshore_testing::scene::Scene;
use longshore_testing::second_engine::SecondEngine;

/// What a bot of the old contract does: it writes where it likes, and is root.
const WRITES_EVERYWHERE: &str = r"
import os
def main(id, config):
    for path in ('trades.csv', '/backtest/lib/cache.bin', '/var/tmp/note', '/root/note', '/tmp/note'):
        os.makedirs(os.path.dirname(path) or '.', exist_ok=True)
        with open(path, 'w') as file: file.write(id)
    os.makedirs('sealed/deep', mode=0o700)
    with open('sealed/deep/file', 'w') as file: file.write('x')
    with open('lib/there.py', 'a') as file: file.write('# more')
    return {'uid': os.getuid(), 'cwd': os.getcwd()}
";

/// The settings that bring the old contract back.
const AS_IT_WAS: [(&str, &str); 5] = [
    ("BOT_USER", "0:0"),
    ("BOT_READ_ONLY_ROOT", "false"),
    ("BOT_READ_ONLY_CODE", "false"),
    ("BOT_INIT", "false"),
    ("BOT_FILE_SIZE_LIMIT_MB", "1024"),
];

#[tokio::test]
async fn settings_bring_back_what_bots_of_the_old_contract_could_do() {
    let scene = Scene::new().await;
    let worker = scene.worker_with(&AS_IT_WAS).await;
    let files = [("backtest.py", WRITES_EVERYWHERE), ("lib/there.py", "")];
    let key = scene.put_code("as-it-was", &files).await;
    let result = scene.run(&PYTHON_BACKTEST.message(&scene.id("as-it-was"), &key)).await;
    let data = result.expect("succeeded");
    assert_eq!(data["result"], json!({ "uid": 0, "cwd": "/backtest" }));
    scene.finish([worker]).await;
}

/// The same for a user that owns nothing: what it leaves is removed all the same.
#[tokio::test]
async fn the_containers_user_can_write_code_that_may_be_written() {
    let scene = Scene::new().await;
    let worker = scene.worker_with(&[("BOT_READ_ONLY_CODE", "false")]).await;
    let source = "import os\ndef main(id, config):\n    os.makedirs('sealed/deep', mode=0o700)\n    \
                  open('sealed/deep/file', 'w').close()\n    open('lib/there.py', 'a').close()\n    \
                  return os.getuid()\n";
    let files = [("backtest.py", source), ("lib/there.py", "")];
    let key = scene.put_code("writable", &files).await;
    let result = scene.run(&PYTHON_BACKTEST.message(&scene.id("writable"), &key)).await;
    let user = result.expect("succeeded")["result"].as_u64().unwrap();
    assert!((65_536..=99_999).contains(&user), "{user}");
    scene.finish([worker]).await;
}

/// Both runtimes do with `/tmp` what packages do: unpack native parts and start them, keep caches
/// in the home directory, and hand data to child processes.
#[tokio::test]
async fn what_honest_programs_need_is_there() {
    let scene = Scene::new().await;
    let worker = scene.worker().await;
    let python = r"
import multiprocessing, os, pathlib, shutil, sqlite3, subprocess, tempfile
def square(number): return number * number
def main(id, config):
    tool = shutil.copy('/bin/true', tempfile.mkdtemp())
    subprocess.run([tool], check=True)
    pathlib.Path.home().joinpath('.cache').mkdir()
    base = sqlite3.connect(os.path.join(tempfile.gettempdir(), 'base.db'))
    base.execute('create table prices (price real)')
    with multiprocessing.Pool(2) as pool: return pool.map(square, [1, 2, 3])
";
    let node = r"
const { execFileSync } = require('child_process');
const fs = require('fs'), os = require('os'), path = require('path');
exports.main = () => {
  const tool = path.join(fs.mkdtempSync(path.join(os.tmpdir(), 'x-')), 'true');
  fs.copyFileSync('/bin/true', tool);
  fs.mkdirSync(path.join(os.homedir(), '.cache'));
  execFileSync(tool);
  return 'ran';
};";
    let first = scene.run(&scene.job("python", &PYTHON_BACKTEST, python).await).await;
    assert_eq!(first.expect("succeeded")["result"], json!([1, 4, 9]));
    let second = scene.run(&scene.job("node", &NODE_BACKTEST, node).await).await;
    assert_eq!(second.expect("succeeded")["result"], json!("ran"));
    scene.finish([worker]).await;
}

#[tokio::test]
async fn a_message_can_only_lower_what_the_settings_allow() {
    let scene = Scene::new().await;
    let settings = [
        ("BOT_MEMORY_LIMIT_MB", "128"),
        ("BOT_PIDS_LIMIT", "64"),
        ("BOT_CPUS", "1"),
        ("BOT_ALLOWED_NETWORKS", "bridge,none"),
        ("BOT_NETWORK", "none"),
    ];
    let worker = scene.worker_with(&settings).await;
    for (name, limits, network) in [
        ("memory", json!({ "memory_mb": 129 }), None),
        ("shares", json!({ "cpu_shares": 513 }), None),
        ("cpus", json!({ "cpus": 1.5 }), None),
        ("pids", json!({ "pids": 65 }), None),
        ("network", json!({}), Some("host")),
    ] {
        let mut message = scene.job(name, &PYTHON_BACKTEST, "def main(id, config): pass").await;
        message["limits"] = limits;
        if let Some(network) = network {
            message["network"] = json!(network);
        }
        scene.run(&message).await.expect("rejected");
    }
    scene.dead_letters(5).await;
    let mut lower = scene.job("lower", &PYTHON_BOT, PYTHON_TICKER).await;
    lower["limits"] = json!({ "memory_mb": 64, "cpu_shares": 128, "cpus": 0.5, "pids": 32 });
    scene.start(&lower).await;
    scene.events.wait_state(&scene.id("lower"), "running").await;
    let host = scene.container_of(&scene.id("lower")).await.host_config.unwrap();
    assert_eq!((host.memory, host.memory_swap), (Some(64 << 20), Some(64 << 20)));
    assert_eq!((host.cpu_shares, host.nano_cpus), (Some(128), Some(500_000_000)));
    assert_eq!((host.pids_limit, host.network_mode.as_deref()), (Some(32), Some("none")));
    scene.stop(&json!({ "id": scene.id("lower") })).await;
    scene.events.result_of(&scene.id("lower")).await.expect("stopped");
    scene.finish([worker]).await;
}

#[tokio::test]
async fn the_oci_runtime_is_the_settings() {
    let engine = SecondEngine::start().await;
    let scene = Scene::new().await;
    let settings = [
        ("DOCKER_HOST", engine.docker_host()),
        ("BOT_OCI_RUNTIME", SecondEngine::RUNTIME.to_owned()),
    ];
    let settings = settings.each_ref().map(|(name, value)| (*name, value.as_str()));
    let worker = scene.worker_with(&settings).await;
    let source = "def main(id, config): return 'ran'";
    let result = scene.run(&scene.job("noted", &PYTHON_BACKTEST, source).await).await;
    let data = result.expect("succeeded");
    assert_eq!(data["result"], "ran");
    let (calls, container) = (engine.runtime_calls(), data["container_id"].as_str().unwrap());
    assert!(
        calls.lines().any(|call| call.contains("create") && call.contains(container)),
        "{calls}"
    );
    scene.finish([worker]).await;
}

/// An engine that does not know the runtime is our fault, not the job's: it says so.
#[tokio::test]
async fn a_worker_says_that_the_engine_does_not_know_its_oci_runtime_and_takes_no_jobs() {
    let scene = Scene::new().await;
    let worker = scene.worker_with(&[("BOT_OCI_RUNTIME", "no-such-runtime")]).await;
    let message = scene.job("waits", &PYTHON_BACKTEST, "def main(id, config): return {}").await;
    scene.start(&message).await;
    let begun = tokio::time::Instant::now();
    let says_why = |log: &str| {
        let mut lines = log.lines();
        lines
            .any(|line| line.contains("taking no jobs for now") && line.contains("no-such-runtime"))
    };
    while !says_why(&worker.log()) {
        assert!(begun.elapsed() < longshore_testing::events::PATIENCE, "{}", worker.log());
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    let healthy = scene.worker().await;
    let result = scene.events.result_of(&scene.id("waits")).await;
    assert_eq!(result.expect("succeeded")["attempt"], 1);
    scene.finish([worker, healthy]).await;
}

/// Section 5 of the CIS Docker Benchmark 1.6, as far as whoever makes a container decides it. The
/// numbers are the benchmark's; docs/security.md says why two do not hold by default.
#[tokio::test]
async fn a_bots_container_passes_the_cis_docker_benchmark() {
    let scene = Scene::new().await;
    let worker = scene.worker_with(&[("BOT_NETWORK", "none")]).await;
    let mut message = scene.job("checked", &PYTHON_BOT, PYTHON_TICKER).await;
    message["health_check"] = json!({ "command": ["true"] });
    scene.start(&message).await;
    let id = scene.id("checked");
    scene.events.wait_state(&id, "running").await;
    let container = scene.container_of(&id).await;
    let failed: Vec<_> = cis(&container, &scene.temp_dir().to_string_lossy())
        .into_iter()
        .filter_map(|(number, holds)| (!holds).then_some(number))
        .collect();
    assert!(failed.is_empty(), "{failed:?}: {container:#?}");
    scene.stop(&json!({ "id": id })).await;
    scene.events.result_of(&id).await.expect("stopped");
    scene.finish([worker]).await;
}

fn cis(container: &ContainerInspectResponse, temp_dir: &str) -> Vec<(&'static str, bool)> {
    let host = container.host_config.as_ref().unwrap();
    let config = container.config.as_ref().unwrap();
    let mounts = container.mounts.as_ref().unwrap();
    let is_not = |mode: &Option<String>, shared: &str| mode.as_deref() != Some(shared);
    let none = |list: &Option<Vec<String>>| list.as_ref().is_none_or(Vec::is_empty);
    vec![
        (
            "4.1 user",
            config.user.as_deref().is_some_and(|user| !user.is_empty() && !user.starts_with('0')),
        ),
        ("5.4 capabilities", host.cap_drop == Some(vec!["ALL".to_owned()]) && none(&host.cap_add)),
        ("5.5 privileged", host.privileged != Some(true)),
        (
            "5.6 host directories",
            mounts.iter().all(|mount| {
                mount.source.as_deref().is_some_and(|source| source.starts_with(temp_dir))
            }),
        ),
        (
            "5.8, 5.9 ports",
            host.port_bindings.as_ref().is_none_or(std::collections::HashMap::is_empty),
        ),
        ("5.10 host's network", is_not(&host.network_mode, "host")),
        ("5.11 memory", host.memory.is_some_and(|memory| memory > 0)),
        ("5.12 CPU", host.cpu_shares.is_some_and(|shares| shares > 0)),
        ("5.13 root file system", host.readonly_rootfs == Some(true)),
        ("5.15 restarts", restarts_never(host)),
        ("5.16 host's processes", is_not(&host.pid_mode, "host")),
        ("5.17 host's IPC", is_not(&host.ipc_mode, "host")),
        ("5.18 devices", host.devices.as_ref().is_none_or(Vec::is_empty)),
        ("5.19 ulimits", host.ulimits.as_ref().is_some_and(|limits| limits.len() >= 3)),
        (
            "5.20 propagation",
            mounts.iter().all(|mount| mount.propagation.as_deref() != Some("shared")),
        ),
        ("5.21 host's UTS", is_not(&host.uts_mode, "host")),
        (
            "5.22 seccomp",
            host.security_opt.iter().flatten().all(|option| !option.contains("unconfined")),
        ),
        ("5.25 control group", host.cgroup_parent.as_deref().is_none_or(str::is_empty)),
        (
            "5.26 new privileges",
            host.security_opt
                .iter()
                .flatten()
                .any(|option| option.starts_with("no-new-privileges")),
        ),
        ("5.27 health", config.healthcheck.is_some()),
        ("5.29 processes", host.pids_limit.is_some_and(|pids| pids > 0)),
        ("5.30 docker0", is_not(&host.network_mode, "bridge")),
        ("5.31 host's users", is_not(&host.userns_mode, "host")),
        (
            "5.32 the engine's socket",
            mounts.iter().all(|mount| {
                mount.destination.as_deref().is_none_or(|place| !place.ends_with("docker.sock"))
            }),
        ),
    ]
}

fn restarts_never(host: &HostConfig) -> bool {
    host.restart_policy.as_ref().and_then(|policy| policy.maximum_retry_count).unwrap_or_default()
        == 0
}
