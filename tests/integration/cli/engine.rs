//! The commands that need the engine: `run`, with nothing else beside it, `ps` and `doctor`.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use longshore::runner::container::ContainerBuilder;
use longshore::runner::orchestrator::ContainerOrchestrator as _;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{longshore, text};
use longshore_testing::archive::zip_of;
use longshore_testing::bench::{Bench, PYTHON};
use longshore_testing::program::{NODE_BOT, NODE_TICKER, PYTHON_TICKER};
use longshore_testing::rabbit::within;
use longshore_testing::scene::Scene;
use longshore_testing::variable;
use longshore_testing::worker::settings_of_a_worker;
use longshore_testing::{engine, servers};

/// Says one line on each stream and returns a figure.
const GOOD: &str = "import sys, time\ndef main(id, config):\n    print('to stdout', flush=True)\n    \
                    print('to stderr', file=sys.stderr)\n    return {'fast': config.get('fast')}\n";

/// A user that owns nothing.
const NOBODY: u32 = 65534;

/// A place for code, for the jobs' directories and for results, with an id that no other test has.
struct Stage {
    folder: TempDir,
    id: String,
}

impl Stage {
    fn new() -> Self {
        let id = format!("run-{}", uuid::Uuid::new_v4().simple());
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("jobs")).unwrap();
        Self { folder, id }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A directory with one script.
    fn code(&self, script: &str, source: &str) -> PathBuf {
        let code = self.path("code");
        fs::create_dir_all(&code).unwrap();
        fs::write(code.join(script), source).unwrap();
        code
    }

    fn run(&self, code: &Path, flags: &[&str]) -> Command {
        let mut command = longshore();
        command.env("TEMP_DIR", self.path("jobs")).arg("run").arg(code);
        command.args(["--id", &self.id]).args(flags);
        command.envs(variable("DOCKER_HOST").map(|host| ("DOCKER_HOST", host)));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Neither a container of the job nor anything in the jobs' directories, but for the helper, which the next
    /// run uses again.
    async fn nothing_is_left(&self) {
        let docker = servers::engine().await;
        let found = engine::with_labels(&docker, &[("runtime.id", &self.id)]).await;
        assert_eq!(found, [""; 0]);
        let entries = fs::read_dir(self.path("jobs")).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let left: Vec<_> = names.filter(|name| !name.starts_with(".longshore-init-")).collect();
        assert_eq!(left, [""; 0]);
    }
}

/// Runs a command to its end.
async fn output_of(mut command: Command) -> Output {
    within(tokio::task::spawn_blocking(move || command.output().unwrap())).await.unwrap()
}

/// Starts a program and waits for the first line that it prints.
async fn first_line(mut command: Command) -> (Child, BufReader<std::process::ChildStdout>) {
    let reading = tokio::task::spawn_blocking(move || {
        let mut child = command.spawn().unwrap();
        let (mut out, mut line) = (BufReader::new(child.stdout.take().unwrap()), String::new());
        out.read_line(&mut line).unwrap();
        assert_eq!(line, "up\n", "{}", rest_of(&mut child));
        (child, out)
    });
    within(reading).await.unwrap()
}

fn rest_of(child: &mut Child) -> String {
    let mut told = String::new();
    child.stderr.take().unwrap().read_to_string(&mut told).unwrap();
    told
}

/// The end of a program whose standard output was taken: exit code and what it said.
async fn end_of(mut child: Child) -> (Option<i32>, String) {
    let ending = tokio::task::spawn_blocking(move || {
        let told = rest_of(&mut child);
        (child.wait().unwrap().code(), told)
    });
    within(ending).await.unwrap()
}

fn interrupt(child: &Child) {
    send(child, Signal::SIGINT);
}

fn send(child: &Child, signal: Signal) {
    kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), signal).unwrap();
}

/// Source, flags, a variable; exit code, and what is said at the end.
type Case<'a> = (&'a str, &'a [&'a str], (&'a str, &'a str), i32, &'a str);

