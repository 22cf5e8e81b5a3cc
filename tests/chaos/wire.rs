//! The client's side of the broker: publishes until it is confirmed, and keeps every event.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::StreamExt as _;
use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, ConfirmSelectOptions,
};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Confirmation, Connection, ConnectionProperties};
use serde_json::Value;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use longshore_testing::events::Seen;

/// How long one step may take before the connection is made anew.
const STEP_TIMEOUT: Duration = Duration::from_secs(5);

/// The pause before another try.
const PAUSE: Duration = Duration::from_millis(300);

/// Seconds since 1970, as AMQP counts them.
pub(crate) fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs()
}

/// A connection and a channel, made anew after a failure.
pub(crate) struct Publisher {
    url: String,
    exchange: String,
    open: Option<(Connection, Channel)>,
}

impl Publisher {
    pub(crate) fn new(url: String, namespace: &str) -> Self {
        Self { url, exchange: format!("{namespace}.jobs"), open: None }
    }

    /// Publishes a message until the broker has confirmed it: perhaps twice, under one id.
    pub(crate) async fn publish(&mut self, key: &str, message: &Value, id: &str, at: u64) {
        let properties = BasicProperties::default()
            .with_content_type("application/json".into())
            .with_delivery_mode(2)
            .with_message_id(id.into())
            .with_timestamp(at);
        let body = message.to_string();
        loop {
            let tried = timeout(STEP_TIMEOUT, self.try_once(key, body.as_bytes(), &properties));
            if matches!(tried.await, Ok(Ok(true))) {
                return;
            }
            self.open = None;
            sleep(PAUSE).await;
        }
    }

    async fn try_once(
        &mut self,
        key: &str,
        body: &[u8],
        properties: &BasicProperties,
    ) -> Result<bool, lapin::Error> {
        let channel = if let Some((_, channel)) = &self.open {
            channel
        } else {
            let properties = ConnectionProperties::default();
            let connection = Connection::connect(&self.url, properties).await?;
            let channel = connection.create_channel().await?;
            channel.confirm_select(ConfirmSelectOptions::default()).await?;
            &self.open.insert((connection, channel)).1
        };
        let options = BasicPublishOptions { mandatory: true, ..Default::default() };
        let (to, key) = (self.exchange.as_str().into(), key.into());
        let sent = channel.basic_publish(to, key, options, body, properties.clone()).await?;
        Ok(matches!(sent.await?, Confirmation::Ack(None)))
    }
}

/// Takes what comes into a queue until `done`, acknowledged when it has been kept; it may come
/// twice.
pub(crate) async fn collect(
    url: String,
    queue: String,
    keep: impl Fn(Seen),
    done: CancellationToken,
) {
    while !done.is_cancelled() {
        let consumed = done.run_until_cancelled(consume(&url, &queue, &keep)).await;
        if consumed.is_some() {
            sleep(PAUSE).await;
        }
    }
}

/// Takes what comes until the connection fails.
async fn consume(url: &str, queue: &str, keep: &impl Fn(Seen)) -> Result<(), lapin::Error> {
    let connection = Connection::connect(url, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    let (options, arguments) = (BasicConsumeOptions::default(), FieldTable::default());
    let mut consumer = channel.basic_consume(queue.into(), "".into(), options, arguments).await?;
    while let Some(delivery) = consumer.next().await {
        let delivery = delivery?;
        keep(Seen::of(&delivery));
        delivery.ack(BasicAckOptions::default()).await?;
    }
    Ok(())
}

/// The header that says why a message is dead, for a table.
pub(crate) fn reason(delivery: &Delivery) -> String {
    let headers = delivery.properties.headers().as_ref();
    let reason = headers.and_then(|headers| headers.inner().get("x-longshore-reason"));
    reason.and_then(|value| value.as_long_string()).map(ToString::to_string).unwrap_or_default()
}
