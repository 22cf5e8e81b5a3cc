//! The program as people and scripts call it.

mod client;
mod dead;
mod engine;
mod errors;
mod gc;
mod jobs;
mod ps;
mod queue;
mod segments;
mod show;
mod terminal;
mod top;

use std::process::{Command, Output};

use clap::CommandFactory as _;
use longshore::cli::Arguments;
use longshore::job::Verdict;
use longshore_testing::scene::Scene;
use longshore_testing::worker::settings_of_a_worker;

/// The program in an empty directory with an empty environment.
pub(crate) fn longshore() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_longshore"));
    command.env_clear().current_dir(std::env::temp_dir());
    command
}

/// The program in a scene, with the settings of its workers.
fn in_scene(scene: &Scene) -> tokio::process::Command {
    let mut command = tokio::process::Command::from(longshore());
    command
        .envs(settings_of_a_worker(&scene.namespace, "client", &scene.temp_dir()))
        .env_remove("LOG_LEVEL")
        .kill_on_drop(true);
    command
}

/// What a program printed as JSON.
fn json_of(output: &Output) -> serde_json::Value {
    let read = serde_json::from_slice(&output.stdout);
    read.unwrap_or_else(|error| panic!("{error}: {}{}", text(&output.stdout), text(&output.stderr)))
}

/// Output as text.
pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn run(arguments: &[&str]) -> Output {
    longshore().args(arguments).output().unwrap()
}

/// Every command of the program.
pub(crate) fn commands() -> Vec<String> {
    Arguments::command().get_subcommands().map(|command| command.get_name().to_owned()).collect()
}

#[test]
fn help_lists_every_command_and_every_exit_code() {
    let output = run(&["--help"]);
    let help = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0));
    let codes = Verdict::ALL.map(|verdict| format!(" {}  ", verdict.process_exit_code()));
    assert!(commands().len() >= 11, "{:?}", commands());
    for word in commands().into_iter().chain(["Exit codes:".to_owned()]).chain(codes) {
        assert!(help.contains(&word), "{word} is missing in\n{help}");
    }
}

#[test]
fn every_command_shows_examples_without_colour_when_not_on_a_terminal() {
    for command in commands() {
        let output = run(&[&command, "--help"]);
        let help = text(&output.stdout);
        assert_eq!(output.status.code(), Some(0), "{command}");
        assert!(help.contains("Examples:\n  longshore "), "{help}");
        assert!(!help.contains('\u{1b}'), "{help:?}");
    }
}

#[test]
fn wrong_arguments_end_with_2() {
    for arguments in [&["sail"][..], &["schema", "--nope"], &["completions", "tcsh"], &[]] {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(!output.stderr.is_empty() && output.stdout.is_empty(), "{arguments:?}");
    }
}

#[test]
fn a_misspelt_command_is_answered_with_the_nearest() {
    assert!(text(&run(&["wroker"]).stderr).contains("worker"));
}

#[test]
fn schema_lists_prints_and_writes() {
    let list = run(&["schema"]);
    for name in ["start", "stop", "event", "log", "asyncapi"] {
        assert!(text(&list.stdout).lines().any(|line| line.starts_with(name)), "{name}");
    }
    let start: serde_json::Value =
        serde_json::from_slice(&run(&["schema", "start"]).stdout).unwrap();
    assert_eq!(start["title"], "Start message");
    let unknown = run(&["schema", "begin"]);
    assert_eq!(unknown.status.code(), Some(2));
    assert!(text(&unknown.stderr).contains("there are start, stop, event, log, asyncapi"));

    let directory = tempfile::tempdir().unwrap();
    let target = directory.path().join("new");
    let written = longshore().args(["schema", "--output-dir"]).arg(&target).output().unwrap();
    assert!(written.status.success());
    assert_eq!(std::fs::read_dir(&target).unwrap().count(), 5);
}

#[test]
fn a_failed_write_is_reported_with_its_cause() {
    let output = run(&["schema", "--output-dir", "/dev/null/x"]);
    let told = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(told.starts_with("longshore: the directory /dev/null/x cannot be made: "), "{told}");
}

#[test]
fn completions_know_the_commands() {
    for shell in ["bash", "zsh", "fish"] {
        let script = text(&run(&["completions", shell]).stdout);
        for command in commands() {
            assert!(script.contains(&command), "{shell}: {command}");
        }
    }
}

#[test]
fn doctor_runs_every_check_and_suggests_fixes() {
    let directory = tempfile::tempdir().unwrap();
    let output = longshore()
        .env("TEMP_DIR", directory.path().join("jobs"))
        .args(["doctor", "--output", "json"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1), "the required settings are missing");
    let findings: Vec<serde_json::Value> = serde_json::from_slice(&output.stdout).unwrap();
    let of = |check: &str, grade: &str| {
        findings.iter().filter(|one| one["check"] == check && one["grade"] == grade).count()
    };
    assert_eq!(of("settings", "fail"), 4);
    assert_eq!(of("temp dir", "ok"), 1);
    for failed in findings.iter().filter(|one| one["grade"] == "fail") {
        assert!(failed["mend"].is_string(), "{failed}");
    }
}

#[test]
fn a_wrong_message_is_refused_before_anything_is_connected() {
    let output = run(&["start", "--id", "../x", "--file", "main.py", "--code", "a.zip"]);
    assert_eq!(output.status.code(), Some(2));
    let told = text(&output.stderr);
    assert!(told.starts_with("longshore: the start message is wrong: id: \"../x\""), "{told}");
    let stop = run(&["stop", "a", "--timeout", "601"]);
    assert_eq!(stop.status.code(), Some(2));
    assert!(text(&stop.stderr).contains("more than the 600 allowed"));
}

#[test]
fn run_prints_the_message_for_a_directory() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("backtest.py"), "def main(id, config): pass\n").unwrap();
    let output = longshore()
        .args(["run", "--print-message", "--id", "a", "--job-config", r#"{"x": [1]}"#])
        .arg(directory.path())
        .output()
        .unwrap();
    let message = longshore::job::parse_executable(&output.stdout).unwrap();
    assert_eq!((message.id.as_str(), message.is_long_running), ("a", false));
    assert_eq!(message.config.as_str(), r#"{"x":[1]}"#);
    let missing = run(&["run", "/nowhere"]);
    assert_eq!(missing.status.code(), Some(2));
    assert!(text(&missing.stderr).starts_with("longshore: /nowhere cannot be read: No such file"));
}

#[test]
fn a_client_needs_the_broker_alone_and_says_when_it_is_not_there() {
    let missing = run(&["stop", "a"]);
    assert_eq!(missing.status.code(), Some(2));
    assert!(text(&missing.stderr).starts_with("longshore: AMQP_URL is not set"));
    let gone = longshore()
        .env("AMQP_URL", "amqp://me:hush@127.0.0.1:1/%2f")
        .args(["stop", "a"])
        .output()
        .unwrap();
    let told = text(&gone.stderr);
    assert_eq!(gone.status.code(), Some(1), "{told}");
    assert!(told.starts_with("longshore: cannot reach RabbitMQ at "), "{told}");
    assert!(told.contains("help: ") && !told.contains("hush"), "{told}");
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    use std::process::Stdio;
    let mut child = longshore()
        .args(["schema", "event"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), text(&output.stderr).as_str()), (Some(0), ""));
}
