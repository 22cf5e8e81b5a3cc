mod lease;

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Map, Value, json};

use super::{CodeEntrypointFactory, EntryScript, HELPER, RuntimeScripts, ScriptManager};
use crate::job::judging::exit_note::EXIT_NOTE;
use crate::job::{Entrypoint, Job, JsonText, Launcher, Runtime, Runtimes};
use crate::runner::code::tests::job;
use crate::runner::directory::JobDirectory;

/// Prints what arrived, as one line of JSON.
const PYTHON: &str = r#"
import json, os
def main(id, config):
    names = ("BOT_ID", "BOT_CONFIG", "BACKTEST_ID", "BACKTEST_CONFIG")
    env = {name: os.environ.get(name) for name in names}
    print("ARRIVED " + json.dumps({"id": id, "config": config, "cwd": os.getcwd(), "env": env}))
"#;
const NODE: &str = r#"
exports.main = (id, config) => {
  const names = ["BOT_ID", "BOT_CONFIG", "BACKTEST_ID", "BACKTEST_CONFIG"];
  const env = Object.fromEntries(names.map((name) => [name, process.env[name] ?? null]));
  console.log("ARRIVED " + JSON.stringify({ id, config, cwd: process.cwd(), env }));
};
"#;

/// Those that call a `main`.
const LAUNCHERS: [Launcher; 2] = [Launcher::Python, Launcher::Node];

/// The first runtime of a launcher.
fn runtime_of(launcher: Launcher) -> Arc<Runtime> {
    let name = if launcher == Launcher::Python { "python3.11" } else { "nodejs20" };
    Arc::clone(Runtimes::default().get(name).unwrap())
}

/// A job's directory on this host, which stands for the mount in the container.
struct Mount {
    temp: tempfile::TempDir,
    job: Job,
    directory: JobDirectory,
    script: EntryScript,
}

impl Mount {
    async fn new(launcher: Launcher, change: impl FnOnce(&mut Job), own: Option<&str>) -> Self {
        let temp = tempfile::tempdir().unwrap();
        let mut job = job();
        job.runtime = runtime_of(launcher);
        change(&mut job);
        // A root that a careless script would split or expand.
        let root = temp.path().join("a b $(id) 'q'");
        let directory = JobDirectory::new(&root, "ns", &job.id, &job.run_id, 1);
        directory.create().await.unwrap();
        let (code, name) =
            if launcher == Launcher::Python { (PYTHON, "main.py") } else { (NODE, "main.js") };
        job.script = name.to_owned();
        fs::write(directory.root().join(name), code).unwrap();
        if let Some(own) = own {
            fs::write(directory.root().join("entrypoint.sh"), own).unwrap();
        }
        let script = ScriptManager::new(temp.path()).create(&job, &directory).await.unwrap();
        // What the mount does in a container.
        let helper = directory.root().join(HELPER);
        fs::remove_file(&helper).unwrap();
        symlink(&script.helper, &helper).unwrap();
        Self { temp, job, directory, script }
    }

    /// The shell script's path in the container, on this host.
    fn shell_script(&self) -> PathBuf {
        let mount = format!("/{}/", self.job.entrypoint);
        self.directory
            .root()
            .join(self.script.command.last().unwrap().strip_prefix(&mount).unwrap())
    }

    fn config_file(&self) -> PathBuf {
        self.directory.root().join(CodeEntrypointFactory::CONFIG_FILE)
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.script.command[0]);
        command
            .args(&self.script.command[1..self.script.command.len() - 1])
            .arg(self.shell_script())
            .current_dir("/tmp")
            .env("ID", self.job.id.as_str())
            .env("ENTRYPOINT_TYPE", self.job.entrypoint.as_str())
            .env("IS_LONG_RUNNING", "false")
            .env("SCRIPT_PATH", self.directory.root().join(&self.job.script))
            .env("CONFIG_FILE", self.config_file());
        command
    }

    /// What the user's code got.
    fn arrived(command: &mut Command) -> Value {
        let Output { status, stdout, stderr } = command.output().unwrap();
        let (stdout, stderr) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
        assert!(status.success(), "{status}: {stdout} {stderr}");
        let line = stdout.lines().find_map(|line| line.strip_prefix("ARRIVED ")).unwrap();
        serde_json::from_str(line).unwrap()
    }
}

