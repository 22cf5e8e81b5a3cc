//! A container that waits for its job: the program itself, with processes of this machine.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "tests may panic, and may sleep"
)]

mod support;

use std::io::{Read as _, Write as _};
use std::time::Duration;

use nix::sys::signal::Signal;

use support::{Init, Root};

/// A launcher that waits for its environment, says what came, and runs what the variable RUN says.
const LAUNCHER: &str = r#"exec 4<&$LONGSHORE_WARM; text=$(tr '\0' '\n' <&4)
    eval "$(printf %s "$text" | grep ^RUN= | sed 's/^RUN=//')""#;

const JOB: &str = "ENTRYPOINT_TYPE=backtest\0ID=7\0";

fn start(root: &Root) -> Init {
    Init::start(root, &["sh", "-c", LAUNCHER], &[("LONGSHORE_WARM", "1")])
}

fn job(run: &str) -> String {
    format!("{JOB}RUN={run}\0")
}

#[test]
fn a_job_runs_when_it_has_come_and_its_end_is_told_when_all_is_over() {
    let root = Root::new();
    let mut done = root.waits();
    let mut init = start(&root);
    let mut bell = root.bell();
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!((root.note().as_str(), init.has_ended()), ("", false));
    root.put_job(&job(r#"(sleep 60 &) ; echo "$text" | grep ^BACKTEST_ID; printf half; exit 7"#));
    bell.write_all(b"word\n").unwrap();
    assert_eq!(init.end().code(), Some(7));
    assert_eq!(init.rest(), "BACKTEST_ID=7\nhalfword\n");
    assert_eq!(init.errors(), "word\n");
    let mut told = String::new();
    done.read_to_string(&mut told).unwrap();
    assert_eq!(told, "7\n");
    let note = root.note();
    assert!(note.starts_with("begun\n") && note.ends_with("ended\n"), "{note}");
}

#[test]
fn without_a_job_it_ends_with_its_worker_and_when_it_is_asked_to() {
    for is_asked in [false, true] {
        let root = Root::new();
        let _done = root.waits();
        let mut init = start(&root);
        let bell = root.bell();
        if is_asked {
            init.send(Signal::SIGTERM);
        } else {
            drop(bell);
        }
        assert_eq!(init.end().code(), Some(143));
        assert_eq!((root.note().as_str(), init.rest().as_str()), ("", ""));
    }
}

#[test]
fn a_job_that_had_come_runs_although_its_worker_has_died() {
    let root = Root::new();
    let done = root.waits();
    let mut init = start(&root);
    let bell = root.bell();
    root.put_job(&job("echo runs; exit 3"));
    drop((bell, done));
    assert_eq!(init.end().code(), Some(3));
    // Nobody waits for a word.
    assert_eq!((init.rest().as_str(), init.errors().as_str()), ("runs\n", ""));
}

#[test]
fn a_job_hears_a_stop_as_ever() {
    let root = Root::new();
    let _done = root.waits();
    let mut init = start(&root);
    let mut bell = root.bell();
    root.put_job(&job("trap 'echo asked; exit 9' TERM; echo ready; while :; do sleep 0.05; done"));
    bell.write_all(b"word\n").unwrap();
    init.reads("ready");
    init.send(Signal::SIGTERM);
    init.reads("asked");
    assert_eq!(init.end().code(), Some(9));
    assert!(root.note().contains("terminated\n"));
}

#[test]
fn without_its_pipes_it_does_not_wait() {
    let root = Root::new();
    let mut init = start(&root);
    assert_eq!(init.end().code(), Some(71));
    assert!(init.errors().contains("cannot wait for a job"));
}
