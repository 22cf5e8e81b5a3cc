//! The example clients, run as a reader would run them, against a worker that runs.
//!
//! What they need is installed once under `target/clients`, with `pip` and `npm` of this machine.

use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use tokio::process::Command;
use tokio::sync::Mutex;

use longshore_testing::program::{NODE_BACKTEST, PYTHON_BACKTEST};
use longshore_testing::scene::Scene;
use longshore_testing::servers;

/// How long an installation, or a client with its job, may take.
const PATIENCE: Duration = Duration::from_mins(10);

/// One installation at a time: both may be started by tests that run beside each other.
static INSTALLING: Mutex<()> = Mutex::const_new(());

fn clients() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/clients")
}

fn installed() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("target/clients")
}

/// Runs a command to its end; panics with what it said where it did not even start or end in time.
async fn run(command: &mut Command) -> Output {
    let spawned = command.stdin(Stdio::null()).kill_on_drop(true).output();
    let Ok(ended) = tokio::time::timeout(PATIENCE, spawned).await else {
        panic!("a client or its installation did not end within {} s", PATIENCE.as_secs());
    };
    ended.unwrap_or_else(|error| panic!("{command:?} could not be run: {error}"))
}

pub(crate) async fn must_run(command: &mut Command) {
    let output = run(command).await;
    assert!(output.status.success(), "{command:?}: {}", told(&output));
}

fn told(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    format!("{}\n{}\n{}", output.status, text(&output.stdout), text(&output.stderr))
}

/// A Python that has pika.
pub(crate) async fn python_with_pika() -> PathBuf {
    let _one = INSTALLING.lock().await;
    let venv = installed().join("python");
    let python = venv.join("bin/python");
    let mut import = Command::new(&python);
    let has_pika =
        python.exists() && run(import.args(["-c", "import pika"])).await.status.success();
    if !has_pika {
        must_run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&venv)).await;
        let requirements = clients().join("python-pika/requirements.txt");
        let pip = ["-m", "pip", "install", "--quiet", "--requirement"];
        must_run(Command::new(&python).args(pip).arg(requirements)).await;
    }
    python
}

/// A copy of the Node.js client, with amqplib beside it.
async fn node_client() -> PathBuf {
    let _one = INSTALLING.lock().await;
    let folder = installed().join("node");
    std::fs::create_dir_all(&folder).unwrap();
    let mut is_current = folder.join("node_modules/amqplib").exists();
    for file in ["client.js", "package.json", "package-lock.json"] {
        let (from, to) = (clients().join("node-amqplib").join(file), folder.join(file));
        let (new, old) = (std::fs::read(&from).unwrap(), std::fs::read(&to).unwrap_or_default());
        if new != old {
            is_current &= file == "client.js";
            std::fs::write(&to, new).unwrap();
        }
    }
    if !is_current {
        let npm = ["ci", "--no-audit", "--no-fund"];
        must_run(Command::new("npm").args(npm).current_dir(&folder)).await;
    }
    folder.join("client.js")
}

/// The Rust example. A run of all tests has built it; otherwise it is built here, where a source is newer.
async fn rust_client() -> PathBuf {
    let _one = INSTALLING.lock().await;
    let (folder, program) =
        (Path::new(env!("CARGO_MANIFEST_DIR")), Path::new(env!("CARGO_BIN_EXE_longshore")));
    let example = program.with_file_name("examples").join("publish_and_wait");
    let changed = ["src", "crates", "examples"].map(|sources| newest(&folder.join(sources)));
    let built = std::fs::metadata(&example).and_then(|file| file.modified());
    if !built.is_ok_and(|built| changed.iter().all(|changed| *changed < built)) {
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["build", "--quiet", "--example", "publish_and_wait"]).current_dir(folder);
        // What cargo tells a test would be news to build scripts, and everything would be built again.
        for of_this_test in ["MANIFEST_DIR", "MANIFEST_PATH", "MANIFEST_LINKS", "PKG_NAME"] {
            cargo.env_remove(format!("CARGO_{of_this_test}"));
        }
        for part in ["MAJOR", "MINOR", "PATCH", "PRE"] {
            cargo.env_remove(format!("CARGO_PKG_VERSION_{part}"));
        }
        must_run(&mut cargo).await;
    }
    example
}

/// When the last of the Rust files below a folder was changed.
fn newest(folder: &Path) -> SystemTime {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let times = entries.filter_map(|path| match path.extension() {
        _ if path.is_dir() => Some(newest(&path)),
        Some(extension) if extension == "rs" => Some(path.metadata().unwrap().modified().unwrap()),
        _ => None,
    });
    times.max().unwrap_or(SystemTime::UNIX_EPOCH)
}

/// Runs `client FILE` with this message; it must print the result.
async fn start(scene: &Scene, mut client: Command, message: &Value) -> (Output, Value) {
    let file = scene.folder().join("start.json");
    std::fs::write(&file, message.to_string()).unwrap();
    client.arg(&file);
    client.env("AMQP_URL", servers::amqp_url()).env("AMQP_NAMESPACE", &scene.namespace);
    let output = run(&mut client).await;
    let event = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", told(&output)));
    (output, event)
}

/// A job that succeeds and one that fails: the exit code says which, the event is printed.
async fn starts_jobs_and_tells_their_ends(client: impl Fn() -> Command) {
    let scene = Scene::new().await;
    let worker = scene.worker().await;
    let good = "def main(id, config): return {'fast': config['fast'], 'name': 'é'}";
    let mut good = scene.job("good", &PYTHON_BACKTEST, good).await;
    good["config"] = json!({ "fast": 10 });
    let (output, event) = start(&scene, client(), &good).await;
    assert!(output.status.success(), "{}", told(&output));
    assert_eq!(event["data"]["result"], json!({ "fast": 10, "name": "é" }));
    assert_eq!(event["subject"], good["id"]);

    let bad = "exports.main = () => { throw new Error('no prices'); };";
    let bad = scene.job("bad", &NODE_BACKTEST, bad).await;
    let (output, event) = start(&scene, client(), &bad).await;
    assert_eq!(output.status.code(), Some(1), "{}", told(&output));
    assert_eq!(event["data"]["verdict"], "failed");
    scene.finish([worker]).await;
}

#[tokio::test]
async fn the_python_client_starts_jobs_and_reports_their_ends() {
    let python = python_with_pika().await;
    starts_jobs_and_tells_their_ends(|| {
        let mut command = Command::new(&python);
        command.arg(clients().join("python-pika/client.py")).arg("start");
        command
    })
    .await;
}

#[tokio::test]
async fn the_javascript_client_starts_jobs_and_reports_their_ends() {
    let client = node_client().await;
    starts_jobs_and_tells_their_ends(|| {
        let mut command = Command::new("node");
        command.arg(&client).arg("start");
        command
    })
    .await;
}

#[tokio::test]
async fn the_rust_client_starts_a_job_and_prints_its_result() {
    let client = rust_client().await;
    let scene = Scene::new().await;
    let worker = scene.worker().await;
    let source = "def main(id, config): return {'name': 'é'}";
    let message = scene.job("good", &PYTHON_BACKTEST, source).await;
    let (output, result) = start(&scene, Command::new(client), &message).await;
    assert!(output.status.success(), "{}", told(&output));
    assert_eq!(result["verdict"], "succeeded");
    assert_eq!(result["result"], json!({ "name": "é" }));
    scene.finish([worker]).await;
}
