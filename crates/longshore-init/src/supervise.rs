//! The life of a job's program, from its start to its exit code.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Instant;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::environment::{Environment, Kind};
use crate::lease::{Clock, LOOK_EVERY, LeaseFile, Watch};
use crate::note::{self, Note};
use crate::processes;
use crate::signals::Signals;
use crate::stop::{Step, Stop};
use crate::{exit, program, result, say};

/// How many ended processes are reaped before the lease is looked at again.
const REAP_AT_ONCE: usize = 1024;

/// What is run.
#[derive(Debug)]
pub struct Job {
    /// The job's directory.
    pub root: PathBuf,
    /// The program and its arguments: at least one word.
    pub program: Vec<OsString>,
    /// The environment of this process.
    pub environment: Environment,
}

/// Runs a job's program to its end; gives the exit code of this process.
#[must_use]
pub fn supervise(job: &Job, signals: &Signals) -> u8 {
    let (note, kind) = match begin(job) {
        Ok(begun) => begun,
        Err(code) => return code,
    };
    let Some((program, arguments)) = job.program.split_first() else {
        return exit::USAGE;
    };
    if signals.is_asked() {
        return exit::TERMINATED;
    }
    let watcher = Watcher::of(&job.root);
    let environment = job.environment.of_program(kind);
    let child = program::start(program, arguments, environment, signals.mask_of_program());
    let code = match child {
        Ok(child) => run_to_its_end(job, kind, child, (&note, watcher), signals),
        Err(not_started) => {
            say::error(&not_started.sentence);
            not_started.code
        }
    };
    note.add(&format!(
        "{}{}\n",
        note::figures(Path::new(note::CONTROL_GROUP), &note::Before::new()),
        note::ENDED
    ));
    code
}

/// Notes that a job has begun; gives the note and the job's kind, or the exit code where it has none.
pub(crate) fn begin(job: &Job) -> Result<(Note, Kind), u8> {
    let note = Note::of(&job.root);
    note.add(&format!("{}\n", note::BEGUN));
    match job.environment.kind() {
        Ok(kind) => Ok((note, kind)),
        Err(sentence) => {
            say::error(&sentence);
            Err(exit::USAGE)
        }
    }
}

/// Stays with a program that was started; gives the exit code.
pub(crate) fn run_to_its_end(
    job: &Job,
    kind: Kind,
    child: Pid,
    (note, watcher): (&Note, Option<Watcher>),
    signals: &Signals,
) -> u8 {
    let mut life = Life { child, note, watcher, stop: None, was_deaf: false };
    let code = life.run(signals);
    if life.was_deaf { end_of_deaf(job, &result::terminated(kind)) } else { code }
}

/// Leaves the result of a program that was killed because it did not hear SIGTERM.
fn end_of_deaf(job: &Job, text: &str) -> u8 {
    if job.environment.wants_result() && result::write_if_missing(&job.root, text) {
        say::result(text);
    }
    exit::TERMINATED
}

/// A program that runs.
struct Life<'job> {
    child: Pid,
    note: &'job Note,
    watcher: Option<Watcher>,
    /// The SIGTERM that the program may not have heard yet. Another one waits meanwhile.
    stop: Option<Stop>,
    /// Whether it was killed because it did not hear SIGTERM.
    was_deaf: bool,
}

impl Life<'_> {
    /// To its end; gives its exit code, as a shell tells it.
    fn run(&mut self, signals: &Signals) -> u8 {
        let mut status = None;
        loop {
            status = signals.child_ended(self.child).or(status);
            let reaped = reap(self.child);
            if let Reaped::Program(code) = reaped {
                if let Some(watcher) = &mut self.watcher {
                    watcher.note_end(self.note);
                }
                return code.unwrap_or_else(|| of_signal(status.unwrap_or_default()));
            }
            while let Some(signal) = signals.next_to_pass_on() {
                self.send(signal);
            }
            if self.stop.is_none() && signals.is_asked() {
                // The signal first: a disk that hangs must not hold it up.
                self.send(Signal::SIGTERM);
                self.note.add(&format!("{}\n", note::TERMINATED));
                self.stop = Some(Stop::sent(Instant::now()));
            }
            self.look_at_stop(Instant::now());
            if let Some(watcher) = &mut self.watcher {
                watcher.look(Instant::now(), self.child, self.note);
            }
            if reaped == Reaped::All {
                let due = [
                    self.stop.as_ref().map(Stop::due),
                    self.watcher.as_ref().and_then(Watcher::due),
                ];
                let next = due.into_iter().flatten().min();
                let at_most = next.map(|due| due.saturating_duration_since(Instant::now()));
                signals.wait(at_most, self.stop.is_none());
            }
        }
    }

    fn look_at_stop(&mut self, now: Instant) {
        let Some(stop) = self.stop.as_mut().filter(|stop| stop.due() <= now) else {
            return;
        };
        match stop.look(now, processes::is_deaf(self.child)) {
            Step::Wait => {}
            Step::TellChildren => processes::terminate_descendants(self.child),
            Step::Heard => self.stop = None,
            Step::Kill => {
                self.stop = None;
                self.was_deaf = true;
                self.send(Signal::SIGKILL);
            }
        }
    }

    fn send(&self, signal: Signal) {
        send(self.child, signal);
    }
}