#[tokio::test]
async fn run_prints_what_the_code_prints_and_exits_by_the_verdict() {
    let raises = "def main(id, config): raise ValueError('no\\nprices \\x1b[31m')";
    let sleeps = "import time\ndef main(id, config): time.sleep(600)";
    let grows =
        "def main(id, config):\n    kept = []\n    while True: kept.append(bytearray(1 << 20))";
    let missing = ("PYTHON_IMAGE", "127.0.0.1:1/none:1");
    let cases: [Case<'_>; 6] = [
        (GOOD, &[], ("NO_COLOR", "1"), 0, "longshore: succeeded after "),
        (raises, &[], ("NO_COLOR", "1"), 10, "exit code 1: ValueError: no prices \\u{1b}[31m\n"),
        (sleeps, &["--timeout", "1"], ("NO_COLOR", "1"), 11, "longshore: timed_out after "),
        (grows, &["--memory-mb", "32"], ("NO_COLOR", "1"), 12, "longshore: out_of_memory after "),
        (GOOD, &["--file", "other.py"], ("NO_COLOR", "1"), 14, "longshore: rejected after "),
        (GOOD, &[], missing, 15, "longshore: unavailable after "),
    ];
    for (source, flags, variable, code, said) in cases {
        let stage = Stage::new();
        let mut command = stage.run(&stage.code("backtest.py", source), flags);
        command.env(variable.0, variable.1);
        let output = output_of(command).await;
        let (printed, told) = (text(&output.stdout), text(&output.stderr));
        assert_eq!(output.status.code(), Some(code), "{told}");
        assert!(told.contains(said) && told.ends_with('\n'), "{told}");
        if code == 0 {
            assert_eq!(printed, "to stdout\n{\"fast\":null}\n");
            let found = "longshore: by the files' names: backtest.py as a backtest on python3.11, to its end\n";
            assert!(told.starts_with(&format!("{found}to stderr\n")), "{told}");
        }
        stage.nothing_is_left().await;
    }
}

#[tokio::test]
async fn run_takes_a_zip_and_keeps_results_and_logs_in_the_layout_of_the_buckets() {
    let stage = Stage::new();
    let (zip, kept) = (stage.path("strategy.zip"), stage.path("kept"));
    fs::write(&zip, zip_of(&[("backtest.py", GOOD), ("data.csv", "1,2\n")])).unwrap();
    let flags = ["--job-config", r#"{"fast": 10}"#, "--keep-results", kept.to_str().unwrap()];
    let output = output_of(stage.run(&zip, &flags)).await;
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let read = |path: String| fs::read_to_string(kept.join(path)).unwrap();
    let analysis: Value =
        serde_json::from_str(&read(format!("test-results/{}/analysis.json", stage.id))).unwrap();
    assert_eq!(analysis, json!({ "fast": 10 }));
    let whole = read(format!("test-results/{}/logs.txt", stage.id));
    assert!(whole.contains("to stdout\n") && whole.contains("to stderr\n"), "{whole}");
    let days: Vec<_> = fs::read_dir(kept.join("bot-logs/logs").join(&stage.id)).unwrap().collect();
    assert_eq!(days.len(), 1);
    stage.nothing_is_left().await;
}

#[tokio::test]
async fn run_gives_a_script_the_result_as_json() {
    let stage = Stage::new();
    let flags = ["--output", "json", "--job-config", r#"{"fast": 3}"#];
    let output = output_of(stage.run(&stage.code("backtest.py", GOOD), &flags)).await;
    let told = text(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{told}");
    let result: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&result["verdict"], &result["id"]), (&json!("succeeded"), &json!(stage.id)));
    assert_eq!(result["result"], json!({ "fast": 3 }));
    assert!(told.contains("to stdout\n") && told.contains("to stderr\n"), "{told}");
    stage.nothing_is_left().await;
}

#[tokio::test]
async fn a_local_bot_ends_on_an_interrupt_and_when_nobody_reads_any_more() {
    let sources = [("main.py", PYTHON_TICKER), (NODE_BOT.script, NODE_TICKER)];
    for (turn, (script, source)) in sources.into_iter().enumerate() {
        let stage = Stage::new();
        let command = stage.run(&stage.code(script, source), &["--long-running"]);
        let (child, out) = first_line(command).await;
        let (code, told) = if turn == 0 {
            interrupt(&child);
            let ended = end_of(child).await;
            drop(out);
            ended
        } else {
            drop(out);
            end_of(child).await
        };
        assert_eq!(code, Some(0), "{told}");
        let is_told = told.contains("longshore: stopped after ");
        assert_eq!(is_told, turn == 0, "{told}");
        stage.nothing_is_left().await;
    }
}

/// As `timeout` sends them: one to the program, one to its group.
#[tokio::test]
async fn run_takes_two_signals_in_a_moment_for_one_and_leaves_nothing_behind() {
    let stage = Stage::new();
    let command = stage.run(&stage.code("main.py", PYTHON_TICKER), &["--long-running"]);
    let (child, out) = first_line(command).await;
    send(&child, Signal::SIGTERM);
    send(&child, Signal::SIGINT);
    let (code, told) = end_of(child).await;
    drop(out);
    assert_eq!(code, Some(0), "{told}");
    assert!(told.contains("longshore: stopped after "), "{told}");
    stage.nothing_is_left().await;
}

#[tokio::test]
async fn run_says_what_may_help_without_an_engine() {
    let stage = Stage::new();
    let mut command = stage.run(&stage.code("backtest.py", GOOD), &[]);
    command.env("DOCKER_HOST", "unix:///nowhere/docker.sock");
    let output = output_of(command).await;
    let told = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("\nlongshore: the container engine cannot be reached at "), "{told}");
    assert!(told.contains("\nhelp: "), "{told}");
    stage.nothing_is_left().await;
}

