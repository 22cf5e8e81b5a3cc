//! A second container engine on the machine, private to a test. The test may stop, kill and lose
//! it.
//!
//! It is a second `dockerd` with its own folders, socket, containerd, cgroup and network namespace,
//! so it needs root and Docker's daemon on this machine. It has no bridge, and the host network of
//! its containers is only a private loopback, so they reach nothing of this machine. A worker uses
//! it by [`SecondEngine::docker_host`].
//!
//! It runs without live-restore unless a test asks for it, like a freshly installed engine. Its
//! containers end when it is stopped. If it is killed, they end when it is started again. With
//! live-restore they run on in both cases, and their output waits in pipes.

mod daemon;
mod images;
mod memory;
mod remains;

use std::sync::{Arc, Weak};
use std::time::Duration;

use bollard::Docker;
use nix::sys::signal::Signal;
use tokio::time::{Instant, sleep, timeout};

use self::daemon::Daemon;
use self::images::Images;

/// How long the engine may take to answer.
const PATIENCE: Duration = Duration::from_mins(1);

/// How long one question may take while it boots.
const PING_TIMEOUT: Duration = Duration::from_secs(2);

static SHARED: tokio::sync::Mutex<Weak<SecondEngine>> = tokio::sync::Mutex::const_new(Weak::new());

/// A private `dockerd`. Dropping it ends it with all its containers, in any state, and removes its
/// files.
pub struct SecondEngine {
    docker: Docker,
    daemon: Daemon,
}

impl SecondEngine {
    /// Starts an engine with the images of both runtimes, as the machine's own has them.
    pub async fn start() -> Self {
        Self::start_with(false).await
    }

    /// The same with a choice about live-restore.
    pub async fn start_with(live_restore: bool) -> Self {
        remains::of_dead_tests();
        let images = Images::of_first_engine().await;
        let daemon = Daemon::new(live_restore);
        images.link(&daemon.data()).await;
        daemon.spawn();
        // A client cannot be made before there is a socket.
        let begun = Instant::now();
        let docker = loop {
            if let Ok(docker) = Docker::connect_with_host(&daemon.host()) {
                break docker;
            }
            daemon.may_take_until(begun + PATIENCE);
            sleep(Duration::from_millis(50)).await;
        };
        let mut engine = Self { docker, daemon };
        engine.answers().await;
        engine.docker = engine.docker.clone().negotiate_version().await.unwrap();
        if images.provide(&engine.docker).await {
            engine.stop().await;
            // It mounts its data on itself, and no link leads out of a mount.
            engine.daemon.remains().unmount();
            images.keep(&engine.daemon.data()).await;
            engine.boot().await;
        }
        engine
    }

    /// The engine for all tests of this process that do not stop it. It ends with the last of them.
    pub async fn shared() -> Arc<Self> {
        let mut shared = SHARED.lock().await;
        if let Some(engine) = shared.upgrade() {
            return engine;
        }
        let engine = Arc::new(Self::start().await);
        *shared = Arc::downgrade(&engine);
        engine
    }

    /// The `DOCKER_HOST` of a worker that uses it.
    pub fn docker_host(&self) -> String {
        self.daemon.host()
    }

    /// The name of its second OCI runtime.
    pub const RUNTIME: &str = daemon::RUNTIME;

    /// The calls of that runtime, one on each line.
    pub fn runtime_calls(&self) -> String {
        self.daemon.runtime_calls()
    }

    /// A client of it, also for after it was started again.
    pub fn docker(&self) -> &Docker {
        &self.docker
    }

    /// Every process of its containers, with the container's id, also while the daemon does not
    /// answer.
    pub fn processes(&self) -> Vec<(String, i32)> {
        self.daemon.remains().processes()
    }

    /// Stops it as a service manager does, with SIGTERM, and waits for its end.
    pub async fn stop(&self) {
        self.daemon.signal(Signal::SIGTERM);
        self.daemon.ended().await;
    }

    /// Kills only the daemon and its containerd. The containers run on.
    pub async fn kill(&self) {
        self.daemon.signal(Signal::SIGKILL);
        self.daemon.ended().await;
        self.daemon.remains().end_containerd();
    }

    /// Kills it and all its containers at once, like a host that loses power.
    pub async fn lose(&self) {
        self.daemon.signal(Signal::SIGKILL);
        self.daemon.ended().await;
        self.daemon.remains().end_processes();
    }

    /// Leaves its containers no more memory than they hold, all together, like a host that is short of
    /// it. The kernel ends one of them if any asks for more.
    pub fn squeeze_memory(&self) {
        memory::squeeze(&self.daemon.remains().cgroups());
    }

    /// Gives the memory back.
    pub fn release_memory(&self) {
        memory::release(&self.daemon.remains().cgroups());
    }

    /// Starts it again after one of these, and waits until it answers.
    pub async fn boot(&self) {
        self.daemon.remains().clear_sockets();
        self.daemon.spawn();
        self.answers().await;
    }

    async fn answers(&self) {
        let begun = Instant::now();
        while !matches!(timeout(PING_TIMEOUT, self.docker.ping()).await, Ok(Ok(_))) {
            self.daemon.may_take_until(begun + PATIENCE);
            sleep(Duration::from_millis(50)).await;
        }
    }
}
