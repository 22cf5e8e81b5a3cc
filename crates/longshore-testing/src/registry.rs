//! A private registry of images, on a free port of this machine.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

/// Searched on the PATH, where the set-up script puts it.
const BINARY: &str = "docker-registry";

pub struct Registry {
    /// Host and port, the first part of an image's name.
    pub address: String,
    directory: TempDir,
    process: Child,
}

impl Registry {
    pub async fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let address = {
            let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            free.local_addr().unwrap().to_string()
        };
        let root = directory.path().join("data");
        let config = directory.path().join("config.yml");
        let text = format!(
            "version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: {}\nhttp:\n  addr: {address}\n",
            root.display()
        );
        std::fs::write(&config, text).unwrap();
        let log = File::create(directory.path().join("access.log")).unwrap();
        let process = Command::new(BINARY)
            .arg("serve")
            .arg(&config)
            .stdout(log)
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| {
                panic!("{BINARY}: {error}; scripts/stack.sh registry-package provides it")
            });
        let registry = Self { address, directory, process };
        registry.answers().await;
        registry
    }

    async fn answers(&self) {
        for _ in 0..200 {
            if tokio::net::TcpStream::connect(&self.address).await.is_ok() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("the registry at {} does not answer", self.address);
    }

    /// How often a manifest was asked for by its tag.
    pub fn manifest_requests(&self, repository: &str, tag: &str) -> usize {
        let log = std::fs::read_to_string(self.directory.path().join("access.log")).unwrap();
        let path = format!(" /v2/{repository}/manifests/{tag} ");
        let asks = |line: &&str| line.contains("\"GET ") || line.contains("\"HEAD ");
        log.lines().filter(|line| line.contains(&path)).filter(asks).count()
    }

    /// Spoils the largest blob, which is the layer, without changing its size.
    pub fn spoil_layer(&self) {
        let blobs = self.directory.path().join("data/docker/registry/v2/blobs");
        let layer = files(&blobs).into_iter().max_by_key(|file| file.metadata().unwrap().len());
        let layer = layer.unwrap();
        let mut bytes = std::fs::read(&layer).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0xff;
        std::fs::write(&layer, bytes).unwrap();
    }

    pub fn pause(&self) {
        self.signal(Signal::SIGSTOP);
    }

    pub fn go_on(&self) {
        self.signal(Signal::SIGCONT);
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.process.id()).unwrap()), signal).unwrap();
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        if self.process.kill().and_then(|()| self.process.wait().map(drop)).is_err() {
            eprintln!("could not end the registry at {}", self.address);
        }
    }
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found
}
