//! `longshore-init ROOT PROGRAM [ARGUMENT...]`: runs a job's program, whose directory is ROOT.

use std::path::PathBuf;
use std::process::ExitCode;

use longshore_init::environment::Environment;
use longshore_init::signals::Signals;
use longshore_init::supervise::{Job, supervise};
use longshore_init::{exit, say, warm};

fn main() -> ExitCode {
    // First of all: process 1 hears no signal that it has not asked for.
    let signals = match Signals::take() {
        Ok(signals) => signals,
        Err(error) => return refuse(exit::SYSTEM, &format!("signals cannot be received: {error}")),
    };
    let mut words = std::env::args_os().skip(1);
    let (Some(root), program) = (words.next().map(PathBuf::from), words.collect::<Vec<_>>()) else {
        return usage();
    };
    if program.is_empty() {
        return usage();
    }
    let job = Job { root, program, environment: Environment::new(std::env::vars_os()) };
    ExitCode::from(if job.environment.is_warm() {
        warm::supervise(job, &signals)
    } else {
        supervise(&job, &signals)
    })
}

fn usage() -> ExitCode {
    refuse(exit::USAGE, "usage: longshore-init ROOT PROGRAM [ARGUMENT...]")
}

fn refuse(code: u8, sentence: &str) -> ExitCode {
    say::error(sentence);
    ExitCode::from(code)
}
