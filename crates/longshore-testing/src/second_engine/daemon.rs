//! The process of a second engine, and its folder.

use std::fs::{File, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use super::remains::{FOLDER, Remains};

/// How long it may take to end its containers and itself.
const PATIENCE: Duration = Duration::from_mins(1);

/// The command that runs it in its own network namespace, without a way out. A daemon without a
/// bridge removes `docker0`, even if it belongs to another engine. Neither program forks, so the
/// process becomes `dockerd`.
const IN_ITS_NETWORK: &str = r#"ip link set lo up && exec dockerd "$@""#;

/// The folder of its data within its folder.
const DATA: &str = "data";

/// A second OCI runtime of this name: `runc` with a log of its calls.
pub(super) const RUNTIME: &str = "noted";
const RUNTIME_SCRIPT: &str = "noted-runc";
const RUNTIME_LOG: &str = "noted-runc.log";

/// Lines of its log that a failing test prints.
const SHOWN_LINES: usize = 5;

/// Before this version the engine's id is kept in a file that all engines of a machine share.
const ID_BELONGS_TO_ITS_DATA_SINCE: u32 = 23;

/// A `dockerd`, running or not. Dropping it ends it and its containers, and removes its folder.
pub(super) struct Daemon {
    folder: TempDir,
    child: Mutex<Option<Child>>,
    live_restore: bool,
}

impl Daemon {
    /// Not running yet.
    pub(super) fn new(live_restore: bool) -> Self {
        let prefix = format!("{FOLDER}{}-", std::process::id());
        let folder = tempfile::Builder::new().prefix(&prefix).tempdir().unwrap();
        give_identity(folder.path());
        write_runtime(folder.path());
        Self { folder, child: Mutex::new(None), live_restore }
    }

    /// The folder of its images and containers.
    pub(super) fn data(&self) -> PathBuf {
        self.folder.path().join(DATA)
    }

    /// Its URL.
    pub(super) fn host(&self) -> String {
        format!("unix://{}", self.folder.path().join("docker.sock").display())
    }

    pub(super) fn remains(&self) -> Remains<'_> {
        Remains::of(self.folder.path())
    }

    /// Starts the process with its own folders and sockets.
    pub(super) fn spawn(&self) {
        let path = |name: &str| self.folder.path().join(name);
        let log = File::options().create(true).append(true).open(path("dockerd.log")).unwrap();
        let mut command = Command::new("unshare");
        command.args(["--net", "sh", "-c", IN_ITS_NETWORK, "dockerd"]);
        for (option, name) in [
            ("--config-file", "daemon.json"),
            ("--data-root", DATA),
            ("--exec-root", "run"),
            ("--pidfile", "dockerd.pid"),
        ] {
            command.arg(option).arg(path(name));
        }
        command
            .args(["--host", &self.host()])
            .args(["--bridge=none", "--iptables=false", "--exec-opt=native.cgroupdriver=cgroupfs"])
            .arg(format!("--add-runtime={RUNTIME}={}", path(RUNTIME_SCRIPT).display()))
            .arg(format!("--cgroup-parent={}", self.remains().cgroup()))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            // A Ctrl-C at the terminal must reach only the test.
            .process_group(0);
        if self.live_restore {
            command.arg("--live-restore");
        }
        match command.spawn() {
            Ok(child) => *self.child.lock().unwrap() = Some(child),
            Err(error) => panic!("start dockerd by unshare, for a second engine: {error}"),
        }
    }

    /// The calls of its second OCI runtime, one on each line.
    pub(super) fn runtime_calls(&self) -> String {
        std::fs::read_to_string(self.folder.path().join(RUNTIME_LOG)).unwrap_or_default()
    }

    pub(super) fn signal(&self, signal: Signal) {
        if let Some(child) = self.child.lock().unwrap().as_ref() {
            kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), signal).unwrap();
        }
    }

    /// Waits for its end.
    pub(super) async fn ended(&self) {
        let begun = Instant::now();
        while !self.has_ended() {
            assert!(begun.elapsed() < PATIENCE, "the second engine does not end");
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Panics if it has ended, or has not answered in time.
    pub(super) fn may_take_until(&self, deadline: Instant) {
        let is_hopeful = !self.has_ended() && Instant::now() < deadline;
        assert!(is_hopeful, "the second engine does not start: {}", self.last_words());
    }

    fn has_ended(&self) -> bool {
        let mut child = self.child.lock().unwrap();
        let ended = child.as_mut().is_none_or(|child| child.try_wait().unwrap().is_some());
        if ended {
            *child = None;
        }
        ended
    }

    fn last_words(&self) -> String {
        let log = std::fs::read_to_string(self.folder.path().join("dockerd.log"));
        let log = log.unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(SHOWN_LINES)..].join("\n")
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let child = self.child.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(child) = child
            && let Err(error) = child.kill().and_then(|()| child.wait())
        {
            eprintln!("end the second engine: {error}");
        }
        self.remains().remove();
    }
}

fn write_runtime(folder: &Path) {
    let (script, log) = (folder.join(RUNTIME_SCRIPT), folder.join(RUNTIME_LOG));
    let text = format!("#!/bin/sh\necho \"$@\" >>{}\nexec runc \"$@\"\n", log.display());
    std::fs::write(&script, text).unwrap();
    std::fs::set_permissions(&script, Permissions::from_mode(0o755)).unwrap();
}

/// Gives the engine its own id. Old engines use the id in `/etc/docker/key.json`, and some newer
/// ones copy it from there, so two engines of a machine would have the same id.
fn give_identity(folder: &Path) {
    let data = folder.join(DATA);
    std::fs::create_dir(&data).unwrap();
    std::fs::write(data.join("engine-id"), uuid::Uuid::new_v4().to_string()).unwrap();
    let config = if major_version() < ID_BELONGS_TO_ITS_DATA_SINCE {
        json!({ "deprecated-key-path": folder.join("key.json") })
    } else {
        json!({})
    };
    std::fs::write(folder.join("daemon.json"), config.to_string()).unwrap();
}

/// From `Docker version 20.10.24+dfsg1, build 5d6db84`.
fn major_version() -> u32 {
    let output = Command::new("dockerd").arg("--version").output();
    let output = output.unwrap_or_else(|error| panic!("dockerd cannot be run: {error}"));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let version = text.split_whitespace().find_map(|word| word.split_once('.')?.0.parse().ok());
    version.unwrap_or_else(|| panic!("which version is {text:?}?"))
}
