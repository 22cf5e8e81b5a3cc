//! One delivery: what came, and how to be rid of it.

use bytes::Bytes;
use lapin::BasicProperties;
use lapin::message::Delivery as RawDelivery;

use super::bounded::RequestError;
use super::channel::Receipt;
use super::error::NotAcknowledged;
use super::{Inbox, MessageProperties};
use crate::job::amqp::{BODY, Sender};

/// A message that the broker waits to hear about.
///
/// One that is dropped without a word stays with the broker as unsettled until its channel closes,
/// and is then delivered again.
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
    receipt: Receipt,
}

impl Delivery {
    pub(super) fn new(
        raw: RawDelivery,
        inbox: Inbox,
        queue: String,
        receipt: Receipt,
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

    /// The queue that it came from.
    #[must_use]
    pub fn inbox(&self) -> Inbox {
        self.inbox
    }

    /// Tells the broker that the message is taken care of.
    ///
    /// # Errors
    /// [`NotAcknowledged`]: expect the message again.
    pub async fn ack(&self) -> Result<(), NotAcknowledged> {
        self.outcome(self.receipt.ack().await)
    }

    /// Gives the message back to its queue, to be delivered at once, to whomever. The broker
    /// counts it; for a pause, or a count of ours, see [`Broker::retry`](super::Broker::retry).
    ///
    /// # Errors
    /// [`NotAcknowledged`], which comes to the same.
    pub async fn requeue(&self) -> Result<(), NotAcknowledged> {
        self.outcome(self.receipt.requeue().await)
    }

    /// Gives the message to the broker's own dead-lettering.
    pub(super) async fn discard(&self) -> Result<(), NotAcknowledged> {
        self.outcome(self.receipt.discard().await)
    }

    /// What tells this message from others that have the same id or none: its body. Where that was left out
    /// for its size, what else there is: its size, and what the publisher said beside it.
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

    /// Whether the body here is the one that was published, and not left out for its size.
    pub(super) fn has_its_body(&self) -> bool {
        self.properties.unreadable.iter().all(|fault| fault.property != BODY)
    }

    /// Whether it can still be settled.
    pub(super) fn is_live(&self) -> bool {
        self.receipt.is_live()
    }

    pub(super) fn not_acknowledged(&self, reason: &str) -> NotAcknowledged {
        NotAcknowledged { queue: self.queue.clone(), reason: reason.to_owned() }
    }

    /// lapin's `false` is no error of its own, yet the broker has heard nothing.
    fn outcome(&self, result: Result<bool, RequestError>) -> Result<(), NotAcknowledged> {
        match result {
            Ok(true) => Ok(()),
            Ok(false) => Err(self.not_acknowledged("its channel is closed")),
            Err(error) => Err(self.not_acknowledged(&error.to_string())),
        }
    }
}
