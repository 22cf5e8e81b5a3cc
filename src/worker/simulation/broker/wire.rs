//! The connections of one worker to the broker: one for work, one for locks. Each end notices by itself when the
//! other one is gone.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::server::Server;
use crate::worker::simulation::process::Process;
use crate::worker::simulation::world::World;

/// How long the broker may take to answer one request, as for RabbitMQ.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::worker::simulation) enum Purpose {
    Work,
    Locks,
}

impl Purpose {
    /// Between two heartbeats, in milliseconds; two that are missed end a connection.
    fn heartbeat(self) -> u64 {
        match self {
            Self::Work => 10_000,
            Self::Locks => 3_000,
        }
    }
}

/// A connection, as the worker has it.
#[derive(Clone)]
pub(super) struct Live {
    pub(super) connection: u64,
    pub(super) gone: CancellationToken,
    /// Whether nothing gets through, although nobody has noticed.
    is_stalled: Arc<AtomicBool>,
}

/// Why a request failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Broken {
    NotConnected,
    Lost,
    NoAnswer,
}

impl Broken {
    pub(super) fn shown(self) -> String {
        let said = match self {
            Self::NotConnected => "not connected",
            Self::Lost => "the connection was lost",
            Self::NoAnswer => "no answer in time",
        };
        said.to_owned()
    }
}

/// Both connections of a worker.
pub(in crate::worker::simulation) struct Wires {
    pub(super) world: Arc<World>,
    pub(super) process: Arc<Process>,
    pub(super) server: Arc<Server>,
    work: Mutex<Option<Live>>,
    locks: Mutex<Option<Live>>,
    /// Whether new connections can be made.
    pub(in crate::worker::simulation) can_reach: Arc<AtomicBool>,
    changed: Notify,
}

impl Wires {
    pub(in crate::worker::simulation) fn new(
        world: &Arc<World>,
        process: &Arc<Process>,
        server: &Arc<Server>,
        can_reach: &Arc<AtomicBool>,
    ) -> Arc<Self> {
        let wires = Arc::new(Self {
            world: Arc::clone(world),
            process: Arc::clone(process),
            server: Arc::clone(server),
            work: Mutex::default(),
            locks: Mutex::default(),
            can_reach: Arc::clone(can_reach),
            changed: Notify::new(),
        });
        for purpose in [Purpose::Work, Purpose::Locks] {
            wires.connect_again(purpose);
        }
        wires
    }

    fn place(&self, purpose: Purpose) -> &Mutex<Option<Live>> {
        match purpose {
            Purpose::Work => &self.work,
            Purpose::Locks => &self.locks,
        }
    }

    pub(super) fn now(&self, purpose: Purpose) -> Option<Live> {
        self.place(purpose).lock().clone()
    }

    /// Waits until there is a connection for work that the broker reads.
    pub(super) async fn usable(&self) -> Live {
        loop {
            let (changed, told) = (self.changed.notified(), self.server.changed.notified());
            self.process.runs().await;
            if let Some(live) = self.now(Purpose::Work)
                && !self.server.contents().is_alarmed
            {
                return live;
            }
            tokio::select! { biased; () = changed => {}, () = told => {} }
        }
    }

    /// Asks the broker something over a connection: the way there, what it does, and the way back, on which the
    /// answer may be lost.
    pub(super) async fn ask<T>(
        &self,
        live: &Live,
        purpose: Purpose,
        within: Duration,
        effect: impl FnOnce(&Arc<Server>) -> T,
    ) -> Result<T, Broken> {
        let asked = async {
            self.process.runs().await;
            self.world.pause(1, 2).await;
            if live.is_stalled.load(Ordering::Relaxed) {
                std::future::pending::<()>().await;
            }
            while purpose == Purpose::Work && self.server.contents().is_alarmed {
                self.server.changed.notified().await;
            }
            self.process.runs().await;
            if !self.server.is_connected(live.connection) {
                std::future::pending::<()>().await;
            }
            self.server.asked.fetch_add(1, Ordering::Relaxed);
            let done = effect(&self.server);
            self.world.pause(1, 2).await;
            if live.is_stalled.load(Ordering::Relaxed) {
                std::future::pending::<()>().await;
            }
            self.process.runs().await;
            done
        };
        tokio::select! {
            biased;
            () = live.gone.cancelled() => Err(Broken::Lost),
            answered = timeout(within.min(ANSWER_TIMEOUT), asked) => answered.map_err(|_| Broken::NoAnswer),
        }
    }

    /// Ends the worker's end of a connection; another one is made.
    pub(super) fn replace(self: &Arc<Self>, purpose: Purpose) {
        let lost = self.place(purpose).lock().take();
        if let Some(live) = lost {
            self.world.note(&self.process.name, || format!("has no connection for {purpose:?}"));
            live.gone.cancel();
            self.connect_again(purpose);
        }
    }

    fn connect_again(self: &Arc<Self>, purpose: Purpose) {
        let wires = Arc::clone(self);
        self.world.tasks.spawn(async move {
            let mut pause = 100;
            loop {
                wires.world.pause(pause, pause * 2).await;
                wires.process.runs().await;
                if wires.can_reach.load(Ordering::Relaxed) {
                    break;
                }
                pause = (pause * 2).min(2_500);
            }
            let connection = wires.server.connect();
            let live =
                Live { connection, gone: CancellationToken::new(), is_stalled: Arc::default() };
            *wires.place(purpose).lock() = Some(live);
            wires.world.note(&wires.process.name, || format!("is connected for {purpose:?}"));
            wires.changed.notify_waiters();
        });
    }

    /// A connection breaks, and both ends notice at once.
    pub(in crate::worker::simulation) fn cut(self: &Arc<Self>, purpose: Purpose) {
        if let Some(live) = self.now(purpose) {
            self.server.disconnect(live.connection);
            self.replace(purpose);
        }
    }

    /// Nothing gets through a connection any more. Each end notices after two heartbeats at most.
    pub(in crate::worker::simulation) fn stall(self: &Arc<Self>, purpose: Purpose) {
        let Some(live) = self.now(purpose) else { return };
        live.is_stalled.store(true, Ordering::Relaxed);
        let heartbeat = purpose.heartbeat();
        let notice = || self.world.millis(heartbeat, heartbeat * 2);
        let (here, there) = (notice(), notice());
        let (server, connection) = (Arc::clone(&self.server), live.connection);
        self.world.tasks.spawn(async move {
            sleep(there).await;
            server.disconnect(connection);
        });
        let wires = Arc::clone(self);
        self.world.tasks.spawn(async move {
            sleep(here).await;
            wires.process.runs().await;
            let is_same = |now: &Live| now.connection == connection;
            if wires.now(purpose).as_ref().is_some_and(is_same) {
                wires.replace(purpose);
            }
        });
    }

    /// The process is gone: the kernel says so to the broker.
    pub(in crate::worker::simulation) fn end(self: &Arc<Self>) {
        for purpose in [Purpose::Work, Purpose::Locks] {
            if let Some(live) = self.now(purpose) {
                self.server.disconnect(live.connection);
            }
        }
    }

    /// The broker misses the heartbeats of a process that is frozen.
    pub(in crate::worker::simulation) fn miss(self: &Arc<Self>) {
        for purpose in [Purpose::Work, Purpose::Locks] {
            self.stall(purpose);
        }
    }
}
