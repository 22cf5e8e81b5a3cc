//! The answer to `/metrics`. It waits for no server: it has the last look at the queues, and begins
//! the next one.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use parking_lot::Mutex;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use tokio_util::task::TaskTracker;

use super::queues::{self, Queues};
use super::readiness::Readiness;
use crate::metrics::Metrics;

/// The least time between two looks at the queues, however often somebody asks.
const LOOK_PAUSE: Duration = Duration::from_secs(10);

/// How long the first answer waits for its look at the queues.
const FIRST_PATIENCE: Duration = Duration::from_secs(1);

/// Answers for many who ask.
#[derive(Clone)]
pub(super) struct Scrape {
    readiness: Readiness,
    metrics: Metrics,
    tasks: TaskTracker,
    queues: Arc<Mutex<Queues>>,
    looked_at: Arc<Mutex<Option<Instant>>>,
}

impl Scrape {
    /// Looks at the queues run on `tasks`.
    pub(super) fn of(readiness: Readiness, metrics: Metrics, tasks: TaskTracker) -> Self {
        Self { readiness, metrics, tasks, queues: Arc::default(), looked_at: Arc::default() }
    }

    /// The text.
    pub(super) async fn text(&self) -> String {
        if let Some((is_first, look)) = self.look()
            && is_first
        {
            // Later answers have what this one found.
            drop(timeout(FIRST_PATIENCE, look).await);
        }
        self.metrics.text_with(|gauges| {
            if let Some(broker) = self.readiness.broker() {
                gauges.connected("rabbitmq", broker.is_connected());
            }
            self.queues.lock().read(gauges, &self.metrics, Timestamp::now());
        })
    }

    /// Begins a look at the queues, if it is time for one. Says whether it is the first.
    fn look(&self) -> Option<(bool, JoinHandle<()>)> {
        let broker = self.readiness.broker()?;
        let mut looked_at = self.looked_at.lock();
        if looked_at.is_some_and(|at| at.elapsed() < LOOK_PAUSE) {
            return None;
        }
        let is_first = looked_at.replace(Instant::now()).is_none();
        let (home, queues) = (self.readiness.home(), Arc::clone(&self.queues));
        let look = async move {
            let now = Timestamp::now();
            if let Some(found) = queues::look(&broker, home).await {
                queues.lock().note(found, now);
            }
        };
        Some((is_first, self.tasks.spawn(look)))
    }
}