fn awkward() -> Map<String, Value> {
    let values = json!({
        "quote": "it's \"quoted\" `here`",
        "injection": "'; touch /tmp/longshore-injected; '",
        "substitution": "$(touch /tmp/longshore-injected) ${HOME} `id` $1 !!",
        "lines": "one\ntwo\r\n\tthree\u{0}four\u{7f}",
        "unicode": "Grüße 🚀 \u{2028} \u{202e}",
        "backslashes": "\\ \\\\ \\n \\u0041 %s %n",
        "heredoc": "EOF\n'EOF'\n#!/bin/sh",
        "not numbers": ["NaN", "Infinity", "-Infinity", "null", ""],
        "numbers": [0, -1, 1.5, 1e-7, 9_007_199_254_740_991_i64],
        "": {"nested": [[], {}, [null, true, false]]},
        "__proto__x": "plain",
    });
    values.as_object().unwrap().clone()
}

fn text_of(config: &Map<String, Value>) -> JsonText {
    Value::Object(config.clone()).to_string().parse().unwrap()
}

#[tokio::test]
async fn compat_10_any_config_arrives_in_the_code_as_it_was_sent() {
    for launcher in LAUNCHERS {
        let mount = Mount::new(launcher, |job| job.config = text_of(&awkward()), None).await;
        let text = Value::Object(awkward()).to_string();
        let arrived = Mount::arrived(mount.command().env("CONFIG", &text));
        assert_eq!(arrived["config"], Value::Object(awkward()), "{launcher:?}");
        assert_eq!(arrived["env"]["BOT_CONFIG"], Value::String(text), "{launcher:?}");
        assert_eq!(arrived["id"], "bot-1", "{launcher:?}");
        assert_eq!(arrived["env"]["BOT_ID"], "bot-1", "{launcher:?}");
        assert_eq!(arrived["env"]["BACKTEST_ID"], Value::Null, "{launcher:?}");
        let cwd = mount.directory.root().canonicalize().unwrap();
        assert_eq!(arrived["cwd"], cwd.to_str().unwrap(), "{launcher:?}");
    }
    assert!(!std::path::Path::new("/tmp/longshore-injected").exists());
}

#[tokio::test]
async fn compat_10_a_config_too_large_for_the_environment_arrives_by_file() {
    for launcher in LAUNCHERS {
        let config = Map::from_iter([("text".to_owned(), json!("'\"\n$é".repeat(250_000)))]);
        let mount = Mount::new(launcher, |job| job.config = text_of(&config), None).await;
        assert!(fs::metadata(mount.config_file()).unwrap().len() > 1 << 20);
        let arrived = Mount::arrived(mount.command().env_remove("CONFIG"));
        assert!(arrived["config"] == Value::Object(config), "{launcher:?}");
        assert_eq!(arrived["env"]["BOT_CONFIG"], Value::Null, "{launcher:?}");
    }
}

#[tokio::test]
async fn a_backtest_finds_its_own_names_in_the_environment() {
    for launcher in LAUNCHERS {
        let backtest = |job: &mut Job| job.entrypoint = Entrypoint::Backtest;
        let mount = Mount::new(launcher, backtest, None).await;
        let arrived = Mount::arrived(mount.command().env("CONFIG", "{}"));
        let expected = json!({
            "BOT_ID": null,
            "BOT_CONFIG": null,
            "BACKTEST_ID": "bot-1",
            "BACKTEST_CONFIG": "{}",
        });
        assert_eq!(arrived["env"], expected, "{launcher:?}");
        assert_eq!(mount.script.command.last().unwrap(), "/backtest/entrypoint.sh");
    }
}

#[tokio::test]
async fn compat_12_the_users_own_entrypoint_is_kept_and_ours_runs() {
    for launcher in LAUNCHERS {
        let mount = Mount::new(launcher, |_| {}, Some("echo mine")).await;
        assert_eq!(mount.script.command.last().unwrap(), "/bot/.longshore/entrypoint.sh");
        let own = fs::read_to_string(mount.directory.root().join("entrypoint.sh")).unwrap();
        assert_eq!(own, "echo mine");
        let arrived = Mount::arrived(&mut mount.command());
        assert_eq!(arrived["id"], "bot-1", "{launcher:?}");
    }
}

#[tokio::test]
async fn the_script_is_the_same_for_every_job_of_a_runtime() {
    for launcher in LAUNCHERS {
        let text = async |change: fn(&mut Job)| {
            let mount = Mount::new(launcher, change, None).await;
            fs::read_to_string(mount.shell_script()).unwrap()
        };
        let plain = text(|_| {}).await;
        let other = text(|job| {
            job.id = "other".parse().unwrap();
            job.config = text_of(&awkward());
            job.entrypoint = Entrypoint::Backtest;
        });
        assert_eq!(plain, other.await, "{launcher:?}");
        assert!(plain.starts_with(&format!(
            "#!{}\n",
            RuntimeScripts::of(launcher).unwrap().shell.join(" ")
        )));
    }
}

