//! Jobs are apart from each other, and from the other users of their host.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::json;
use tokio::time::{Instant, sleep};

use longshore_testing::program::{PYTHON_BACKTEST, PYTHON_BOT, PYTHON_TICKER};
use longshore_testing::scene::Scene;

/// Takes everything that the kernel counts by user, and keeps it.
const HOG: &str = r"
import ctypes, os, time
libc = ctypes.CDLL(None, use_errno=True)
def main(id, config):
    for _ in range(4):
        if os.fork() == 0:
            while libc.inotify_init() >= 0: pass
            time.sleep(600)
    queues = 0
    while libc.mq_open(b'/hog%d' % queues, os.O_CREAT | os.O_RDWR, 0o600, None) >= 0: queues += 1
    print('hogs', flush=True)
    time.sleep(600)
";

/// Needs a little of the same.
const MODEST: &str = r"
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
def main(id, config):
    watch = libc.inotify_init()
    assert watch >= 0, os.strerror(ctypes.get_errno())
    queue = libc.mq_open(b'/mine', os.O_CREAT | os.O_RDWR, 0o600, None)
    assert queue >= 0, os.strerror(ctypes.get_errno())
    return os.getuid()
";

#[tokio::test]
async fn what_the_kernel_counts_by_user_is_a_jobs_own() {
    let scene = Scene::new().await;
    let worker = scene.worker().await;
    let hog = scene.id("hog");
    scene.start(&scene.job("hog", &PYTHON_BOT, HOG).await).await;
    scene.logged(&hog, "hogs").await;
    let result = scene.run(&scene.job("modest", &PYTHON_BACKTEST, MODEST).await).await;
    let data = result.expect("succeeded");
    let user = scene.container_of(&hog).await.config.unwrap().user.unwrap();
    assert_ne!(user, format!("{0}:{0}", data["result"]));
    scene.stop(&json!({ "id": hog, "timeout_seconds": 1 })).await;
    scene.events.result_of(&hog).await.expect("stopped");
    scene.finish([worker]).await;
}

/// Two workers pick users for their jobs on the same engine, and a third takes up what one of them left.
#[tokio::test]
async fn no_two_running_containers_of_an_engine_have_the_same_user() {
    let scene = Scene::new().await;
    // As few users as there may be, so that they meet.
    let few = [("BOT_USER", "70000-71023")];
    let (mut first, second) = (scene.worker_with(&few).await, scene.worker_with(&few).await);
    let names: Vec<_> = (0..6).map(|number| format!("bot-{number}")).collect();
    for name in &names[..5] {
        scene.start(&scene.job(name, &PYTHON_BOT, PYTHON_TICKER).await).await;
        scene.events.wait_state(&scene.id(name), "running").await;
    }
    first.stop().await;
    scene.start(&scene.job(&names[5], &PYTHON_BOT, PYTHON_TICKER).await).await;
    scene.events.wait_state(&scene.id(&names[5]), "running").await;
    let mut users = BTreeSet::new();
    for name in &names {
        let config = scene.container_of(&scene.id(name)).await.config.unwrap();
        let user = config.user.unwrap();
        assert_eq!(config.labels.unwrap()["runtime.user"], user.split(':').next().unwrap());
        assert!(users.insert(user.clone()), "{user} twice");
    }
    for name in &names {
        scene.stop(&json!({ "id": scene.id(name), "timeout_seconds": 1 })).await;
        scene.events.result_of(&scene.id(name)).await.expect("stopped");
    }
    scene.finish([second]).await;
}

/// Nobody on the host, and not a user that a container may have.
const STRANGER: u32 = 12_345;

/// Runs a program as a stranger; gives whether it succeeded.
fn stranger(program: &str, arguments: &[&str]) -> bool {
    let mut command = Command::new(program);
    command.args(arguments).uid(STRANGER).gid(STRANGER);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().unwrap().success()
}

fn everything_below(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        if entry.file_type().unwrap().is_dir() {
            found.extend(everything_below(&entry.path()));
        }
        found.push(entry.path());
    }
    found
}

