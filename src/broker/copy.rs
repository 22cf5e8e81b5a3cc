//! Settling a delivery by a copy: to a retry queue, to another inbox, or to the dead letters.
//!
//! The copy is confirmed before the delivery is acknowledged: a crash in between leaves two, never
//! none, and both carry the same message id.

use backon::{ExponentialBuilder, Retryable};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::publisher::{RawMessage, Until};
use super::{
    ATTEMPT_HEADER, Broker, Delivery, FIRST_TRY_HEADER, HeaderValue, Inbox, OutgoingMessage,
    PublishError, QUEUE_HEADER, REASON_HEADER, RetryStep, SettleError,
};
use crate::job::amqp::properties_of_copy;

/// How often a copy is tried while its delivery is still ours.
const COPY_ATTEMPTS: usize = 5;

/// Bytes of a reason that the header takes.
const MAX_REASON: usize = 1024;

impl Broker {
    /// Sends a delivery through a retry queue back to the inbox it came from, as `attempt`, with
    /// body, headers and properties as they are. For the step ask
    /// [`Topology::retry_step`](super::Topology::retry_step).
    ///
    /// # Errors
    /// See [`SettleError`].
    pub async fn retry(
        &self,
        delivery: &Delivery,
        step: &RetryStep,
        attempt: u32,
    ) -> Result<(), SettleError> {
        let headers = counted(attempt, delivery.properties.first_try);
        // Not the delivery's own key: one that was published straight to the queue has another,
        // which leads nowhere from the exchange of returns.
        let key = delivery.inbox.routing_key();
        self.copy_and_ack(delivery, &step.name, &key, &headers).await
    }

    /// Sends a delivery to another inbox, with body, headers and properties as they are. It goes by
    /// the workers' exchange, so that what it says of its attempts is believed there as it was here.
    ///
    /// # Errors
    /// See [`SettleError`].
    pub async fn redirect(&self, delivery: &Delivery, to: Inbox) -> Result<(), SettleError> {
        let exchange = self.topology().workers_exchange();
        let headers = counted(delivery.properties.attempt, delivery.properties.first_try);
        self.copy_and_ack(delivery, &exchange, &to.routing_key(), &headers).await
    }

    /// Sends a message whose delivery has been acknowledged long ago through a retry queue to
    /// `inbox`, as `attempt`, with tries in a row counted from the attempt `first_try`. Waits for
    /// a broker that is away, until `give_up`.
    ///
    /// # Errors
    /// See [`PublishError`].
    pub async fn retry_message(
        &self,
        mut message: OutgoingMessage,
        inbox: Inbox,
        step: &RetryStep,
        (attempt, first_try): (u32, u32),
        give_up: &CancellationToken,
    ) -> Result<(), PublishError> {
        message.exchange.clone_from(&step.name);
        message.routing_key = inbox.routing_key();
        for (header, number) in [(ATTEMPT_HEADER, attempt), (FIRST_TRY_HEADER, first_try)] {
            message.headers.insert(header.to_owned(), HeaderValue::Number(number.into()));
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
    pub async fn dead_letter_message(
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

    /// Puts a delivery among the dead letters, with the reason in a header, and body and
    /// properties as they are. One whose body was too large to be read goes there without a reason:
    /// only the broker has the body.
    ///
    /// # Errors
    /// See [`SettleError`].
    pub async fn dead_letter(&self, delivery: &Delivery, reason: &str) -> Result<(), SettleError> {
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

    async fn copy_and_ack(
        &self,
        delivery: &Delivery,
        exchange: &str,
        routing_key: &str,
        headers: &[(&str, HeaderValue)],
    ) -> Result<(), SettleError> {
        let properties = properties_of_copy(&delivery.original, headers);
        let body = &delivery.body;
        let copy = RawMessage { exchange, routing_key, properties, body, mandatory: true };
        let back_off = ExponentialBuilder::new().with_max_times(COPY_ATTEMPTS - 1).with_jitter();
        if !delivery.is_live() {
            return Err(delivery.not_acknowledged("its channel is closed").into());
        }
        // A delivery that has gone with its channel will come again: a copy would be one too many.
        (|| self.publish_raw(&copy))
            .retry(back_off)
            .when(|error| error.is_transient() && delivery.is_live())
            .notify(|error, _| warn!(%error, "could not copy a delivery; trying again"))
            .await
            .map_err(SettleError::Copy)?;
        Ok(delivery.ack().await?)
    }
}

/// What a copy says of its attempts.
fn counted(attempt: u32, first_try: u32) -> [(&'static str, HeaderValue); 2] {
    [(ATTEMPT_HEADER, attempt), (FIRST_TRY_HEADER, first_try)]
        .map(|(header, number)| (header, HeaderValue::Number(number.into())))
}

/// The first `max` bytes of `text`, or a little less where that would cut a character.
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
