//! RabbitMQ as the message broker of a worker.

use std::time::Duration;

use async_trait::async_trait;
use backon::{ExponentialBuilder, Retryable};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::message_broker::{MessageBroker, MessageConsumer, OwnershipLock};
use super::publisher::{RawMessage, Until};
use super::{
    Broker, BrokerError, Consumer, Delivery, Flow, HeaderValue, Inbox, OutgoingMessage, Proof,
    PublishError, ReplyRules, SegmentLock, SettleError, Topology,
};
use crate::job::amqp::properties_of_copy;

/// How often a copy is tried while we still hold its delivery.
const COPY_ATTEMPTS: usize = 5;

#[async_trait]
impl MessageBroker for Broker {
    fn topology(&self) -> &Topology {
        Broker::topology(self)
    }

    fn reply_rules(&self) -> &ReplyRules {
        Broker::reply_rules(self)
    }

    fn consumer(
        &self,
        inbox: Inbox,
        flow: Flow,
        shutdown: CancellationToken,
    ) -> Box<dyn MessageConsumer> {
        Box::new(Broker::consumer(self, inbox, flow, shutdown))
    }

    async fn declare_mailbox(&self, segment: u32) -> Result<(), BrokerError> {
        Broker::declare_mailbox(self, segment).await
    }

    async fn is_mailbox_empty(&self, segment: u32) -> Result<bool, BrokerError> {
        let found = Broker::inspect(self, &[Inbox::Mailbox(segment)]).await?;
        Ok(found.iter().all(|mailbox| mailbox.messages == 0))
    }

    async fn try_lock(&self, segment: u32) -> Result<Option<Box<dyn OwnershipLock>>, BrokerError> {
        let lock = Broker::try_lock(self, segment).await?;
        Ok(lock.map(|lock| Box::new(lock) as Box<dyn OwnershipLock>))
    }

    async fn is_locked(&self, segment: u32) -> Result<bool, BrokerError> {
        Broker::is_locked(self, segment).await
    }

    async fn publish(&self, message: &OutgoingMessage) -> Result<(), PublishError> {
        Broker::publish(self, message).await
    }

    async fn publish_until(
        &self,
        message: &OutgoingMessage,
        until: Until,
        give_up: &CancellationToken,
    ) -> Result<(), PublishError> {
        Broker::publish_until(self, message, until, give_up).await
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
        // A delivery that was lost with its channel will come again, so a copy would be one too
        // many.
        (|| self.publish_raw(&copy))
            .retry(back_off)
            .when(|error| error.is_transient() && delivery.is_live())
            .notify(|error, _| warn!(%error, "could not copy a delivery; trying again"))
            .await
            .map_err(SettleError::Copy)?;
        Ok(delivery.ack().await?)
    }

    async fn close(&self) {
        Broker::close(self).await;
    }
}

#[async_trait]
impl MessageConsumer for Consumer {
    async fn next(&mut self) -> Option<Delivery> {
        Consumer::next(self).await
    }

    async fn pause(&mut self) {
        Consumer::pause(self).await;
    }

    async fn close(self: Box<Self>) {
        Consumer::close(*self).await;
    }
}

#[async_trait]
impl OwnershipLock for SegmentLock {
    async fn prove(&self, within: Duration) -> Proof {
        SegmentLock::prove(self, within).await
    }

    fn lost(&self) -> CancellationToken {
        SegmentLock::lost(self)
    }

    async fn release(self: Box<Self>) {
        SegmentLock::release(*self).await;
    }
}
