//! A job's directory on this machine, and a `longshore-init` that runs in it.

#![allow(dead_code, reason = "each of the test programs uses a part of it")]

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::fcntl::OFlag;
use nix::sys::signal::{Signal, kill, killpg};
use nix::sys::stat::Mode;
use nix::unistd::{Pid, mkfifo};

/// The longest that a test waits for anything; reaching it is a failure.
const PATIENCE: Duration = Duration::from_mins(1);

/// A job's directory.
pub(crate) struct Root(tempfile::TempDir);

impl Root {
    pub(crate) fn new() -> Self {
        let temp = tempfile::tempdir().unwrap();
        fs::create_dir(temp.path().join(".longshore")).unwrap();
        fs::write(temp.path().join(".longshore/exit-note"), "").unwrap();
        Self(temp)
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn note(&self) -> String {
        fs::read_to_string(self.path().join(".longshore/exit-note")).unwrap()
    }

    pub(crate) fn has_expired(&self) -> bool {
        self.note().lines().any(|line| line == "lease expired")
    }

    fn lease_path(&self) -> PathBuf {
        self.path().join(".longshore/lease")
    }

    /// Writes a lease that counts from when it is seen.
    pub(crate) fn lease(&self, stamp: &str, seconds: u64) {
        let text = format!("{stamp:<48} {seconds:<10}\n{:<12} {:<36} {stamp:<48}\n", "-", "-");
        fs::write(self.lease_path(), text).unwrap();
    }

    /// Makes it the directory of a container that waits for its job. Gives the worker's end of `done`.
    pub(crate) fn waits(&self) -> File {
        for name in ["bell", "done"] {
            mkfifo(&self.own(name), Mode::S_IRWXU).unwrap();
        }
        let mut done = File::options();
        done.read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(self.own("done")).unwrap()
    }

    /// Waits until it waits. Gives the worker's end of `bell`.
    pub(crate) fn bell(&self) -> File {
        let begun = Instant::now();
        loop {
            let mut bell = File::options();
            let bell = bell.write(true).custom_flags(OFlag::O_NONBLOCK.bits());
            match bell.open(self.own("bell")) {
                Ok(bell) => return bell,
                Err(error) => assert!(begun.elapsed() < PATIENCE, "{error}"),
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Puts a job there, up to the file that says so.
    pub(crate) fn put_job(&self, environment: &str) {
        fs::write(self.own("environment"), environment).unwrap();
        fs::write(self.own("go"), "").unwrap();
    }

    fn own(&self, name: &str) -> PathBuf {
        self.path().join(".longshore").join(name)
    }

    pub(crate) fn remove_lease(&self) {
        fs::remove_file(self.lease_path()).unwrap();
    }
}

/// It runs in a process group of its own.
pub(crate) struct Init {
    child: Child,
    output: Option<BufReader<ChildStdout>>,
    errors: PathBuf,
}

impl Init {
    /// Runs a script of the shell as the program.
    pub(crate) fn shell(root: &Root, script: &str) -> Self {
        Self::start(root, &["sh", "-c", script], &[])
    }

    pub(crate) fn start(root: &Root, program: &[&str], variables: &[(&str, &str)]) -> Self {
        let errors = root.path().join("errors");
        let mut command = command(root, program);
        command.envs(variables.iter().copied());
        command.stderr(File::create(&errors).unwrap());
        let mut child = command.spawn().unwrap();
        let output = child.stdout.take().map(BufReader::new);
        Self { child, output, errors }
    }

    /// Nobody reads what it prints.
    pub(crate) fn start_unread(root: &Root, program: &[&str]) -> Self {
        let child = command(root, program).stderr(Stdio::piped()).spawn().unwrap();
        Self { child, output: None, errors: PathBuf::new() }
    }

    fn id(&self) -> Pid {
        Pid::from_raw(self.child.id().try_into().unwrap())
    }

    pub(crate) fn send(&self, signal: Signal) {
        kill(self.id(), signal).unwrap();
    }

    /// Sends a signal to the program itself.
    pub(crate) fn send_program(&self, signal: Signal) {
        kill(child_of(self.id()), signal).unwrap();
    }

    /// Waits until the program has a child of its own.
    pub(crate) fn program_has_a_child(&self) {
        child_of(child_of(self.id()));
    }

    /// Reads a line of its output.
    pub(crate) fn reads(&mut self, expected: &str) {
        let mut line = String::new();
        self.output.as_mut().unwrap().read_line(&mut line).unwrap();
        assert_eq!(line, format!("{expected}\n"), "{}", self.errors());
    }

    /// The rest of its output, once it has ended.
    pub(crate) fn rest(&mut self) -> String {
        let mut text = String::new();
        self.output.as_mut().unwrap().read_to_string(&mut text).unwrap();
        text
    }

    pub(crate) fn errors(&self) -> String {
        fs::read_to_string(&self.errors).unwrap()
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    pub(crate) fn end(&mut self) -> ExitStatus {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(begun.elapsed() < PATIENCE, "it did not end");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Init {
    /// After a failure: nothing of it may stay.
    fn drop(&mut self) {
        killpg(self.id(), Signal::SIGKILL).ok();
        self.child.wait().ok();
    }
}

/// The child of a process, once it has one.
fn child_of(process: Pid) -> Pid {
    let begun = Instant::now();
    loop {
        let children = fs::read_to_string(format!("/proc/{process}/task/{process}/children"));
        if let Ok(child) = children.unwrap().trim().parse() {
            return Pid::from_raw(child);
        }
        assert!(begun.elapsed() < PATIENCE, "no child of {process}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn command(root: &Root, program: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_longshore-init"));
    command
        .arg(root.path())
        .args(program)
        .current_dir(root.path())
        .env("ENTRYPOINT_TYPE", "bot")
        .env("IS_LONG_RUNNING", "false")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .process_group(0);
    command
}
