//! The program itself, with processes of this machine: signals, exit codes, the lease and the exit note.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "tests may panic, and may sleep"
)]

mod support;

use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::sys::signal::Signal;

use support::{Init, Root};

/// Says that it is ready, and ends in its own way on SIGTERM.
const POLITE: &str = r"trap 'echo asked; exit 7' TERM; echo ready; while :; do sleep 0.05; done";

/// Says that it is ready, and does not end on SIGTERM.
const STUBBORN: &str = r"trap 'echo asked' TERM; echo ready; while :; do sleep 0.05; done";

/// Bears the name of a launcher that has not heard SIGTERM, and never hears it.
const DEAF: &str =
    r"printf longshore:job >/proc/$$/comm; trap '' TERM; echo ready; while :; do sleep 0.05; done";

/// Hears SIGTERM once its child has ended.
const WAITING: &str = r"printf longshore:job >/proc/$$/comm; trap 'printf sh >/proc/$$/comm' TERM
    echo ready; sleep 60; echo closed; exit 9";

const TERMINATED: &str =
    r#"{"status":"terminated","message":"Backtest execution terminated by signal"}"#;

#[test]
fn a_program_gives_its_exit_code_or_its_signal() {
    for (script, code) in [
        ("exit 0", 0),
        ("exit 7", 7),
        ("exit 255", 255),
        ("kill -KILL $$", 137),
        ("kill -ABRT $$", 134),
        ("kill -34 $$", 162),
    ] {
        let root = Root::new();
        let mut init = Init::shell(&root, script);
        assert_eq!(init.end().code(), Some(code), "{script}");
    }
}

#[test]
fn orders_to_end_reach_the_program_as_sigterm_and_others_as_they_are() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let root = Root::new();
        let mut init = Init::shell(&root, POLITE);
        init.reads("ready");
        init.send(signal);
        init.reads("asked");
        assert_eq!(init.end().code(), Some(7), "{signal}");
    }
    for (signal, name) in [
        (Signal::SIGHUP, "HUP"),
        (Signal::SIGQUIT, "QUIT"),
        (Signal::SIGUSR1, "USR1"),
        (Signal::SIGUSR2, "USR2"),
    ] {
        let script = format!("trap 'exit 9' {name}; echo ready; while :; do sleep 0.05; done");
        let root = Root::new();
        let mut init = Init::shell(&root, &script);
        init.reads("ready");
        init.send(signal);
        assert_eq!(init.end().code(), Some(9), "{signal}");
    }
}

#[test]
fn sigterm_ends_a_program_however_early_it_comes() {
    for microseconds in [0, 200, 400, 600, 800, 1000, 1500, 2000, 5000, 20_000] {
        let root = Root::new();
        let mut init = Init::start(&root, &["sleep", "60"], &[]);
        std::thread::sleep(Duration::from_micros(microseconds));
        init.send(Signal::SIGTERM);
        let status = init.end();
        // The signal itself ends one that has not come to its first instruction.
        let by_signal = status.code() == Some(143) || status.signal() == Some(15);
        assert!(by_signal, "after {microseconds} us: {status}");
    }
}

#[test]
fn every_sigterm_reaches_a_program_with_a_handler_of_its_own() {
    let root = Root::new();
    let mut init = Init::shell(&root, STUBBORN);
    init.reads("ready");
    for _ in 0..3 {
        init.send(Signal::SIGTERM);
        init.reads("asked");
    }
    init.send_program(Signal::SIGKILL);
    assert_eq!(init.end().code(), Some(137));
}

#[test]
fn a_deaf_program_is_killed_and_gives_the_result_of_one_that_was_terminated() {
    let root = Root::new();
    let mut init = Init::start(&root, &["sh", "-c", DEAF], &[("ENTRYPOINT_TYPE", "backtest")]);
    init.reads("ready");
    init.send(Signal::SIGTERM);
    init.reads(TERMINATED);
    assert_eq!(init.end().code(), Some(143));
    assert_eq!(fs::read_to_string(root.path().join("result.json")).unwrap(), TERMINATED);

    fs::write(root.path().join("result.json"), "{}").unwrap();
    for long_running in ["true", "false"] {
        let variables = [("ENTRYPOINT_TYPE", "backtest"), ("IS_LONG_RUNNING", long_running)];
        let mut init = Init::start(&root, &["sh", "-c", DEAF], &variables);
        init.reads("ready");
        init.send(Signal::SIGTERM);
        assert_eq!(init.end().code(), Some(143));
        assert_eq!(init.rest(), "", "no result but its own is told");
    }
    assert_eq!(fs::read_to_string(root.path().join("result.json")).unwrap(), "{}");
}

#[test]
fn a_program_that_waits_for_its_child_ends_with_it_in_its_own_way() {
    let root = Root::new();
    let mut init = Init::shell(&root, WAITING);
    init.reads("ready");
    init.program_has_a_child();
    init.send(Signal::SIGTERM);
    init.reads("closed");
    assert_eq!(init.end().code(), Some(9));
}

#[test]
fn a_program_holds_back_ignores_and_has_open_what_it_would_without_us() {
    let script = "grep -E '^Sig(Blk|Ign):' /proc/self/status; ls /proc/self/fd";
    let without = Command::new("sh").args(["-c", script]).stdin(Stdio::null()).output().unwrap();
    let root = Root::new();
    let mut init = Init::shell(&root, script);
    assert_eq!(init.end().code(), Some(0));
    let said = init.rest();
    assert!(said.contains("SigBlk:\t0000000000000000\n"), "{said}");
    assert_eq!(said, String::from_utf8(without.stdout).unwrap());
}

