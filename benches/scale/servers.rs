//! The processor time of the two servers: of their own processes, whatever else runs on the machine.

use std::time::{Duration, Instant};

use longshore::storage::{ObjectStore as _, S3Store};
use longshore_testing::process::{Machine, Processes};
use longshore_testing::rabbit::Rabbit;
use longshore_testing::{engine, s3};

/// The servers are at rest when neither has used more CPU time than this during a look.
const REST: Duration = Duration::from_millis(60);
const LOOK: Duration = Duration::from_secs(2);

/// How long it may take until they are. Others may use them, too.
const REST_PATIENCE: Duration = Duration::from_secs(30);

/// How long the store may be slow. After many deletions it was seen to be for half a minute.
const STORE_PATIENCE: Duration = Duration::from_secs(90);

/// An answer that took longer than this is told.
const SLOW: Duration = Duration::from_secs(2);

/// The processes of broker and store.
pub(crate) struct Servers {
    broker: Processes,
    store: Processes,
    /// What the engine puts between their published ports and their containers.
    ports: Processes,
    /// This program: it publishes, reads every event, and is the engines.
    own: Processes,
}

/// CPU time of each part.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Used {
    pub(crate) broker: Duration,
    pub(crate) store: Duration,
    pub(crate) ports: Duration,
    pub(crate) own: Duration,
    pub(crate) machine: Duration,
}

impl Servers {
    pub(crate) async fn find() -> Self {
        let docker = longshore_testing::servers::engine().await;
        let (broker, store) = (Rabbit::new().addr().await.port(), s3::addr().await.port());
        let behind = async |name: &str, port: u16| {
            let pids = engine::behind_port(&docker, port).await;
            assert!(!pids.is_empty(), "no container publishes the port {port} of the {name}");
            Processes::of(pids)
        };
        Self {
            broker: behind("broker", broker).await,
            store: behind("store", store).await,
            ports: Processes::publishing(&[broker, store]),
            own: Processes::of(vec![std::process::id()]),
        }
    }

    /// So far.
    pub(crate) fn used(&self) -> Used {
        Used {
            broker: self.broker.cpu(),
            store: self.store.cpu(),
            ports: self.ports.cpu(),
            own: self.own.cpu(),
            machine: Machine::now().all,
        }
    }

    /// Waits while the servers are busy with what is left of the last fleet: the store removes empty folders some time
    /// after the last object in them, and may answer nobody meanwhile.
    pub(crate) async fn settle(&self) {
        let store = S3Store::new(&s3::settings()).unwrap();
        let begun = Instant::now();
        loop {
            let (before, asked) = (self.used(), Instant::now());
            let answer = store.ensure_buckets().await;
            let is_quick = answer.is_ok() && asked.elapsed() <= SLOW;
            if !is_quick {
                eprintln!("the store took {:.1} s for an answer", asked.elapsed().as_secs_f64());
            }
            tokio::time::sleep(LOOK).await;
            let used = self.used().since(before);
            let is_at_rest = used.broker.max(used.store) <= REST;
            let has_waited = begun.elapsed();
            let may_go = is_quick && (is_at_rest || has_waited > REST_PATIENCE);
            if may_go || has_waited > STORE_PATIENCE {
                return;
            }
        }
    }

    /// The broker's resident memory, in KiB.
    pub(crate) fn broker_kib(&self) -> u64 {
        self.broker.rss_kib()
    }
}

impl Used {
    pub(crate) fn since(self, before: Self) -> Self {
        Self {
            broker: self.broker.saturating_sub(before.broker),
            store: self.store.saturating_sub(before.store),
            ports: self.ports.saturating_sub(before.ports),
            own: self.own.saturating_sub(before.own),
            machine: self.machine.saturating_sub(before.machine),
        }
    }
}
