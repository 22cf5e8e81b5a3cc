//! One delivery: its content, and how to settle it.

use async_trait::async_trait;
use bytes::Bytes;
use lapin::BasicProperties;
use lapin::message::Delivery as RawDelivery;

use super::channel::Receipt;
use super::error::NotAcknowledged;
#[cfg(test)]
use super::{HeaderValue, OutgoingMessage};
use super::{Inbox, MessageProperties};
use crate::job::amqp::{BODY, Sender};

/// How a delivery is settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Settlement {
    /// It is acknowledged.
    Ack,
    /// It goes back to its queue.
    Requeue,
    /// It is left to the broker's own dead-lettering.
    Discard,
}

/// The way to settle a delivery. There are two: over a channel of RabbitMQ, and with the broker in
/// memory.
#[async_trait]
pub(crate) trait Settle: Send + Sync {
    /// Settles the delivery, or says why the broker has heard nothing.
    async fn settle(&self, settlement: Settlement) -> Result<(), String>;

    /// Whether it can still be settled.
    fn is_live(&self) -> bool;
}

#[async_trait]
impl Settle for Receipt {
    async fn settle(&self, settlement: Settlement) -> Result<(), String> {
        let told = match settlement {
            Settlement::Ack => self.ack().await,
            Settlement::Requeue => self.requeue().await,
            Settlement::Discard => self.discard().await,
        };
        match told {
            Ok(true) => Ok(()),
            // lapin reports no error, but the broker has heard nothing.
            Ok(false) => Err("its channel is closed".to_owned()),
            Err(error) => Err(error.to_string()),
        }
    }

    fn is_live(&self) -> bool {
        Self::is_live(self)
    }
}

/// A message that is not settled yet.
///
/// If it is dropped without being settled, it stays unsettled on the broker until its channel
/// closes, and is then delivered again.
#[must_use = "an unsettled delivery is delivered again only when its channel closes"]
pub struct Delivery {
    /// The body, as it came.
    pub body: Bytes,
    /// The routing key, as it came.
    pub routing_key: String,
    /// Whether it may have been delivered before.
    pub redelivered: bool,
    /// Who sent it.
    pub sender: Sender,
    /// What the message says about itself.
    pub properties: MessageProperties,
    pub(super) inbox: Inbox,
    pub(super) queue: String,
    pub(super) original: BasicProperties,
    receipt: Box<dyn Settle>,
}

impl Delivery {
    pub(super) fn new(
        raw: RawDelivery,
        inbox: Inbox,
        queue: String,
        receipt: Box<dyn Settle>,
        sender: Sender,
    ) -> Self {
        Self {
            body: raw.data.into(),
            routing_key: raw.routing_key.to_string(),
            redelivered: raw.redelivered,
            properties: MessageProperties::read(&raw.properties, sender),
            sender,
            inbox,
            queue,
            original: raw.properties,
            receipt,
        }
    }

    /// Whether nobody can have had it before: it has not been tried, and the broker has not delivered it.
    #[must_use]
    pub fn is_first(&self) -> bool {
        !self.redelivered && self.properties.attempt == 1
    }

    /// A delivery of a message that no channel of RabbitMQ brought, from an inbox and its queue.
    #[cfg(test)]
    pub(crate) fn in_memory(
        message: &OutgoingMessage,
        redelivered: bool,
        (inbox, queue): (Inbox, String),
        sender: Sender,
        receipt: Box<dyn Settle>,
    ) -> Self {
        let original = crate::job::amqp::properties_of(message).unwrap_or_default();
        Self {
            body: message.body.clone(),
            routing_key: message.routing_key.clone(),
            redelivered,
            properties: MessageProperties::read(&original, sender),
            sender,
            inbox,
            queue,
            original,
            receipt,
        }
    }

    /// A copy of it with these headers of ours, to be published by way of `exchange`.
    #[cfg(test)]
    pub(crate) fn copy_in_memory(
        &self,
        exchange: &str,
        routing_key: &str,
        headers: &[(&str, HeaderValue)],
    ) -> OutgoingMessage {
        let mut copy = OutgoingMessage::json(self.body.clone());
        copy.exchange = exchange.to_owned();
        copy.routing_key = routing_key.to_owned();
        copy.message_id.clone_from(&self.properties.message_id);
        copy.timestamp = self.properties.timestamp;
        let ours = headers.iter().map(|(name, value)| ((*name).to_owned(), value.clone()));
        copy.headers = ours.collect();
        copy
    }

    /// The queue that it came from.
    #[must_use]
    pub fn inbox(&self) -> Inbox {
        self.inbox
    }

    /// Acknowledges the message.
    ///
    /// # Errors
    /// [`NotAcknowledged`]: expect the message again.
    pub async fn ack(&self) -> Result<(), NotAcknowledged> {
        self.settle(Settlement::Ack).await
    }

    /// Gives the message back to its queue, to be delivered again at once, to any worker. The
    /// broker counts this. For a pause, or our own count, see
    /// [`MessageBroker::retry`](super::MessageBroker::retry).
    ///
    /// # Errors
    /// [`NotAcknowledged`], which has the same effect.
    pub async fn requeue(&self) -> Result<(), NotAcknowledged> {
        self.settle(Settlement::Requeue).await
    }

    /// Gives the message to the broker's own dead-lettering.
    pub(super) async fn discard(&self) -> Result<(), NotAcknowledged> {
        self.settle(Settlement::Discard).await
    }

    /// What distinguishes this message from others with the same id or without one: its body; or,
    /// if the body was left out for its size, its size and its properties.
    #[must_use]
    pub fn content(&self) -> Bytes {
        if self.has_its_body() {
            return self.body.clone();
        }
        let MessageProperties { correlation_id, reply_to, timestamp, unreadable, .. } =
            &self.properties;
        let problems = unreadable.iter().map(|fault| fault.problem.as_str());
        let timestamp = timestamp.map(|time| time.to_string());
        let said = [correlation_id.as_deref(), reply_to.as_deref(), timestamp.as_deref()];
        let said = said.map(Option::unwrap_or_default);
        said.into_iter().chain(problems).collect::<Vec<_>>().join("\n").into()
    }

    /// Whether the body is the published one, and was not left out for its size.
    pub(super) fn has_its_body(&self) -> bool {
        self.properties.unreadable.iter().all(|fault| fault.property != BODY)
    }

    /// Whether it can still be settled.
    pub(crate) fn is_live(&self) -> bool {
        self.receipt.is_live()
    }

    pub(crate) fn not_acknowledged(&self, reason: &str) -> NotAcknowledged {
        NotAcknowledged { queue: self.queue.clone(), reason: reason.to_owned() }
    }

    async fn settle(&self, settlement: Settlement) -> Result<(), NotAcknowledged> {
        let told = self.receipt.settle(settlement).await;
        told.map_err(|reason| self.not_acknowledged(&reason))
    }
}