/// A worker without root's rights cannot remove what root wrote. Only a container can have written
/// that, and only a container takes it away again.
#[tokio::test]
async fn files_of_roots_are_removed_by_a_worker_that_is_not_root() {
    let stage = Stage::new();
    let code = stage.code("main.py", PYTHON_TICKER);
    fs::set_permissions(stage.folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(stage.path("jobs"), fs::Permissions::from_mode(0o1777)).unwrap();
    let mut command = stage.run(&code, &["--long-running"]);
    if nix::unistd::geteuid().is_root() {
        command = as_nobody(&stage, &command);
    }
    let (child, out) = first_line(command).await;

    let directory = the_directory(&stage.path("jobs"));
    let bench = Bench::new().await;
    let script = "mkdir -p /job/sealed/deep && echo x > /job/sealed/deep/file && \
                  chmod 700 /job/sealed /job/sealed/deep && id -u";
    let mut spec = ContainerBuilder::new(PYTHON)
        .with_labels(bench.labels())
        .with_bind(&directory, "/job")
        .with_capabilities(&["DAC_OVERRIDE"])
        .build();
    spec.name = format!("{}.root", stage.id);
    spec.command = ["/bin/sh", "-c", script].map(str::to_owned).to_vec();
    let wrote = bench.engine.run_and_wait(&spec, None).await.unwrap();
    assert_eq!((wrote.status.exit_code, wrote.output.trim()), (Some(0), "0"));
    assert_eq!(fs::symlink_metadata(directory.join("sealed")).unwrap().uid(), 0);

    interrupt(&child);
    let (code, told) = end_of(child).await;
    drop(out);
    assert_eq!(code, Some(0), "{told}");
    assert!(!told.contains("could not remove"), "{told}");
    stage.nothing_is_left().await;
}

/// The same command as a user without rights, who may use the engine.
fn as_nobody(stage: &Stage, command: &Command) -> Command {
    // Where the tests were built may be a place that only their user can see.
    let program = stage.path("longshore");
    fs::copy(command.get_program(), &program).unwrap();
    let host = variable("DOCKER_HOST").unwrap_or_default();
    let socket = host.strip_prefix("unix://").unwrap_or("/var/run/docker.sock");
    let group = fs::metadata(socket).unwrap().gid();
    let mut again = Command::new(program);
    again.args(command.get_args()).env_clear().current_dir(stage.folder.path());
    again.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    again.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    again.uid(NOBODY).gid(group);
    again
}

/// The one job's directory below `jobs`: namespace, job, attempt.
fn the_directory(jobs: &Path) -> PathBuf {
    let mut path = jobs.to_owned();
    for _ in 0..3 {
        let entries = fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path());
        let folders: Vec<_> = entries.filter(|entry| entry.is_dir()).collect();
        let [only] = folders.as_slice() else { panic!("{folders:?} in {}", path.display()) };
        path.clone_from(only);
    }
    path
}

