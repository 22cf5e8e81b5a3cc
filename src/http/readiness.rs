//! What a worker needs in order to work, checked at each request.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde::Serialize;
use tokio::sync::watch;

use super::check::Check;
use super::inboxes;
use crate::broker::Broker;
use crate::runner::ContainerOrchestrator;
use crate::storage::ObjectStore;

/// How long one check may take.
const CHECK_TIMEOUT: Duration = Duration::from_secs(2);

/// Knows a worker's readiness. A part that is not set up yet counts as missing.
#[derive(Clone, Default)]
pub struct Readiness {
    watched: Arc<Mutex<Watched>>,
}

#[derive(Clone, Default)]
struct Watched {
    broker: Option<Broker>,
    store: Option<Arc<dyn ObjectStore>>,
    engine: Option<Arc<dyn ContainerOrchestrator>>,
    segment: Option<watch::Receiver<Option<(u32, bool)>>>,
    unconfirmed: Option<watch::Receiver<usize>>,
}

/// Whether a worker can work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Whether every check passed.
    pub ready: bool,
    /// The checks.
    pub checks: Vec<Check>,
}

/// A worker that has no segment takes no jobs.
const NO_SEGMENT: &str =
    "has none yet; if as many workers run as MAX_SEGMENTS allows, it waits until one ends";

impl Readiness {
    fn set(&self, change: impl FnOnce(&mut Watched)) {
        change(&mut self.watched.lock());
    }

    /// The broker's connection.
    pub fn watch_broker(&self, broker: Broker) {
        self.set(|watched| watched.broker = Some(broker));
    }

    /// The object store.
    pub fn watch_store(&self, store: Arc<dyn ObjectStore>) {
        self.set(|watched| watched.store = Some(store));
    }

    /// The container engine.
    pub fn watch_engine(&self, engine: Arc<dyn ContainerOrchestrator>) {
        self.set(|watched| watched.engine = Some(engine));
    }

    /// The segment that new jobs go to, and whether it is held right now.
    pub fn watch_segment(&self, segment: watch::Receiver<Option<(u32, bool)>>) {
        self.set(|watched| watched.segment = Some(segment));
    }

    /// How many results wait for the broker's confirm.
    pub fn watch_unconfirmed(&self, unconfirmed: watch::Receiver<usize>) {
        self.set(|watched| watched.unconfirmed = Some(unconfirmed));
    }

    /// The broker, once it is set up.
    pub(super) fn broker(&self) -> Option<Broker> {
        self.watched.lock().broker.clone()
    }

    /// The object store, once it is set up.
    pub(super) fn store(&self) -> Option<Arc<dyn ObjectStore>> {
        self.watched.lock().store.clone()
    }

    /// The segment for new jobs, if there is one now.
    pub(super) fn home(&self) -> Option<u32> {
        let segment = self.watched.lock().segment.clone();
        segment.and_then(|segment| *segment.borrow()).map(|(number, _)| number)
    }

    /// Asks everything, at the same time and within bounds.
    pub async fn report(&self) -> Report {
        let watched = self.watched.lock().clone();
        let (store, engine) = tokio::join!(
            check(
                "store",
                watched.store.map(|store| async move {
                    store.check().await.map(|()| "answers".to_owned()).map_err(|e| e.to_string())
                })
            ),
            check(
                "engine",
                watched
                    .engine
                    .map(|engine| async move { engine.check().await.map_err(|e| e.to_string()) })
            ),
        );
        let home = watched.segment.and_then(|segment| *segment.borrow());
        let inboxes = match &watched.broker {
            Some(broker) => inboxes::check(broker, home.map(|(number, _)| number)),
            None => told("inboxes", false, "", "have no consumer yet"),
        };
        let broker = connection(watched.broker.as_ref());
        let segment = match home {
            Some((number, held)) => {
                let is = format!("holds segment {number}");
                told("segment", held, &is, &format!("has lost the lock of segment {number}"))
            }
            None => told("segment", false, "", NO_SEGMENT),
        };
        let waiting = watched.unconfirmed.map_or(0, |unconfirmed| *unconfirmed.borrow());
        // A subscriber that takes nothing is not this worker's fault.
        let results = told("results", true, &unconfirmed(waiting), "");
        let checks = vec![broker, store, engine, segment, inboxes, results];
        Report { ready: checks.iter().all(|check| check.ok), checks }
    }
}

/// The connection for work. It counts as present while the broker does not read from it: running
/// jobs go on, and their events wait.
fn connection(broker: Option<&Broker>) -> Check {
    let connected = broker.is_some_and(Broker::is_connected);
    let blocked = broker.and_then(Broker::blocked).filter(|_| connected);
    match blocked {
        Some(reason) => {
            let detail =
                format!("connected, but RabbitMQ takes no messages for now: it is {reason}");
            Check { name: "broker", ok: true, detail }
        }
        None => told("broker", connected, "connected", "not connected"),
    }
}

fn unconfirmed(results: usize) -> String {
    match results {
        0 => "all are confirmed".to_owned(),
        1 => "1 result waits for the broker's confirm".to_owned(),
        more => format!("{more} results wait for the broker's confirm"),
    }
}

fn told(name: &'static str, ok: bool, yes: &str, no: &str) -> Check {
    Check { name, ok, detail: if ok { yes } else { no }.to_owned() }
}

async fn check(
    name: &'static str,
    asked: Option<impl Future<Output = Result<String, String>>>,
) -> Check {
    let Some(asked) = asked else {
        return told(name, false, "", "is not set up yet");
    };
    match tokio::time::timeout(CHECK_TIMEOUT, asked).await {
        Ok(Ok(detail)) => Check { name, ok: true, detail },
        Ok(Err(detail)) => Check { name, ok: false, detail },
        Err(_) => told(name, false, "", "does not answer within 2 s"),
    }
}