/// Sends a signal. Until the program has been reaped, its number is nobody else's.
pub(crate) fn send(child: Pid, signal: Signal) {
    if kill(child, signal).is_err() {
        // It has ended, or is another user's now: nothing can be done about either.
    }
}

/// What became of processes that ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Reaped {
    /// The program ended. `None` where it did by a signal that has no name.
    Program(Option<u8>),
    /// All others that had ended.
    All,
    /// Many others; there may be more.
    Many,
}

/// Reaps what ended: the program, and where this is process 1, whatever lost its parent.
pub(crate) fn reap(child: Pid) -> Reaped {
    for _ in 0..REAP_AT_ONCE {
        match waitpid(child, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(_, code)) => return Reaped::Program(u8::try_from(code).ok()),
            Ok(WaitStatus::Signaled(_, signal, _)) => {
                return Reaped::Program(Some(of_signal(signal as i32)));
            }
            Ok(_) | Err(Errno::EINTR) => {}
            // The signal has no name; or it was reaped below, with such a signal.
            Err(_) => return Reaped::Program(None),
        }
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(pid, code)) if pid == child => {
                return Reaped::Program(u8::try_from(code).ok());
            }
            Ok(WaitStatus::Signaled(pid, signal, _)) if pid == child => {
                return Reaped::Program(Some(of_signal(signal as i32)));
            }
            Ok(WaitStatus::StillAlive) => return Reaped::All,
            Ok(_) | Err(_) => {}
        }
    }
    Reaped::Many
}

/// How shells tell that a signal ended a program.
fn of_signal(number: i32) -> u8 {
    u8::try_from(number.saturating_add(128)).unwrap_or(u8::MAX)
}

/// Watches the lease and ends the program when it runs out.
#[derive(Debug)]
pub(crate) struct Watcher {
    file: LeaseFile,
    clock: Clock,
    watch: Watch,
    next: Next,
    /// Whether the note has yet to say that the lease has run out.
    owes_note: bool,
}

/// What a watcher does next, and when.
#[derive(Debug)]
enum Next {
    Look(Instant),
    Kill(Instant),
    Nothing,
}

impl Watcher {
    /// The watcher of a job; `None` where it has no lease.
    fn of(root: &Path) -> Option<Self> {
        let file = LeaseFile::of(root);
        if !file.is_there() {
            return None;
        }
        let clock = Clock::of_kernel();
        let watch = Watch::new(clock.boot());
        Some(Self { file, clock, watch, next: Next::Look(Instant::now()), owes_note: false })
    }

    fn due(&self) -> Option<Instant> {
        match self.next {
            Next::Look(due) | Next::Kill(due) => Some(due),
            Next::Nothing => None,
        }
    }

    /// Does what is due.
    fn look(&mut self, now: Instant, child: Pid, note: &Note) {
        if self.due().is_none_or(|due| now < due) {
            return;
        }
        if let Next::Kill(_) = self.next {
            send(child, Signal::SIGKILL);
            self.next = Next::Nothing;
            self.note_end(note);
        } else if self.watch.look(self.clock.now(), self.file.read().as_ref()) {
            send(child, Signal::SIGTERM);
            say::error("this bot ends itself, for its worker has not been heard of for too long");
            self.next = Next::Kill(now + LOOK_EVERY);
            self.owes_note = true;
        } else {
            self.next = Next::Look(now + LOOK_EVERY);
        }
    }

    /// Notes that the lease has run out, once the program cannot live on: perhaps it has for the
    /// reason that the disk hangs, and then writing the note hangs as well.
    fn note_end(&mut self, note: &Note) {
        if std::mem::take(&mut self.owes_note) {
            note.add(&format!("{}\n", note::LEASE_EXPIRED));
        }
    }
}
