//! What a worker asks of a message broker. There are two: RabbitMQ, and the simulation's, in
//! memory.

use std::time::Duration;

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

use super::client::order;
use super::consumer::Flow;
use super::lock::Proof;
use super::publisher::Until;
use super::{
    ATTEMPT_HEADER, BrokerError, Delivery, FIRST_TRY_HEADER, HeaderValue, Inbox, MessageOptions,
    OutgoingMessage, PublishError, QUEUE_HEADER, REASON_HEADER, ReplyRules, RetryStep, SettleError,
    Topology,
};
use crate::job::StopRequest;

/// How many bytes of a reason go into the header.
const MAX_REASON: usize = 1024;

/// Takes deliveries of one inbox.
#[async_trait]
pub trait MessageConsumer: Send {
    /// The next delivery; `None` after the shutdown of the consumer or of the broker.
    ///
    /// With [`Flow::OnDemand`], call it only with a free slot. It can be dropped at any await
    /// without losing a delivery.
    async fn next(&mut self) -> Option<Delivery>;

    /// Ends the subscription until the next call of [`next`](Self::next), and gives back deliveries
    /// that have arrived and were not returned. A worker that cannot take them must not keep them.
    async fn pause(&mut self);

    /// Ends the subscription, and gives back deliveries that have arrived and were not returned.
    /// Returned deliveries can still be settled.
    async fn close(self: Box<Self>);
}

/// A segment's lock that is ours, as long as the connection for locks lives.
#[async_trait]
pub trait OwnershipLock: Send + Sync {
    /// Asks the broker whether the segment is still ours, over the connection that holds it.
    async fn prove(&self, within: Duration) -> Proof;

    /// Cancelled when the segment is no longer ours, because the connection is lost.
    fn lost(&self) -> CancellationToken;

    /// Releases the segment, so it is free at once.
    async fn release(self: Box<Self>);
}

/// A message broker, as a worker needs it.
#[async_trait]
pub trait MessageBroker: Send + Sync {
    /// The names on the broker.
    fn topology(&self) -> &Topology;

    /// Which queues a result may be sent to.
    fn reply_rules(&self) -> &ReplyRules;

    /// A consumer of `inbox`, until `shutdown`. Subscribes at the first [`MessageConsumer::next`].
    fn consumer(
        &self,
        inbox: Inbox,
        flow: Flow,
        shutdown: CancellationToken,
    ) -> Box<dyn MessageConsumer>;

    /// Declares the mailbox of a segment.
    ///
    /// # Errors
    /// [`BrokerError::Mismatch`] if a queue of that name has other arguments; other errors.
    async fn declare_mailbox(&self, segment: u32) -> Result<(), BrokerError>;

    /// Whether no message waits in the mailbox of a segment; one that does not exist is empty.
    ///
    /// # Errors
    /// When there is no connection, or the broker failed otherwise: then nothing is known.
    async fn is_mailbox_empty(&self, segment: u32) -> Result<bool, BrokerError>;

    /// Claims a segment; `None` if it has an owner already, in this process or elsewhere.
    ///
    /// # Errors
    /// When there is no connection, or the broker failed otherwise.
    async fn try_lock(&self, segment: u32) -> Result<Option<Box<dyn OwnershipLock>>, BrokerError>;

    /// Whether a segment has an owner; we count, too.
    ///
    /// # Errors
    /// When there is no connection, or the broker failed otherwise: then nothing is known.
    async fn is_locked(&self, segment: u32) -> Result<bool, BrokerError>;

    /// Publishes once, over the connection of the moment.
    ///
    /// # Errors
    /// Only `Ok` means that the broker has the message. See [`PublishError`] for the rest.
    async fn publish(&self, message: &OutgoingMessage) -> Result<(), PublishError>;

    /// Publishes with a back-off until the broker's answer is enough, or `give_up` is cancelled.
    ///
    /// # Errors
    /// Errors that time does not fix, errors that [`Until`] accepts, and
    /// [`PublishError::Cancelled`].
    async fn publish_until(
        &self,
        message: &OutgoingMessage,
        until: Until,
        give_up: &CancellationToken,
    ) -> Result<(), PublishError>;

    /// Publishes a delivery again, with unchanged body, headers and properties and these headers of
    /// ours. Acknowledges it when the copy is confirmed: a crash in between leaves two messages,
    /// never none.
    ///
    /// # Errors
    /// See [`SettleError`].
    async fn copy_and_ack(
        &self,
        delivery: &Delivery,
        exchange: &str,
        routing_key: &str,
        headers: &[(&str, HeaderValue)],
    ) -> Result<(), SettleError>;

    /// Ends the connections, and waits for a bounded time until they are closed.
    async fn close(&self);

