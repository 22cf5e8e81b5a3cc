//! The gate before the intake: a worker that cannot work takes no work.
//!
//! Our own failure closes it. It opens again when store and engine answer, so that an outage costs
//! the jobs that it met an attempt, and those that come after it none: they wait in the broker.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;

use crate::runner::ContainerOrchestrator;
use crate::storage::ObjectStore;

/// Between two looks while it is closed.
const LOOK: Duration = Duration::from_secs(1);

/// The gate.
pub(super) struct Gate {
    store: Arc<dyn ObjectStore>,
    engine: Arc<dyn ContainerOrchestrator>,
    is_open: watch::Sender<bool>,
}

impl Gate {
    /// An open gate.
    pub(super) fn new(store: Arc<dyn ObjectStore>, engine: Arc<dyn ContainerOrchestrator>) -> Self {
        Self { store, engine, is_open: watch::Sender::new(true) }
    }

    /// Closes the gate until store and engine answer.
    pub(super) fn close(&self) {
        self.is_open.send_replace(false);
    }

    /// Waits until it is open.
    pub(super) async fn pass(&self) {
        while !*self.is_open.borrow() {
            match self.missing().await {
                None => {
                    self.is_open.send_replace(true);
                }
                Some(reason) => {
                    tracing::warn!(reason, "taking no jobs for now");
                    sleep(LOOK).await;
                }
            }
        }
    }

    async fn missing(&self) -> Option<String> {
        let (store, engine) = tokio::join!(self.store.check(), self.engine.check());
        let store = store.err().map(|error| error.to_string());
        store.or_else(|| engine.err().map(|error| error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runner::recorder::{Recorder, Script};
    use crate::storage::DirectoryStore;

    #[tokio::test(start_paused = true)]
    async fn it_is_closed_until_the_store_answers() {
        let root = tempfile::tempdir().unwrap();
        let away = root.path().join("away");
        let store = Arc::new(DirectoryStore::new(&away));
        let gate = Gate::new(store.clone(), Arc::new(Recorder::new(Script::default())));
        gate.pass().await;
        gate.close();
        let passed = tokio::time::timeout(LOOK * 5, gate.pass()).await;
        assert!(passed.is_err(), "it opened without a store");
        store.ensure_buckets().await.unwrap();
        gate.pass().await;
    }
}