#[test]
fn a_program_finds_its_id_and_configuration_under_the_names_of_its_kind() {
    let script = r#"echo "$BOT_ID $BOT_CONFIG ${BACKTEST_ID-none} ${BACKTEST_CONFIG-none}""#;
    let variables = [("ID", "job-1"), ("CONFIG", "{}")];
    let root = Root::new();
    let mut init = Init::start(&root, &["sh", "-c", script], &variables);
    init.reads("job-1 {} none none");
    assert_eq!(init.end().code(), Some(0));
}

#[test]
fn an_unknown_kind_is_refused_before_anything_is_started() {
    let root = Root::new();
    let mut init = Init::start(&root, &["echo", "started"], &[("ENTRYPOINT_TYPE", "$(id)")]);
    assert_eq!(init.end().code(), Some(64));
    assert_eq!(init.rest(), "");
    assert!(init.errors().contains("'$(id)', neither 'bot' nor 'backtest'"), "{}", init.errors());
    assert_eq!(root.note(), "begun\n");
}

#[test]
fn a_call_without_a_program_says_how_it_is_called() {
    let root = Root::new();
    let mut init = Init::start(&root, &[], &[]);
    assert_eq!(init.end().code(), Some(64));
    assert!(init.errors().contains("usage: longshore-init ROOT PROGRAM"), "{}", init.errors());
}

#[test]
fn a_program_that_cannot_be_started_is_named_and_the_exit_code_is_that_of_a_shell() {
    for (program, code) in [("no-such-program", 127), ("/etc/passwd", 126)] {
        let root = Root::new();
        let mut init = Init::start(&root, &[program], &[]);
        assert_eq!(init.end().code(), Some(code));
        assert!(
            init.errors().contains(&format!("{program} cannot be started")),
            "{}",
            init.errors()
        );
        assert!(root.note().starts_with("begun\n"));
    }
}

#[test]
fn the_note_says_that_the_container_began_and_what_it_used() {
    let root = Root::new();
    let mut init = Init::shell(&root, "cat .longshore/exit-note");
    assert_eq!(init.end().code(), Some(0));
    assert_eq!(init.rest(), "begun\n", "before the program runs");
    let note = root.note();
    assert!(note.ends_with("\nended\n") && note.len() < 1024, "{note}");
    let figures: Vec<_> = note.lines().skip(1).filter(|line| *line != "ended").collect();
    assert!(!figures.is_empty() && figures.iter().all(|line| line.contains(' ')), "{note}");
}

#[test]
fn the_note_says_that_somebody_asked_the_program_to_end() {
    let root = Root::new();
    let mut init = Init::shell(&root, POLITE);
    init.reads("ready");
    init.send(Signal::SIGTERM);
    assert_eq!(init.end().code(), Some(7));
    assert!(root.note().starts_with("begun\nterminated\n"), "{}", root.note());
    let mut killed = Init::shell(&root, "kill -TERM $$");
    assert_eq!(killed.end().code(), Some(143));
    assert!(!root.note().rsplit_once("begun\n").unwrap().1.contains("terminated"));
}

#[test]
fn only_a_bot_with_a_lease_is_watched() {
    let root = Root::new();
    let mut init = Init::shell(&root, POLITE);
    init.reads("ready");
    // A lease that comes later is none.
    root.lease("1", 0);
    std::thread::sleep(Duration::from_secs(3));
    init.send(Signal::SIGTERM);
    assert_eq!(init.end().code(), Some(7));
    assert_eq!((init.errors(), root.has_expired()), (String::new(), false));
}

#[test]
fn a_bot_is_asked_to_end_when_its_lease_runs_out_and_keeps_its_exit_code() {
    let root = Root::new();
    root.lease("1", 5);
    let mut init = Init::shell(&root, POLITE);
    init.reads("ready");
    init.reads("asked");
    assert_eq!(init.end().code(), Some(7));
    assert!(root.has_expired());
    let sentence =
        "longshore: this bot ends itself, for its worker has not been heard of for too long\n";
    assert_eq!(init.errors(), sentence);
}

#[test]
fn a_bot_that_does_not_end_when_its_lease_has_run_out_is_killed() {
    let root = Root::new();
    root.lease("1", 4);
    let mut init = Init::shell(&root, STUBBORN);
    init.reads("ready");
    init.reads("asked");
    assert_eq!(init.end().code(), Some(137));
    assert!(root.has_expired());
}

#[test]
fn a_lease_that_is_renewed_keeps_a_bot_until_it_is_gone() {
    let root = Root::new();
    root.lease("0", 6);
    let mut init = Init::shell(&root, POLITE);
    init.reads("ready");
    for stamp in 1..80 {
        root.lease(&stamp.to_string(), 6);
        std::thread::sleep(Duration::from_millis(100));
        assert!(!init.has_ended(), "{}", init.errors());
    }
    root.remove_lease();
    init.reads("asked");
    assert_eq!(init.end().code(), Some(7));
}

/// Nobody takes its output, so that one more line would wait for ever.
#[test]
fn a_bot_whose_output_nobody_takes_is_ended_all_the_same() {
    let root = Root::new();
    root.lease("1", 5);
    let script = "exec >&2; trap '' TERM; cat /dev/zero";
    let mut init = Init::start_unread(&root, &["sh", "-c", script]);
    assert_eq!(init.end().code(), Some(137));
    assert!(root.has_expired());
}