    /// Sends a delivery through a retry queue back to its inbox, as `attempt`, with unchanged body,
    /// headers and properties. For the step ask [`Topology::retry_step`].
    ///
    /// # Errors
    /// See [`SettleError`].
    async fn retry(
        &self,
        delivery: &Delivery,
        step: &RetryStep,
        attempt: u32,
    ) -> Result<(), SettleError> {
        let headers = counted(attempt, delivery.properties.first_try);
        // Not the delivery's own key: a message that was published directly to the queue has
        // another key, which leads nowhere from the exchange of returns.
        let key = delivery.inbox().routing_key();
        self.copy_and_ack(delivery, &step.name, &key, &headers).await
    }

    /// Sends a delivery to another inbox, with unchanged body, headers and properties. It uses the
    /// workers' exchange, so the receiver trusts its attempt numbers.
    ///
    /// # Errors
    /// See [`SettleError`].
    async fn redirect(&self, delivery: &Delivery, to: Inbox) -> Result<(), SettleError> {
        let exchange = self.topology().workers_exchange();
        let headers = counted(delivery.properties.attempt, delivery.properties.first_try);
        self.copy_and_ack(delivery, &exchange, &to.routing_key(), &headers).await
    }

    /// Puts a delivery among the dead letters, with the reason in a header, and with unchanged body
    /// and properties. If its body was too large to be read, it goes there without a reason,
    /// because only the broker has the body.
    ///
    /// # Errors
    /// See [`SettleError`].
    async fn dead_letter(&self, delivery: &Delivery, reason: &str) -> Result<(), SettleError> {
        if !delivery.has_its_body() {
            return Ok(delivery.discard().await?);
        }
        let [attempt, first_try] =
            counted(delivery.properties.attempt, delivery.properties.first_try);
        let headers = [
            (REASON_HEADER, HeaderValue::Text(shorten(reason, MAX_REASON).to_owned())),
            (QUEUE_HEADER, HeaderValue::Text(delivery.queue.clone())),
            attempt,
            first_try,
        ];
        self.copy_and_ack(delivery, &self.topology().dead(), &delivery.routing_key, &headers).await
    }

    /// Sends a message whose delivery has been acknowledged long ago through a retry queue to
    /// `inbox`, as an attempt, with tries in a row counted from a first one. While the broker is
    /// away, it waits until `give_up`.
    ///
    /// # Errors
    /// See [`PublishError`].
    async fn retry_message(
        &self,
        mut message: OutgoingMessage,
        inbox: Inbox,
        step: &RetryStep,
        (attempt, first_try): (u32, u32),
        give_up: &CancellationToken,
    ) -> Result<(), PublishError> {
        message.exchange.clone_from(&step.name);
        message.routing_key = inbox.routing_key();
        for (header, number) in counted(attempt, first_try) {
            message.headers.insert(header.to_owned(), number);
        }
        message.persistent = true;
        message.mandatory = true;
        self.publish_until(&message, Until::Confirmed, give_up).await
    }

    /// Puts a message whose delivery has been acknowledged long ago among the dead letters. Waits
    /// for a broker that is away, until `give_up`.
    ///
    /// # Errors
    /// See [`PublishError`].
    async fn dead_letter_message(
        &self,
        mut message: OutgoingMessage,
        inbox: Inbox,
        reason: &str,
        give_up: &CancellationToken,
    ) -> Result<(), PublishError> {
        message.exchange = self.topology().dead();
        message.routing_key = inbox.routing_key();
        let headers = [
            (REASON_HEADER, shorten(reason, MAX_REASON).to_owned()),
            (QUEUE_HEADER, self.topology().inbox(inbox)),
        ];
        for (name, text) in headers {
            message.headers.insert(name.to_owned(), HeaderValue::Text(text));
        }
        self.publish_until(&message, Until::Confirmed, give_up).await
    }

    /// Forwards a stop message to the mailbox of a segment, once. Only workers may.
    ///
    /// # Errors
    /// [`PublishError::Unroutable`] when the segment has never had an owner.
    async fn forward_stop(
        &self,
        segment: u32,
        stop: &StopRequest,
        options: &MessageOptions,
    ) -> Result<(), PublishError> {
        let exchange = self.topology().workers_exchange();
        self.publish(&order(exchange, Inbox::Mailbox(segment), stop, options)?).await
    }
}

/// The attempt numbers of a copy.
fn counted(attempt: u32, first_try: u32) -> [(&'static str, HeaderValue); 2] {
    [(ATTEMPT_HEADER, attempt), (FIRST_TRY_HEADER, first_try)]
        .map(|(header, number)| (header, HeaderValue::Number(number.into())))
}

/// The first `max` bytes of `text`, or a little less if that would split a character.
fn shorten(text: &str, max: usize) -> &str {
    &text[..text.floor_char_boundary(max)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_cut_between_characters() {
        assert_eq!(shorten("abc", 10), "abc");
        assert_eq!(shorten("aäb", 2), "a");
        assert_eq!(shorten("aäb", 3), "aä");
    }
}
