//! Following events, for clients.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use lapin::Channel;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicQosOptions, QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use tokio_util::sync::CancellationToken;

use super::error::{describe, failed};
use super::message::short;
use super::{Broker, BrokerError};
use crate::job::{Event, JobId};

/// Events on their way to us at a time.
const PREFETCH: u16 = 100;

/// Events that the broker keeps for a reader that is slow; beyond, the oldest go.
const MAX_WAITING: i64 = 100_000;

/// Which events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Feed {
    /// Status events.
    Status,
    /// Result events.
    Results,
}

/// Events of a feed whose routing key matches a pattern: `*` is one word, `#` any number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binding {
    /// The feed.
    pub feed: Feed,
    /// The pattern, of `{state or verdict}.{entrypoint}.{id}`.
    pub pattern: String,
}

impl Binding {
    /// Every event of a feed.
    #[must_use]
    pub fn all(feed: Feed) -> Self {
        Self { feed, pattern: "#".to_owned() }
    }

    /// The events of one job.
    #[must_use]
    pub fn of_job(feed: Feed, id: &JobId) -> Self {
        Self { feed, pattern: format!("*.*.{id}") }
    }
}

/// Why a subscription gave no event.
#[derive(Debug, thiserror::Error)]
pub enum SubscriptionError {
    /// A message was not an event. The next one may be.
    #[error("a message with key {routing_key:?} is not an event: {reason}")]
    Undecodable {
        /// Its routing key.
        routing_key: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The connection was lost, and the subscription's queue with it. It is taken up again;
    /// events in between are missed.
    #[error("events may have been missed: {reason}")]
    Gap {
        /// What happened.
        reason: String,
    },
}

/// A stream of events, from a queue of its own that vanishes with it.
pub struct Subscription {
    broker: Broker,
    bindings: Arc<[Binding]>,
    shutdown: CancellationToken,
    /// `None` after the connection was lost.
    open: Option<(Channel, lapin::Consumer)>,
    pauses: Box<dyn Iterator<Item = Duration> + Send>,
}

impl Broker {
    /// Subscribes to events, until `shutdown`. When this returns, no event that is published
    /// later is missed. Waits for a connection; the topology must be there:
    /// see [`Broker::declare_topology`].
    ///
    /// # Errors
    /// When subscribing fails.
    pub async fn subscribe(
        &self,
        bindings: Vec<Binding>,
        shutdown: CancellationToken,
    ) -> Result<Subscription, BrokerError> {
        self.wait_connected().await?;
        let bindings: Arc<[Binding]> = bindings.into();
        let open = Some(self.to_its_end(open(self.clone(), Arc::clone(&bindings))).await?);
        let pauses = Box::new(self.back_off());
        Ok(Subscription { broker: self.clone(), bindings, shutdown, open, pauses })
    }
}

impl Subscription {
    /// The next event; `None` after the shutdown.
    pub async fn next(&mut self) -> Option<Result<Event, SubscriptionError>> {
        let shutdown = self.shutdown.clone();
        tokio::select! {
            biased;
            () = shutdown.cancelled() => None,
            item = self.next_item() => item,
        }
    }

    async fn next_item(&mut self) -> Option<Result<Event, SubscriptionError>> {
        loop {
            let Some((_, consumer)) = &mut self.open else {
                let pause = self.pauses.next();
                self.broker.pause(pause).await.ok()?;
                let opening = open(self.broker.clone(), Arc::clone(&self.bindings));
                match self.broker.to_its_end(opening).await {
                    Ok(opened) => self.open = Some(opened),
                    Err(error) => tracing::warn!(%error, "cannot subscribe again yet"),
                }
                continue;
            };
            let delivery = match consumer.next().await {
                Some(Ok(delivery)) => delivery,
                ended => {
                    self.open = None;
                    let reason = match ended {
                        Some(Err(error)) => describe(&error),
                        _ => "the broker ended the subscription".to_owned(),
                    };
                    return Some(Err(SubscriptionError::Gap { reason }));
                }
            };
            self.pauses = Box::new(self.broker.back_off());
            // The ack only makes room; where it fails, the stream's end says so next.
            drop(delivery.acker.ack(BasicAckOptions::default()).await);
            let event = serde_json::from_slice(&delivery.data);
            return Some(event.map_err(|error| SubscriptionError::Undecodable {
                routing_key: delivery.routing_key.to_string(),
                reason: error.to_string(),
            }));
        }
    }
}

async fn open(
    broker: Broker,
    bindings: Arc<[Binding]>,
) -> Result<(Channel, lapin::Consumer), BrokerError> {
    let action = "subscribing to events";
    let channel = broker.channel().await?;
    let options = QueueDeclareOptions { exclusive: true, auto_delete: true, ..Default::default() };
    let mut arguments = FieldTable::default();
    arguments.insert("x-max-length".into(), AMQPValue::LongLongInt(MAX_WAITING));
    let queue = channel.queue_declare("".into(), options, arguments).await;
    let queue: ShortString = queue.map_err(failed(action))?.name().clone();
    for binding in bindings.iter() {
        let exchange = match binding.feed {
            Feed::Status => broker.topology().status_exchange(),
            Feed::Results => broker.topology().results_exchange(),
        };
        let invalid = |reason| BrokerError::Failed { action: action.to_owned(), reason };
        let exchange = short("name of the exchange", &exchange).map_err(invalid)?;
        let pattern = short("pattern", &binding.pattern).map_err(invalid)?;
        let options = QueueBindOptions::default();
        channel
            .queue_bind(queue.clone(), exchange, pattern, options, FieldTable::default())
            .await
            .map_err(failed(action))?;
    }
    channel.basic_qos(PREFETCH, BasicQosOptions::default()).await.map_err(failed(action))?;
    let options = BasicConsumeOptions::default();
    let consumer = channel
        .basic_consume(queue, "".into(), options, FieldTable::default())
        .await
        .map_err(failed(action))?;
    Ok((channel, consumer))
}
