use clap::{Args as _, FromArgMatches as _};

use super::*;
use crate::cli::order::checked;
use crate::job::{Entrypoint, Runtimes};

/// The message for a directory with these files, and what is told about it.
fn message(files: &[(&str, &str)], flags: &[&str]) -> Result<(Executable, String), String> {
    let place = tempfile::tempdir().unwrap();
    let root = place.path().join("my strategy!");
    for (file, text) in files {
        let path = root.join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    let command = JobArguments::augment_args(clap::Command::new("run"));
    let matches = command.try_get_matches_from([&["run"], flags].concat()).unwrap();
    let flags = JobArguments::from_arg_matches(&matches).unwrap();
    let names: Vec<_> = files.iter().map(|(name, _)| (*name).to_owned()).collect();
    let read = || {
        let mut draft = draft_of(&root, &names, &flags, &Runtimes::default())?;
        flags.lay_over(&mut draft, &Runtimes::default())?;
        draft.fields.entry("file_path").or_insert("code.zip".into());
        let executable = checked(&draft)?;
        let told = told(&root, &executable);
        Ok((executable, told))
    };
    read().map_err(|failure: Failure| format!("{failure:?}"))
}

fn named(files: &[&str], flags: &[&str]) -> Result<Executable, String> {
    let files: Vec<_> = files.iter().map(|file| (*file, "")).collect();
    Ok(message(&files, flags)?.0)
}

#[test]
fn the_files_tell_what_to_run() {
    type Case<'a> = (&'a [&'a str], &'a [&'a str], Entrypoint, &'a str, &'a str);
    let cases: [Case<'_>; 10] = [
        (&["main.py"], &[], Entrypoint::Bot, "main.py", "python3.11"),
        (&["main.sh"], &[], Entrypoint::Bot, "main.sh", "shell"),
        (&["main.py", "backtest.sh", "run.sh"], &[], Entrypoint::Bot, "main.py", "python3.11"),
        (&["main.mjs"], &[], Entrypoint::Bot, "main.mjs", "nodejs20"),
        (&["backtest.js"], &[], Entrypoint::Backtest, "backtest.js", "nodejs20"),
        (&["main.py", "backtest.py"], &[], Entrypoint::Backtest, "backtest.py", "python3.11"),
        (&["main.js", "backtest.js"], &["--long-running"], Entrypoint::Bot, "main.js", "nodejs20"),
        (
            &["lib/a.py", "main.js"],
            &["--file", "lib/a.py"],
            Entrypoint::Bot,
            "lib/a.py",
            "python3.11",
        ),
        (
            &["strategy.py", "test_strategy.py", "setup.py"],
            &[],
            Entrypoint::Backtest,
            "strategy.py",
            "python3.11",
        ),
        (
            &["main.py"],
            &["--entrypoint", "backtest"],
            Entrypoint::Backtest,
            "main.py",
            "python3.11",
        ),
    ];
    for (files, flags, entrypoint, script, runtime) in cases {
        let message = named(files, flags).unwrap();
        assert_eq!(
            (message.entrypoint, message.runtime.as_str()),
            (entrypoint, runtime),
            "{files:?}"
        );
        assert_eq!(message.entrypoint_files[entrypoint.as_str()], script, "{files:?}");
        assert_eq!(message.id.as_str(), "my-strategy");
    }
}

#[test]
fn a_start_json_says_what_to_run_and_flags_win_over_it() {
    let start = r#"{"id": "mine", "runtime": "python3.11", "entrypoint": "bot",
        "entrypoint_files": {"bot": "lib/run.py"}, "file_path": "of-another.zip",
        "config": {"fast": 5}, "is_long_running": true, "persist_results": false,
        "restart": {"when": "always"}}"#;
    let files = [("start.json", start), ("lib/run.py", ""), ("backtest.py", "")];
    let (executable, told) = message(&files, &[]).unwrap();
    assert_eq!((executable.id.as_str(), executable.config.as_str()), ("mine", r#"{"fast":5}"#));
    assert_eq!(executable.file_path, "code.zip");
    assert!(executable.restart.is_some());
    assert_eq!(told, "by start.json: lib/run.py as a bot on python3.11, until it is stopped");
    let flags = ["--id", "other", "--file", "backtest.py", "--job-config", "{}"];
    let (executable, _) = message(&files, &flags).unwrap();
    assert_eq!((executable.id.as_str(), executable.config.as_str()), ("other", "{}"));
    assert_eq!(executable.entrypoint_files["bot"], "backtest.py");
}

#[test]
fn what_a_start_json_leaves_out_is_found_in_the_files() {
    let files = [("start.json", r#"{"config": {"fast": 5}}"#), ("main.py", "")];
    let (executable, _) = message(&files, &[]).unwrap();
    assert_eq!(executable.entrypoint_files["bot"], "main.py");
    assert_eq!(executable.config.as_str(), r#"{"fast":5}"#);
}

#[test]
fn what_the_files_do_not_tell_is_asked_for() {
    let none = named(&["readme.md", "test_a.py"], &[]).unwrap_err();
    assert!(none.contains("strategy! has no script for a backtest"), "{none}");
    assert!(none.contains("only readme.md and test_a.py: name it with --file"), "{none}");
    let two = named(&["main.py", "main.js"], &[]).unwrap_err();
    assert!(two.contains("for example --file main.py. There are main.py and main.js"), "{two}");
    let wrong = message(&[("start.json", "[]")], &[]).unwrap_err();
    assert!(wrong.contains("start.json is not a JSON object"), "{wrong}");
}