#[tokio::test]
async fn another_user_of_the_host_reads_and_writes_nothing_of_a_job() {
    if !nix::unistd::geteuid().is_root() {
        return; // Only root can become a stranger.
    }
    let scene = Scene::new().await;
    // The way to the namespace's directory is open, so that its own mode is what counts.
    for folder in [scene.folder(), &scene.temp_dir()] {
        std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    let worker = scene.worker().await;
    let source = "import time\ndef main(id, config):\n    print('up', flush=True)\n    \
                  time.sleep(5)\n    return 'mine'\n";
    let mut message = scene.job("tenant", &PYTHON_BACKTEST, source).await;
    message["config"] = json!({ "api_key": "hunter22" });
    scene.start(&message).await;
    let id = scene.id("tenant");
    scene.events.wait_state(&id, "running").await;
    let namespace = scene.temp_dir().join(&scene.namespace);
    assert!(stranger("ls", &[scene.temp_dir().to_str().unwrap()]), "the way there is open");
    let found = everything_below(&namespace);
    for name in ["config.json", "backtest.py", "result.json", "exit-note"] {
        assert!(found.iter().any(|path| path.ends_with(name)), "{name}: {found:?}");
    }
    for path in found {
        let path = path.to_str().unwrap();
        assert!(!stranger("ls", &[path]), "{path} is seen");
        assert!(!stranger("cat", &[path]), "{path} is read");
        assert!(!stranger("sh", &["-c", "echo '\"planted\"' > \"$0\"", path]), "{path} is written");
    }
    let result = scene.events.result_of(&id).await;
    assert_eq!(result.expect("succeeded")["result"], "mine");
    scene.finish([worker]).await;
}

/// Neither is anything open to the users of other containers, should one of them get as far as the files.
#[tokio::test]
async fn what_a_program_writes_belongs_to_its_user() {
    use std::os::unix::fs::MetadataExt as _;
    if !nix::unistd::geteuid().is_root() {
        return; // Only root can give files away.
    }
    let scene = Scene::new().await;
    let worker = scene.worker().await;
    let source =
        "import os, time\ndef main(id, config):\n    time.sleep(3)\n    return os.getuid()\n";
    scene.start(&scene.job("own", &PYTHON_BACKTEST, source).await).await;
    let id = scene.id("own");
    scene.events.wait_state(&id, "running").await;
    let found = everything_below(&scene.temp_dir().join(&scene.namespace));
    let of = |name: &str| {
        let path = found.iter().find(|path| path.ends_with(name)).unwrap();
        let metadata = std::fs::metadata(path).unwrap();
        (metadata.uid(), metadata.permissions().mode() & 0o007)
    };
    let (result, note) = (of("result.json"), of("exit-note"));
    let data = scene.events.result_of(&id).await;
    let user = u32::try_from(data.expect("succeeded")["result"].as_u64().unwrap()).unwrap();
    assert_eq!((result, note), ((user, 0), (user, 0)));
    scene.finish([worker]).await;
}

#[tokio::test]
async fn a_worker_whose_temp_dir_is_another_users_says_so_and_ends() {
    if !nix::unistd::geteuid().is_root() {
        return; // Only root can give directories away.
    }
    let scene = Scene::new().await;
    std::os::unix::fs::chown(scene.temp_dir(), Some(STRANGER), None).unwrap();
    let mut worker = scene.spawn_worker(&[]);
    let begun = Instant::now();
    while !worker.has_ended() {
        assert!(begun.elapsed() < Duration::from_mins(1), "it runs: {}", worker.log());
        sleep(Duration::from_millis(100)).await;
    }
    let log = worker.log();
    assert!(log.contains("TEMP_DIR") && log.contains("belongs to the user 12345"), "{log}");
    drop(worker);
    scene.finish([]).await;
}

#[tokio::test]
async fn the_seccomp_profile_is_the_settings() {
    let scene = Scene::new().await;
    let profile = scene.folder().join("no-sockets.json");
    let text = json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{ "names": ["socket"], "action": "SCMP_ACT_ERRNO", "errnoRet": 97 }],
    });
    std::fs::write(&profile, text.to_string()).unwrap();
    let worker = scene.worker_with(&[("BOT_SECCOMP_PROFILE", profile.to_str().unwrap())]).await;
    let source = "import socket\ndef main(id, config):\n    try: socket.socket()\n    \
                  except OSError as error: return error.errno\n";
    let result = scene.run(&scene.job("sockets", &PYTHON_BACKTEST, source).await).await;
    assert_eq!(result.expect("succeeded")["result"], 97);
    scene.finish([worker]).await;
}
