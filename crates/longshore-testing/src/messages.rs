//! Publishes messages in a scene, and reads the dead letters.

use std::time::Duration;

use lapin::message::Delivery;
use lapin::options::{BasicGetOptions, BasicPublishOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Confirmation};
use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::events::{PATIENCE, Seen};
use super::scene::Scene;
use super::servers::Management;

/// A message among the dead letters.
#[derive(Debug, Clone)]
pub struct DeadLetter {
    /// Why it is there.
    pub reason: String,
    /// From which queue it came.
    pub queue: String,
    pub message_id: Option<String>,
    pub body: Vec<u8>,
}

impl Scene {
    /// Publishes a start message as a good client does.
    pub async fn start(&self, message: &Value) {
        let id = uuid::Uuid::new_v4().to_string();
        let properties = BasicProperties::default()
            .with_content_type("application/json".into())
            .with_delivery_mode(2)
            .with_message_id(id.into());
        self.start_with(message, properties).await;
    }

    /// Publishes a start message with properties of the test's choice.
    pub async fn start_with(&self, message: &Value, properties: BasicProperties) {
        let long = message["is_long_running"] == true;
        let key = if long { "start.long-running" } else { "start.terminating" };
        self.publish(key, message.to_string().as_bytes(), properties).await;
    }

    /// Starts a job with a config that is published as it is written, and waits for its result.
    pub async fn run_with_config(&self, message: &Value, config: &str) -> Seen {
        let mut message = message.clone();
        message["config"] = "HERE".into();
        let body = message.to_string().replace("\"HERE\"", config);
        let properties = BasicProperties::default()
            .with_delivery_mode(2)
            .with_message_id(uuid::Uuid::new_v4().to_string().into());
        self.publish("start.terminating", body.as_bytes(), properties).await;
        self.events.result_of(message["id"].as_str().unwrap()).await
    }

    /// Publishes a stop message.
    pub async fn stop(&self, message: &Value) {
        self.publish("stop", message.to_string().as_bytes(), BasicProperties::default()).await;
    }

    /// Publishes any body. A queue must take it.
    pub async fn publish(&self, key: &str, body: &[u8], properties: BasicProperties) {
        let exchange = format!("{}.jobs", self.namespace);
        let options = BasicPublishOptions { mandatory: true, ..Default::default() };
        let published = self
            .channel
            .basic_publish(exchange.as_str().into(), key.into(), options, body, properties)
            .await;
        let confirmed = published.unwrap().await.unwrap();
        assert!(matches!(confirmed, Confirmation::Ack(None)), "{key}: {confirmed:?}");
    }

    /// Starts a job and waits for its result.
    pub async fn run(&self, message: &Value) -> Seen {
        self.start(message).await;
        self.events.result_of(message["id"].as_str().unwrap()).await
    }

    /// The durable queues of this scene that have messages, and how many. When a worker has ended,
    /// messages that it did not acknowledge are back in their queue.
    pub async fn waiting_messages(&self) -> Vec<(String, u32)> {
        let mut waiting = Vec::new();
        let queues = Management::new().names("queues", &format!("{}.", self.namespace)).await;
        for name in queues.unwrap() {
            // Locks end with their worker, but the management interface may report them a little
            // longer.
            if name.ends_with(".lock") {
                continue;
            }
            let passive = QueueDeclareOptions { passive: true, ..Default::default() };
            let arguments = FieldTable::default();
            let queue = self.channel.queue_declare(name.as_str().into(), passive, arguments).await;
            match queue.unwrap().message_count() {
                0 => {}
                count => waiting.push((name, count)),
            }
        }
        waiting
    }

    /// Takes `count` dead letters, which may still be on their way.
    pub async fn dead_letters(&self, count: usize) -> Vec<DeadLetter> {
        let queue = format!("{}.dead", self.namespace);
        let begun = Instant::now();
        let mut found = Vec::new();
        while found.len() < count && begun.elapsed() < PATIENCE {
            let options = BasicGetOptions { no_ack: true };
            match self.channel.basic_get(queue.as_str().into(), options).await.unwrap() {
                Some(message) => found.push(dead_letter(&message.delivery)),
                None => sleep(Duration::from_millis(50)).await,
            }
        }
        assert_eq!(found.len(), count, "dead letters: {found:#?}");
        found
    }
}

fn dead_letter(delivery: &Delivery) -> DeadLetter {
    let header = |name: &str| {
        let headers = delivery.properties.headers().as_ref()?;
        headers.inner().get(name)?.as_long_string().map(ToString::to_string)
    };
    DeadLetter {
        reason: header("x-longshore-reason").unwrap_or_default(),
        queue: header("x-longshore-queue").unwrap_or_default(),
        message_id: delivery.properties.message_id().as_ref().map(ToString::to_string),
        body: delivery.data.clone(),
    }
}
