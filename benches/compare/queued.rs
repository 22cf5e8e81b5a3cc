//! Through Longshore: from start messages on the broker to result events.

use std::collections::VecDeque;
use std::time::Duration;

use async_trait::async_trait;
use longshore::broker::{Binding, Broker, Feed, MessageOptions, Subscription};
use longshore::job::{Executable, parse_executable, parse_stop};
use longshore::settings::BrokerSettings;
use longshore::storage::Bucket;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::code::Code;
use crate::contender::Contender;
use longshore_testing::program::PYTHON_BACKTEST;
use longshore_testing::rabbit::Rabbit;
use longshore_testing::scene::Scene;
use longshore_testing::worker::Worker;

/// How a worker is set; everything else is the default.
#[derive(Clone, Copy)]
pub(crate) struct Kind {
    pub(crate) name: &'static str,
    /// Containers of each runtime that wait for jobs.
    pub(crate) warm: &'static str,
}

pub(crate) const COLD: Kind = Kind { name: "Longshore, cold", warm: "0" };
pub(crate) const WARM: Kind = Kind { name: "Longshore, warm", warm: "2" };

/// A worker and a client of its namespace.
pub(crate) struct Queued {
    kind: Kind,
    pub(crate) scene: Scene,
    worker: Worker,
    broker: Broker,
    pub(crate) results: Subscription,
    ready: VecDeque<Executable>,
    made: usize,
}

impl Queued {
    /// A worker for so many runs at a time.
    pub(crate) async fn new(kind: Kind, concurrency: usize) -> Self {
        Self::with(kind, concurrency, &[]).await
    }

    pub(crate) async fn with(kind: Kind, concurrency: usize, more: &[(&str, &str)]) -> Self {
        let scene = Scene::new().await;
        let concurrency = concurrency.to_string();
        // Those that tests have shorter, as they are by default.
        let mut settings = vec![
            ("BOT_MEMORY_LIMIT_MB", "512"),
            ("LOG_INTERVAL_SECONDS", "30"),
            ("LOG_LEVEL", "info"),
            ("MAX_TERMINATING", &concurrency),
            ("WARM_CONTAINERS", kind.warm),
        ];
        settings.extend(more);
        let worker = scene.worker_with(&settings).await;
        let settings = BrokerSettings {
            namespace: scene.namespace.clone(),
            publish_channels: 4,
            confirm_timeout: Duration::from_secs(30),
            retry_delays: vec![Duration::from_secs(1)],
            ..Rabbit::new().settings
        };
        let shutdown = CancellationToken::new();
        let broker = Broker::connect(&settings, "bench", &shutdown).unwrap();
        let results = broker.subscribe(vec![Binding::all(Feed::Results)], shutdown).await.unwrap();
        Self { kind, scene, worker, broker, results, ready: VecDeque::new(), made: 0 }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.worker.pid().expect("the worker has ended")
    }

    pub(crate) fn http(&self) -> std::net::SocketAddr {
        self.worker.http()
    }

    /// Puts a zip into the store.
    pub(crate) async fn upload(&mut self, zip: Vec<u8>) -> String {
        self.made += 1;
        let key = format!("{}/code-{}.zip", self.scene.namespace, self.made);
        self.scene.put_object(Bucket::Code, &key, zip).await;
        key
    }

    /// Publishes a start message.
    pub(crate) async fn publish(&self, message: &Value) {
        self.start(&parse_executable(message.to_string().as_bytes()).unwrap()).await;
    }

    async fn start(&self, executable: &Executable) {
        let message_id = uuid::Uuid::new_v4().to_string();
        let options = MessageOptions { message_id, ..Default::default() };
        self.broker.publish_start(executable, &options).await.unwrap();
    }

    /// Publishes a stop message.
    pub(crate) async fn publish_stop(&self, id: &str) {
        let stop = parse_stop(json!({ "id": id }).to_string().as_bytes()).unwrap();
        let message_id = uuid::Uuid::new_v4().to_string();
        let options = MessageOptions { message_id, ..Default::default() };
        self.broker.publish_stop(&stop, &options).await.unwrap();
    }

    /// An id that no other job has.
    pub(crate) fn id(&self) -> String {
        format!("{}-{}", self.scene.namespace, uuid::Uuid::new_v4().simple())
    }
}

#[async_trait(?Send)]
impl Contender for Queued {
    fn name(&self) -> &'static str {
        self.kind.name
    }

    async fn prepare(&mut self, code: &Code, jobs: usize, are_distinct: bool) {
        let mut key = self.upload(code.zip(0)).await;
        for job in 0..jobs {
            if are_distinct && job > 0 {
                key = self.upload(code.zip(job)).await;
            }
            let message = PYTHON_BACKTEST.message(&self.id(), &key).to_string();
            self.ready.push_back(parse_executable(message.as_bytes()).unwrap());
        }
    }

    async fn submit(&mut self) -> String {
        let executable = self.ready.pop_front().unwrap();
        self.start(&executable).await;
        executable.id.to_string()
    }

    async fn ended(&mut self) -> String {
        let event = self.results.next().await.unwrap().unwrap();
        let key = event.routing_key();
        assert!(key.as_str().starts_with("succeeded."), "{event:#?}");
        event.subject.unwrap_or_default()
    }

    fn processes(&self) -> Vec<u32> {
        vec![self.pid()]
    }

    async fn rest(&mut self) {
        self.scene.is_tidy().await;
    }

    async fn stop(self: Box<Self>) {
        self.scene.finish([self.worker]).await;
    }
}
