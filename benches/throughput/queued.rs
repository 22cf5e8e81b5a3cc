//! The same jobs through Longshore: from start messages on the broker to result events.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use longshore::broker::{Binding, Broker, Feed, MessageOptions, Subscription};
use longshore::job::{Executable, parse_executable};
use longshore::settings::BrokerSettings;
use tokio_util::sync::CancellationToken;

use crate::CONCURRENCY;
use longshore_testing::program::PYTHON_BACKTEST;
use longshore_testing::rabbit::Rabbit;
use longshore_testing::scene::Scene;
use longshore_testing::worker::Worker;

/// The job: as little as there can be.
pub(crate) const SOURCE: &str = "def main(id, config):\n    return {\"ok\": True}\n";

/// The longest that a round may take.
const PATIENCE: Duration = Duration::from_mins(5);

/// A worker and a client of its namespace.
pub(crate) struct Queued {
    worker: Worker,
    broker: Broker,
    results: Subscription,
    namespace: String,
    code: String,
}

impl Queued {
    /// Starts a worker with its default limits and log interval, and so many containers that wait for
    /// jobs, and subscribes to results.
    pub(crate) async fn new(scene: &Scene, warm: &str) -> Self {
        let concurrency = CONCURRENCY.to_string();
        let defaults = [
            ("BOT_MEMORY_LIMIT_MB", "512"),
            ("LOG_INTERVAL_SECONDS", "30"),
            ("LOG_LEVEL", "info"),
            ("MAX_TERMINATING", &concurrency),
            ("MAX_CONCURRENT_STARTS", "4"),
            ("WARM_CONTAINERS", warm),
        ];
        let worker = scene.worker_with(&defaults).await;
        let code = scene.put_code("trivial", &[(PYTHON_BACKTEST.script, SOURCE)]).await;
        let settings = BrokerSettings {
            namespace: scene.namespace.clone(),
            publish_channels: 4,
            confirm_timeout: Duration::from_secs(30),
            retry_delays: vec![Duration::from_secs(1)],
            ..Rabbit::new().settings
        };
        let shutdown = CancellationToken::new();
        let broker = Broker::connect(&settings, "throughput", &shutdown).unwrap();
        let results = broker.subscribe(vec![Binding::all(Feed::Results)], shutdown).await.unwrap();
        Self { worker, broker, results, namespace: scene.namespace.clone(), code }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.worker.pid().expect("the worker has ended")
    }

    pub(crate) fn into_worker(self) -> Worker {
        self.worker
    }

    /// Publishes so many start messages and waits for their results; gives the time from the first
    /// message to the last result.
    pub(crate) async fn run(&mut self, jobs: usize) -> Duration {
        let executables: Vec<_> = (0..jobs).map(|_| self.executable()).collect();
        let mut open: HashSet<_> = executables.iter().map(|one| one.id.to_string()).collect();
        let begun = Instant::now();
        for executable in &executables {
            let message_id = uuid::Uuid::new_v4().to_string();
            let options = MessageOptions { message_id, ..Default::default() };
            self.broker.publish_start(executable, &options).await.unwrap();
        }
        let all = async {
            while !open.is_empty() {
                let event = self.results.next().await.unwrap().unwrap();
                let key = event.routing_key();
                assert!(key.as_str().starts_with("succeeded."), "{event:#?}");
                open.remove(event.subject.as_deref().unwrap_or_default());
            }
        };
        tokio::time::timeout(PATIENCE, all).await.expect("results did not come");
        begun.elapsed()
    }

    fn executable(&self) -> Executable {
        let id = format!("{}-{}", self.namespace, uuid::Uuid::new_v4().simple());
        let message = PYTHON_BACKTEST.message(&id, &self.code).to_string();
        parse_executable(message.as_bytes()).unwrap()
    }
}
