//! Errors as JSON, where the output is asked for as JSON.

use std::process::Output;

use clap::CommandFactory as _;
use longshore::cli::Arguments;
use serde_json::{Value, json};

use super::{longshore, text};

/// The one line of standard error as JSON, and nothing on standard output.
fn error_of(output: &Output) -> Value {
    let told = text(&output.stderr);
    assert_eq!((text(&output.stdout).as_str(), told.lines().count()), ("", 1), "{told}");
    let read: Value = serde_json::from_str(&told).unwrap_or_else(|error| panic!("{error}: {told}"));
    let error = &read["error"];
    assert_eq!(error["exit_code"], json!(output.status.code()), "{told}");
    assert!(error["message"].as_str().is_some_and(|message| !message.is_empty()), "{told}");
    error.clone()
}

/// Every command line that takes a format, as words without other arguments.
fn with_formats() -> Vec<Vec<String>> {
    fn below(command: &clap::Command, words: &[String], found: &mut Vec<Vec<String>>) {
        if command.get_arguments().any(|argument| argument.get_id() == "output") {
            found.push(words.to_vec());
        }
        for inner in command.get_subcommands() {
            below(inner, &[words, &[inner.get_name().to_owned()]].concat(), found);
        }
    }
    let mut found = Vec::new();
    below(&Arguments::command(), &[], &mut found);
    found
}

#[test]
fn wrong_arguments_are_told_as_json_by_every_command() {
    let commands = with_formats();
    assert!(commands.len() > 15, "{commands:?}");
    for words in commands {
        for format in [&["--output", "json"][..], &["--output=json"]] {
            let output = longshore().args(&words).args(format).arg("--nope").output().unwrap();
            let error = error_of(&output);
            assert_eq!(error["exit_code"], 2, "{words:?}");
            assert!(error["message"].as_str().unwrap().contains("--nope"), "{error}");
        }
    }
}

#[test]
fn settings_and_files_that_are_wrong_and_servers_that_are_gone_are_told_as_json() {
    let json = ["--output", "json"];
    let missing = error_of(&longshore().args(["queue"]).args(json).output().unwrap());
    assert_eq!(missing["settings"][0]["setting"], "AMQP_URL", "{missing}");
    assert!(missing["help"].as_str().unwrap().contains("docs/settings.md"), "{missing}");

    let gone = longshore()
        .env("AMQP_URL", "amqp://me:hush@127.0.0.1:1/%2f")
        .args(["stop", "a"])
        .args(json)
        .output()
        .unwrap();
    let gone = error_of(&gone);
    assert_eq!(gone["exit_code"], 1);
    assert!(gone["message"].as_str().unwrap().starts_with("cannot reach RabbitMQ at "), "{gone}");
    assert!(gone["help"].as_str().unwrap().contains("AMQP_URL"), "{gone}");
    assert!(!gone.to_string().contains("hush"), "{gone}");

    let engine = longshore()
        .env("DOCKER_HOST", "unix:///nowhere/docker.sock")
        .args(["ps"])
        .args(json)
        .output()
        .unwrap();
    assert!(error_of(&engine)["help"].as_str().unwrap().contains("DOCKER_HOST"));

    let nowhere = error_of(&longshore().args(["run", "/nowhere"]).args(json).output().unwrap());
    assert_eq!(nowhere["exit_code"], 2);
    assert!(nowhere["message"].as_str().unwrap().starts_with("/nowhere cannot be read: "));
}

#[test]
fn errors_stay_text_where_json_is_not_asked_for_and_help_stays_help() {
    for words in [&["queue"][..], &["queue", "--nope"], &["queue", "--", "--output=json"]] {
        let output = longshore().args(words).output().unwrap();
        let told = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{told}");
        assert!(told.starts_with("longshore: ") || told.starts_with("error: "), "{told}");
    }
    let help = longshore().args(["queue", "--output", "json", "--help"]).output().unwrap();
    assert_eq!((help.status.code(), text(&help.stderr).as_str()), (Some(0), ""));
    assert!(text(&help.stdout).contains("Examples:\n"));
}