#[tokio::test]
async fn ps_lists_the_containers_of_the_namespace() {
    let scene = Scene::new().await;
    let worker = scene.worker().await;
    let id = scene.id("bot");
    scene.start(&scene.job("bot", &NODE_BOT, NODE_TICKER).await).await;
    scene.events.wait_state(&id, "running").await;
    let ps = |flags: &[&str]| {
        let mut command = longshore();
        command.env("AMQP_NAMESPACE", &scene.namespace).arg("ps").args(flags);
        command.envs(variable("DOCKER_HOST").map(|host| ("DOCKER_HOST", host)));
        output_of(command)
    };
    let found: Value = serde_json::from_slice(&ps(&["--output", "json"]).await.stdout).unwrap();
    let one = &found.as_array().unwrap()[0];
    assert_eq!((&one["id"], &one["state"]), (&json!(id), &json!("running")), "{found:#}");
    assert_eq!((&one["segment"], &one["script"]), (&json!(0), &json!("main.js")), "{found:#}");
    let container = scene.container_of(&id).await;
    assert_eq!(one["container_id"].as_str(), container.id.as_deref());
    let table = text(&ps(&[]).await.stdout);
    assert!(table.starts_with("JOB ") && table.lines().count() == 2, "{table}");
    let elsewhere = ps(&["--segment", "1", "--output", "json"]).await;
    assert_eq!(text(&elsewhere.stdout), "[]\n");
    scene.stop(&json!({ "id": id })).await;
    scene.events.result_of(&id).await.expect("stopped");
    scene.finish([worker]).await;
}

#[tokio::test]
async fn doctor_finds_a_whole_stack_well_and_each_part_that_is_missing() {
    let folder = tempfile::tempdir().unwrap();
    // A scene makes the buckets.
    let scene = Scene::new().await;
    let settings = settings_of_a_worker(&scene.namespace, "doctor", folder.path());
    let doctor = async |variable: &str, value: &str| {
        let mut command = longshore();
        command.envs(&settings).args(["doctor", "--output", "json"]);
        command.env("BOT_NETWORK", "bridge").env("BOT_ALLOWED_NETWORKS", "bridge,none");
        if !variable.is_empty() {
            command.env(variable, value);
        }
        let output = output_of(command).await;
        let findings: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
        // What the engine of this machine lacks is not ours to change: it is warned of, and no more.
        let is_engines = |one: &Value| {
            ["cgroups", "seccomp", "userns"].iter().any(|check| one["check"] == *check)
        };
        assert!(findings.iter().filter(|one| is_engines(one)).all(|one| one["grade"] != "fail"));
        let failed = |one: &&Value| one["grade"] != "ok" && !is_engines(one);
        let ill = findings.iter().filter(failed).map(|one| one["check"].clone());
        assert!(!text(&output.stdout).contains("hush"), "{findings:#?}");
        (output.status.code(), ill.collect::<Vec<_>>())
    };
    assert_eq!(doctor("", "").await, (Some(0), Vec::<Value>::new()));
    let broker = "amqp://me:hush@127.0.0.1:1/%2f";
    for (variable, value, check, code) in [
        ("AMQP_URL", broker, "broker", 1),
        ("MINIO_ENDPOINT", "127.0.0.1:1", "store", 1),
        ("MINIO_SECRET_KEY", "hush-wrong", "store", 1),
        ("MINIO_STATE_BUCKET", "longshore-tests-no-such-bucket", "store", 0),
        ("MINIO_INPUTS_BUCKET", "longshore-tests-no-such-bucket", "inputs", 0),
        ("DOCKER_HOST", "unix:///nowhere/docker.sock", "engine", 1),
        ("PYTHON_IMAGE", "nowhere/none:1", "image", 0),
        ("TEMP_DIR", "/dev/null/jobs", "temp dir", 1),
        ("MAX_SEGMENTS", "many", "settings", 1),
    ] {
        let found = doctor(variable, value).await;
        assert_eq!(found, (Some(code), vec![json!(check)]), "{variable}={value}");
    }
    let host = doctor("BOT_ALLOWED_NETWORKS", "bridge,host").await;
    assert_eq!(host, (Some(0), vec![json!("network"), json!("exposure")]));
    scene.finish([]).await;
}
