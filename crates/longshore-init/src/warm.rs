//! A container that is started before there is a job for it: the launcher is loaded, and waits.
//!
//! Two pipes of the worker's lie in the own folder, until the job comes. Its word by the one, the `bell`, is the
//! word that will end the outputs. While there is no job, its closing means that the worker has died. By the
//! other one, `done`, the worker hears the exit code. Both are opened before there is any program of a stranger's,
//! and removed then; this process lets nobody look at its open files. So no program can read the one or write to
//! the other.
//!
//! What says that the job has come is the file `go`, the last that the worker writes: it stays.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::fcntl::OFlag;
use nix::sys::prctl::{set_child_subreaper, set_dumpable};
use nix::sys::signal::Signal;
use nix::unistd::{Pid, pipe2};

use crate::environment::Kind;
use crate::note;
use crate::signals::Signals;
use crate::supervise::{Job, Reaped, begin, reap, run_to_its_end, send};
use crate::{OWN_FOLDER, exit, processes, program, say};

/// The pipe by which the worker hands the job over.
pub const BELL: &str = "bell";

/// The pipe by which the worker hears the exit code.
pub const DONE: &str = "done";

/// The file whose being there says that the job has come.
pub const GO: &str = "go";

/// The file with the job's variables, each ended by a NUL byte.
pub const ENVIRONMENT: &str = "environment";

/// The number of the open file from which the launcher reads the job's environment.
const LAUNCHERS_FILE: i32 = 3;

/// The longest word that ends the outputs, in bytes.
const MAX_WORD_BYTES: usize = 128;

/// How long the worker may take to find out that this process runs.
const FIRST_WORD: Duration = Duration::from_mins(1);

/// How long killed processes may take to be gone.
const LAST_PROCESSES: Duration = Duration::from_secs(2);

/// Waits for a job and runs it; gives the exit code of this process.
#[must_use]
pub fn supervise(mut job: Job, signals: &Signals) -> u8 {
    // First of all: before this nobody else is here who could look. What loses its parent becomes a child of this
    // process, so that none is forgotten at the end.
    let hidden = set_dumpable(false).and_then(|()| set_child_subreaper(true));
    let prepared = hidden.map_err(io::Error::from).and_then(|()| Pipes::open(&job.root));
    let (pipes, (read, write)) =
        match prepared.and_then(|pipes| Ok((pipes, pipe2(OFlag::O_CLOEXEC)?))) {
            Ok(prepared) => prepared,
            Err(error) => {
                say::error(&format!("this container cannot wait for a job: {error}"));
                return exit::SYSTEM;
            }
        };
    let Some((program, arguments)) = job.program.split_first() else {
        return exit::USAGE;
    };
    let (environment, mask) =
        (job.environment.of_waiting(LAUNCHERS_FILE), signals.mask_of_program());
    let file = Some((&read, LAUNCHERS_FILE));
    let child = match program::start_with(program, arguments, environment, mask, file) {
        Ok(child) => child,
        Err(not_started) => {
            say::error(&not_started.sentence);
            return not_started.code;
        }
    };
    drop(read);
    match pipes.wait(&job.root, child, signals) {
        Come::Job(word) => {
            let text = fs::read(own(&job.root, ENVIRONMENT)).unwrap_or_default();
            job.environment = job.environment.with_job(&text);
            run(&job, child, write, signals, (pipes.done, word))
        }
        Come::Nothing => {
            send(child, Signal::SIGKILL);
            exit::TERMINATED
        }
    }
}

/// Runs the job that has come.
fn run(
    job: &Job,
    child: Pid,
    to_launcher: OwnedFd,
    signals: &Signals,
    end: (File, Option<String>),
) -> u8 {
    let control_group = Path::new(note::CONTROL_GROUP);
    let before = note::before(control_group);
    let (note, kind) = match begin(job) {
        Ok(begun) => begun,
        Err(code) => return code,
    };
    if hand_over(job, kind, to_launcher).is_err() {
        // It has ended, which is found out below.
    }
    let code = run_to_its_end(job, kind, child, (&note, None), signals);
    note.add(&format!("{}{}\n", note::figures(control_group, &before), note::ENDED));
    if let (mut done, Some(word)) = end
        && processes::kill_descendants(LAST_PROCESSES)
        && say::end(&word)
    {
        // A worker that has died is told nothing; the next one asks the engine.
        writeln!(done, "{code}").ok();
    }
    code
}

/// Gives the launcher its environment.
fn hand_over(job: &Job, kind: Kind, to_launcher: OwnedFd) -> io::Result<()> {
    let variables = job.environment.of_program(kind)?;
    let text: Vec<u8> =
        variables.iter().flat_map(|line| line.to_bytes_with_nul()).copied().collect();
    File::from(to_launcher).write_all(&text)
}

fn own(root: &Path, name: &str) -> PathBuf {
    root.join(OWN_FOLDER).join(name)
}

/// How the waiting ended.
enum Come {
    /// A job has come; with the word that ends the outputs, if anybody waits for that.
    Job(Option<String>),
    /// None will.
    Nothing,
}

/// The pipes of the worker's.
struct Pipes {
    bell: File,
    done: File,
}

impl Pipes {
    /// Opens both, the bell last: once it is open, both are.
    fn open(root: &Path) -> io::Result<Self> {
        let flags = (OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits();
        let done = OpenOptions::new().write(true).custom_flags(flags).open(own(root, DONE))?;
        let bell = OpenOptions::new().read(true).custom_flags(flags).open(own(root, BELL))?;
        Ok(Self { bell, done })
    }

    /// Waits for a job.
    fn wait(&self, root: &Path, child: Pid, signals: &Signals) -> Come {
        let begun = Instant::now();
        let mut was_there = false;
        loop {
            match self.look() {
                Looked::Nobody if was_there || begun.elapsed() > FIRST_WORD => {
                    // The worker has died; perhaps just when the job had come.
                    return if own(root, GO).exists() { Come::Job(None) } else { Come::Nothing };
                }
                Looked::Nobody => {}
                Looked::Silence => was_there = true,
                Looked::Word(word) => return Come::Job(Some(word)),
            }
            if signals.is_asked() || reap(child) != Reaped::All {
                return Come::Nothing;
            }
            // Without a writer from the first moment on, nothing tells when there is one.
            let at_most = (!was_there).then_some(Duration::from_secs(1));
            was_there |= signals.wait_also_for(Some(self.bell.as_fd()), at_most, true);
            while signals.next_to_pass_on().is_some() {}
            let _is_reaped_above = signals.child_ended(child);
        }
    }

    fn look(&self) -> Looked {
        let mut word = [0; MAX_WORD_BYTES];
        match (&self.bell).read(&mut word) {
            Ok(0) => Looked::Nobody,
            Ok(length) => Looked::Word(String::from_utf8_lossy(&word[..length]).trim().to_owned()),
            Err(_) => Looked::Silence,
        }
    }
}

/// What is in the bell.
enum Looked {
    /// The worker does not have it open.
    Nobody,
    /// Nothing yet.
    Silence,
    /// The word.
    Word(String),
}