#[tokio::test]
async fn the_containers_user_can_read_every_file() {
    let mount = Mount::new(Launcher::Node, |_| {}, None).await;
    let mode = |path: &str| {
        fs::metadata(mount.directory.root().join(path)).unwrap().permissions().mode() & 0o7777
    };
    let paths = ["entrypoint.sh", ".longshore", ".longshore/config.json", ".longshore/launch.mjs"];
    assert_eq!(paths.map(mode), [0o755, 0o755, 0o644, 0o644]);
    assert_eq!(mode(HELPER), 0o555);
}

#[tokio::test]
async fn an_unknown_entrypoint_type_is_refused_by_the_script() {
    let mount = Mount::new(Launcher::Python, |_| {}, None).await;
    let output = mount.command().env("ENTRYPOINT_TYPE", "$(id)").output().unwrap();
    assert_eq!(output.status.code(), Some(64));
    assert!(String::from_utf8_lossy(&output.stderr).contains("'$(id)', neither 'bot'"));
}

#[tokio::test]
async fn scripts_are_never_written_over_others() {
    let mount = Mount::new(Launcher::Python, |_| {}, None).await;
    let scripts = ScriptManager::new(mount.temp.path());
    let error = scripts.create(&mount.job, &mount.directory).await.unwrap_err();
    assert!(error.to_string().contains(".longshore: File exists"), "{error}");
}

#[test]
fn compat_the_shells_are_those_of_the_images() {
    for launcher in LAUNCHERS {
        let shell = if launcher == Launcher::Python { "/bin/bash" } else { "/bin/sh" };
        assert_eq!(RuntimeScripts::of(launcher).unwrap().shell[0], shell, "{launcher:?}");
    }
}

/// Starts a bot with this source and sends it SIGTERM once `ready` has been read, or at once.
async fn end_of(launcher: Launcher, source: &str, pause: Option<Duration>) -> ExitStatus {
    let mount = Mount::new(launcher, |job| job.is_long_running = true, None).await;
    fs::write(mount.directory.root().join(&mount.job.script), source).unwrap();
    let mut command = mount.command();
    command.env("IS_LONG_RUNNING", "true").stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    if let Some(pause) = pause {
        tokio::time::sleep(pause).await;
    } else {
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n");
    }
    kill(Pid::from_raw(child.id().try_into().unwrap()), Signal::SIGTERM).unwrap();
    tokio::task::spawn_blocking(move || child.wait().unwrap()).await.unwrap()
}

/// compat.md 11: SIGTERM ended as success, and Node.js ignored it until it was killed.
#[tokio::test]
async fn compat_11_a_signal_ends_a_bot_however_early_it_comes() {
    let python = "import time\ndef main(id, config): time.sleep(60)";
    let node = "exports.main = () => new Promise((done) => setTimeout(done, 60000));";
    for (launcher, source) in [(Launcher::Python, python), (Launcher::Node, node)] {
        for milliseconds in [0, 10, 40, 120, 600] {
            let status = end_of(launcher, source, Some(Duration::from_millis(milliseconds))).await;
            // The signal itself ends a shell that has not come to its first line.
            let by_signal = status.code() == Some(143) || status.signal() == Some(15);
            assert!(by_signal, "{launcher:?} after {milliseconds} ms: {status}");
        }
    }
}

/// Where Python or Node.js run by themselves, the signal ends a loop that never comes back to them.
#[tokio::test]
async fn a_loop_that_cannot_hear_the_signal_is_ended_and_says_terminated() {
    let python = "import collections, itertools\ndef main(id, config):\n    \
                  print('ready', flush=True)\n    collections.deque(itertools.repeat(0), maxlen=0)";
    let node = "exports.main = () => { console.log('ready'); for (;;); };";
    for (launcher, source) in [(Launcher::Python, python), (Launcher::Node, node)] {
        let mount = Mount::new(launcher, |_| {}, None).await;
        fs::write(mount.directory.root().join(&mount.job.script), source).unwrap();
        let mut child = mount.command().stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        assert_eq!(lines.next().unwrap(), "ready", "{launcher:?}");
        kill(Pid::from_raw(child.id().try_into().unwrap()), Signal::SIGTERM).unwrap();
        let expected = r#"{"status":"terminated","message":"Bot execution terminated by signal"}"#;
        assert_eq!(lines.next().unwrap(), expected, "{launcher:?}");
        assert_eq!(child.wait().unwrap().code(), Some(143), "{launcher:?}");
        let result = fs::read_to_string(mount.directory.root().join("result.json")).unwrap();
        assert_eq!(result, expected, "{launcher:?}");
    }
}

