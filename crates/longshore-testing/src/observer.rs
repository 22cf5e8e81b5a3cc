//! A publisher and a listener on a broker of a test's own, which may be away at times.

use std::time::Duration;

use lapin::options::{
    BasicAckOptions, BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions,
    ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{
    BasicProperties, Channel, Confirmation, Connection, ConnectionProperties, ExchangeKind,
};
use longshore::broker::REASON_HEADER;
use serde_json::Value;
use tokio::time::{Instant, sleep, timeout};

use super::events::{PATIENCE, Seen};

/// How long one attempt to connect may take while the broker boots.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a confirm may take before the same message is published again.
const CONFIRM_TIMEOUT: Duration = Duration::from_secs(10);

/// Publishes and listens. A durable queue keeps all events, so a restart of the broker loses none.
pub struct Observer {
    urls: Vec<String>,
    namespace: String,
    /// The type of the queue that keeps the events.
    queue_type: &'static str,
    seen: Vec<Seen>,
}

impl Observer {
    /// One for a broker with these hosts.
    pub fn new(urls: Vec<String>, namespace: &str) -> Self {
        let queue_type = if urls.len() > 1 { "quorum" } else { "classic" };
        Self { urls, namespace: namespace.to_owned(), queue_type, seen: Vec::new() }
    }

    /// The queue that keeps the events.
    pub fn queue(&self) -> String {
        format!("{}.observer", self.namespace)
    }

    /// Waits until the broker accepts a login.
    pub async fn is_there(&self) {
        drop(self.connect().await);
    }

    /// Waits until the broker accepts a login, and keeps all events from then on.
    pub async fn begin(&self) {
        let (_connection, channel) = self.connect().await;
        let durable = QueueDeclareOptions { durable: true, ..Default::default() };
        let queue = self.queue();
        let mut arguments = FieldTable::default();
        let queue_type = AMQPValue::LongString(self.queue_type.into());
        arguments.insert("x-queue-type".into(), queue_type);
        channel.queue_declare(queue.as_str().into(), durable, arguments).await.unwrap();
        for exchange in ["status", "results"] {
            let exchange = format!("{}.{exchange}", self.namespace);
            let durable = ExchangeDeclareOptions { durable: true, ..Default::default() };
            let (kind, name) = (ExchangeKind::Topic, exchange.as_str());
            let arguments = FieldTable::default();
            let declared =
                channel.exchange_declare(name.into(), kind, durable, arguments.clone()).await;
            declared.unwrap();
            let options = QueueBindOptions::default();
            let (queue, exchange) = (queue.as_str().into(), name.into());
            let bound = channel.queue_bind(queue, exchange, "#".into(), options, arguments).await;
            bound.unwrap();
        }
    }

    /// Publishes a message for the workers; a queue must take it. Without a confirm, the same
    /// message is published again, as a publisher should.
    pub async fn publish(&self, key: &str, message: &Value) {
        let (id, begun) = (uuid::Uuid::new_v4().to_string(), Instant::now());
        loop {
            let publishing = self.try_publish(key, message, &id);
            let problem = match timeout(CONFIRM_TIMEOUT, publishing).await {
                Ok(Ok(Confirmation::Ack(None))) => return,
                Ok(Ok(other)) => format!("{other:?}"),
                Ok(Err(error)) => error.to_string(),
                Err(_) => "no confirm".to_owned(),
            };
            assert!(begun.elapsed() < PATIENCE, "could not publish {key}: {problem}");
            sleep(Duration::from_millis(300)).await;
        }
    }

    async fn try_publish(
        &self,
        key: &str,
        message: &Value,
        id: &str,
    ) -> lapin::Result<Confirmation> {
        let (_connection, channel) = self.connect().await;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        let exchange = format!("{}.jobs", self.namespace);
        let options = BasicPublishOptions { mandatory: true, ..Default::default() };
        let properties =
            BasicProperties::default().with_delivery_mode(2).with_message_id(id.into());
        let body = message.to_string();
        let (to, key) = (exchange.as_str().into(), key.into());
        channel.basic_publish(to, key, options, body.as_bytes(), properties).await?.await
    }

    /// The dead letters, each with its reason.
    pub async fn dead_letters(&self) -> Vec<(String, String)> {
        let (_connection, channel) = self.connect().await;
        let (queue, options) =
            (format!("{}.dead", self.namespace), BasicGetOptions { no_ack: true });
        let mut found = Vec::new();
        while let Some(got) = channel.basic_get(queue.as_str().into(), options).await.unwrap() {
            let headers = got.delivery.properties.headers().clone().unwrap_or_default();
            let reason = headers.inner().get(REASON_HEADER).unwrap();
            let body = String::from_utf8_lossy(&got.delivery.data).into_owned();
            found.push((format!("{reason:?}"), body));
        }
        found
    }

    /// Every event so far. One that came again, because its confirm or our ack was lost, is listed
    /// again.
    pub async fn seen(&mut self) -> &[Seen] {
        let begun = Instant::now();
        while let Err(error) = self.collect().await {
            assert!(begun.elapsed() < PATIENCE, "could not read the events: {error}");
            sleep(Duration::from_millis(300)).await;
        }
        &self.seen
    }

    async fn collect(&mut self) -> lapin::Result<()> {
        let (_connection, channel) = self.connect().await;
        let (queue, options) = (self.queue(), BasicGetOptions::default());
        loop {
            let getting = channel.basic_get(queue.as_str().into(), options);
            // A node that dies in the middle of its answer.
            let Ok(got) = timeout(CONNECT_TIMEOUT, getting).await else { continue };
            let Some(got) = got? else { return Ok(()) };
            self.seen.push(Seen::of(&got.delivery));
            got.delivery.ack(BasicAckOptions::default()).await?;
        }
    }

    /// The first matching event, seen or still to come.
    pub async fn wait_for(&mut self, what: &str, is_meant: impl Fn(&Seen) -> bool) -> Seen {
        let begun = Instant::now();
        loop {
            let seen = self.seen().await;
            if let Some(found) = seen.iter().find(|one| is_meant(one)) {
                return found.clone();
            }
            let keys: Vec<_> = seen.iter().map(|one| &one.routing_key).collect();
            assert!(begun.elapsed() < PATIENCE, "no {what}; seen: {keys:#?}");
            sleep(Duration::from_millis(300)).await;
        }
    }

    /// The result of a job.
    pub async fn result_of(&mut self, id: &str) -> Seen {
        let is_result = |seen: &Seen| seen.is_result() && seen.subject() == Some(id);
        self.wait_for(&format!("result of {id}"), is_result).await
    }

    /// A connection to the first host that accepts a login.
    async fn connect(&self) -> (Connection, Channel) {
        let begun = Instant::now();
        loop {
            for url in &self.urls {
                let connecting = Connection::connect(url, ConnectionProperties::default());
                if let Ok(Ok(connection)) = timeout(CONNECT_TIMEOUT, connecting).await
                    && let Ok(channel) = connection.create_channel().await
                {
                    return (connection, channel);
                }
            }
            assert!(begun.elapsed() < PATIENCE, "the test's own broker does not start");
            sleep(Duration::from_millis(300)).await;
        }
    }
}