/// The interpreter waits for the child without a look at signals, and cleans up once that has ended.
#[tokio::test]
async fn a_program_that_waits_for_a_child_without_hearing_the_signal_ends_with_its_child() {
    let python = "import os\ndef main(id, config):\n    print('ready', flush=True)\n    \
                  try: os.system('sleep 60; true')\n    finally: print('closed', flush=True)";
    let node = "exports.main = () => { console.log('ready'); \
                try { require('child_process').execSync('sleep 60; true'); } \
                finally { console.log('closed'); } };";
    for (launcher, source) in [(Launcher::Python, python), (Launcher::Node, node)] {
        let mount = Mount::new(launcher, |_| {}, None).await;
        fs::write(mount.directory.root().join(&mount.job.script), source).unwrap();
        let mut child = mount.command();
        let mut child = child.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        assert_eq!(lines.next().unwrap(), "ready", "{launcher:?}");
        tokio::time::sleep(Duration::from_millis(300)).await;
        kill(Pid::from_raw(child.id().try_into().unwrap()), Signal::SIGTERM).unwrap();
        assert_eq!(lines.next().unwrap(), "closed", "{launcher:?}");
        let expected = r#"{"status":"terminated","message":"Bot execution terminated by signal"}"#;
        assert_eq!(lines.next().unwrap(), expected, "{launcher:?}");
        drop(lines);
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(143), "{launcher:?}");
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(!said.contains("Terminated"), "it tells what nobody asked: {said}");
    }
}

#[tokio::test]
async fn a_handler_of_the_users_own_is_waited_for_however_long_it_computes() {
    let python = "import signal, sys, time\ndef clean(*_):\n    end = time.time() + 4\n    \
                  while time.time() < end: sum(range(10**6))\n    sys.exit(5)\n\
                  def main(id, config):\n    signal.signal(signal.SIGTERM, clean)\n    \
                  print('ready', flush=True)\n    time.sleep(60)";
    let node = "exports.main = () => { setInterval(() => {}, 1000); process.on('SIGTERM', () => { \
                const end = Date.now() + 4000; while (Date.now() < end); process.exit(5); }); \
                console.log('ready'); };";
    for (launcher, source) in [(Launcher::Python, python), (Launcher::Node, node)] {
        assert_eq!(end_of(launcher, source, None).await.code(), Some(5), "{launcher:?}");
    }
}

#[test]
fn the_launchers_bear_the_name_by_which_the_helper_knows_that_they_are_deaf() {
    for launcher in LAUNCHERS {
        let text = RuntimeScripts::of(launcher).unwrap().launcher;
        assert!(text.contains(longshore_init::processes::DEAF), "{launcher:?}");
    }
}

/// A mount that is missing must not look like a program that did nothing.
#[tokio::test]
async fn a_container_without_the_helper_cannot_run() {
    for launcher in LAUNCHERS {
        let mount = Mount::new(launcher, |_| {}, None).await;
        let helper = mount.directory.root().join(HELPER);
        fs::remove_file(&helper).unwrap();
        fs::write(&helper, "").unwrap();
        fs::set_permissions(&helper, fs::Permissions::from_mode(0o444)).unwrap();
        let output = mount.command().output().unwrap();
        assert_eq!(output.status.code(), Some(126), "{launcher:?}");
        let note = fs::read_to_string(mount.directory.root().join(EXIT_NOTE)).unwrap();
        assert_eq!(note, "", "{launcher:?}: nothing of the job has begun");
    }
}

/// A program that is started before ours would be whatever the message says.
#[tokio::test]
async fn the_shell_runs_nothing_that_the_environment_names() {
    for launcher in LAUNCHERS {
        let mount = Mount::new(launcher, |_| {}, None).await;
        let own = mount.directory.root().join("own.sh");
        fs::write(&own, "echo stranger\n").unwrap();
        let mut command = mount.command();
        command.env("BASH_ENV", &own).env("ENV", &own);
        command.env("BASH_FUNC_read%%", "() { echo stranger; builtin read \"$@\"; }");
        // Ends before the interpreter, which on this host may be a shell script itself.
        let output = command.env("ENTRYPOINT_TYPE", "none").output().unwrap();
        assert_eq!(output.status.code(), Some(64), "{launcher:?}");
        assert_eq!(String::from_utf8_lossy(&output.stdout), "", "{launcher:?}");
    }
}

#[tokio::test]
async fn a_bot_that_ends_in_its_own_way_on_a_signal_keeps_its_exit_code() {
    let python = "import signal, sys, time\ndef main(id, config):\n    \
                  signal.signal(signal.SIGTERM, lambda *_: sys.exit(5))\n    \
                  print('ready', flush=True)\n    time.sleep(60)";
    let node = "exports.main = () => new Promise(() => { setInterval(() => {}, 1000); \
                process.on('SIGTERM', () => process.exit(5)); console.log('ready'); });";
    for (launcher, source) in [(Launcher::Python, python), (Launcher::Node, node)] {
        let status = end_of(launcher, source, None).await;
        assert_eq!(status.code(), Some(5), "{launcher:?}: {status}");
    }
}
