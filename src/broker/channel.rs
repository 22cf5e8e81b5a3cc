//! A channel on which every request has a bound, and the deliveries that come over it.

use std::time::Duration;

use futures_util::StreamExt;
use lapin::message::{BasicGetMessage, Delivery as RawDelivery};
use lapin::options::{
    BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicGetOptions, BasicNackOptions,
    BasicPublishOptions, BasicQosOptions, ConfirmSelectOptions, ExchangeDeclareOptions,
    QueueBindOptions, QueueDeclareOptions, QueueDeleteOptions, QueuePurgeOptions,
};
use lapin::types::{FieldTable, ShortString};
use lapin::{Acker, BasicProperties, Confirmation, ExchangeKind};
use tracing::debug;

use super::bounded::{ANSWER_TIMEOUT, RequestError, WRITE_TIMEOUT, within};
use super::link::Live;

/// A channel. Clones share it. Dropping the last one closes it, and its unsettled deliveries go
/// back to their queue.
///
/// A channel with a request that got no answer in time is closed at once. So the subscription or
/// delivery that the answer would have brought goes back to the broker.
#[derive(Clone)]
pub(super) struct Channel {
    raw: lapin::Channel,
    live: Live,
}

/// How a queue is declared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Declare {
    /// It outlives the broker.
    Durable,
    /// It belongs to the connection, and ends with it.
    Exclusive,
    /// As [`Declare::Exclusive`], and it ends with its last consumer.
    Passing,
    /// It is only inspected.
    Passive,
}

/// A queue, as the broker knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Queue {
    pub(super) name: ShortString,
    /// Messages that wait. Unsettled deliveries do not count.
    pub(super) messages: u32,
    pub(super) consumers: u32,
}

impl Channel {
    /// A new channel on a connection. A connection that does not even open a channel is replaced.
    pub(super) async fn open(live: &Live) -> Result<Self, RequestError> {
        let opened = within(live.gone(), ANSWER_TIMEOUT, live.connection().create_channel()).await;
        match opened {
            Ok(raw) => Ok(Self { raw, live: live.clone() }),
            Err(error) => Err(live.judge(error, "opening a channel")),
        }
    }

    /// Whether it can still be used.
    pub(super) fn is_open(&self) -> bool {
        !self.live.gone().is_cancelled() && self.raw.status().connected()
    }

    /// The connection that it belongs to.
    pub(super) fn live(&self) -> &Live {
        &self.live
    }

    /// Closes it, even with requests under way. A connection that does not even close a channel is
    /// replaced.
    pub(super) fn abandon(&self) {
        if !self.is_open() {
            return;
        }
        let (raw, live) = (self.raw.clone(), self.live.clone());
        self.live.spawn(async move {
            let closing = raw.close(200, "given up".into());
            if let Err(error) = within(live.gone(), ANSWER_TIMEOUT, closing).await {
                let error = live.judge(error, "closing a channel");
                debug!(%error, "could not close a channel");
            }
        });
    }

    async fn ask<T>(
        &self,
        limit: Duration,
        request: impl Future<Output = lapin::Result<T>>,
    ) -> Result<T, RequestError> {
        // Boxed, because otherwise every caller's future would contain the library's futures.
        let answer = within(self.live.gone(), limit, Box::pin(request)).await;
        answer.map_err(|error| {
            if !error.is_undecided() {
                return error;
            }
            self.abandon();
            if self.live.is_blocked() { RequestError::Blocked } else { error }
        })
    }

    pub(super) async fn declare_exchange(
        &self,
        name: ShortString,
        kind: ExchangeKind,
        arguments: FieldTable,
    ) -> Result<(), RequestError> {
        let options = ExchangeDeclareOptions { durable: true, ..Default::default() };
        let asked = self.raw.exchange_declare(name, kind, options, arguments);
        self.ask(ANSWER_TIMEOUT, asked).await
    }

    pub(super) async fn declare_queue(
        &self,
        name: ShortString,
        how: Declare,
        arguments: FieldTable,
    ) -> Result<Queue, RequestError> {
        let options = QueueDeclareOptions {
            passive: how == Declare::Passive,
            durable: how == Declare::Durable,
            exclusive: matches!(how, Declare::Exclusive | Declare::Passing),
            auto_delete: how == Declare::Passing,
            ..Default::default()
        };
        let asked = self.raw.queue_declare(name, options, arguments);
        let queue = self.ask(ANSWER_TIMEOUT, asked).await?;
        Ok(Queue {
            name: queue.name().clone(),
            messages: queue.message_count(),
            consumers: queue.consumer_count(),
        })
    }

    pub(super) async fn bind_queue(
        &self,
        queue: ShortString,
        exchange: ShortString,
        key: ShortString,
    ) -> Result<(), RequestError> {
        let options = QueueBindOptions::default();
        let asked = self.raw.queue_bind(queue, exchange, key, options, FieldTable::default());
        self.ask(ANSWER_TIMEOUT, asked).await
    }

    pub(super) async fn delete_queue(&self, name: ShortString) -> Result<(), RequestError> {
        let asked = self.raw.queue_delete(name, QueueDeleteOptions::default());
        self.ask(ANSWER_TIMEOUT, asked).await.map(drop)
    }

    /// Removes the messages that nobody holds. Returns how many.
    pub(super) async fn purge_queue(&self, name: ShortString) -> Result<u32, RequestError> {
        let asked = self.raw.queue_purge(name, QueuePurgeOptions::default());
        self.ask(ANSWER_TIMEOUT, asked).await
    }

    pub(super) async fn qos(&self, prefetch: u16) -> Result<(), RequestError> {
        let asked = self.raw.basic_qos(prefetch, BasicQosOptions::default());
        self.ask(ANSWER_TIMEOUT, asked).await
    }

    /// One message, if there is one.
    pub(super) async fn get(
        &self,
        queue: ShortString,
    ) -> Result<Option<BasicGetMessage>, RequestError> {
        let asked = self.raw.basic_get(queue, BasicGetOptions::default());
        self.ask(ANSWER_TIMEOUT, asked).await
    }

    pub(super) async fn consume(&self, queue: ShortString) -> Result<Incoming, RequestError> {
        let options = BasicConsumeOptions::default();
        let asked = self.raw.basic_consume(queue, "".into(), options, FieldTable::default());
        let raw = self.ask(ANSWER_TIMEOUT, asked).await?;
        Ok(Incoming { raw, channel: self.clone() })
    }

    /// Ends a subscription; with `nowait`, without waiting for the broker's answer.
    pub(super) async fn cancel(
        &self,
        incoming: &Incoming,
        nowait: bool,
    ) -> Result<(), RequestError> {
        let options = BasicCancelOptions { nowait };
        let asked = self.raw.basic_cancel(incoming.raw.tag(), options);
        self.ask(ANSWER_TIMEOUT, asked).await
    }

    pub(super) async fn select_confirms(&self) -> Result<(), RequestError> {
        let asked = self.raw.confirm_select(ConfirmSelectOptions::default());
        self.ask(ANSWER_TIMEOUT, asked).await
    }

    /// Publishes and waits for the confirm, `limit` at most.
    pub(super) async fn publish(
        &self,
        limit: Duration,
        (exchange, key): (ShortString, ShortString),
        mandatory: bool,
        (properties, body): (BasicProperties, &[u8]),
    ) -> Result<Confirmation, RequestError> {
        let options = BasicPublishOptions { mandatory, ..Default::default() };
        let published =
            async { self.raw.basic_publish(exchange, key, options, body, properties).await?.await };
        self.ask(limit, published).await
    }

    /// What is needed to settle a delivery that came over this channel.
    pub(super) fn receipt(&self, raw: &RawDelivery) -> Receipt {
        Receipt { acker: raw.acker.clone(), channel: self.clone() }
    }
}

/// The deliveries of a subscription.
pub(super) struct Incoming {
    raw: lapin::Consumer,
    channel: Channel,
}

impl Incoming {
    /// The next delivery, however long that takes; `None` once there will be no more.
    pub(super) async fn next(&mut self) -> Option<Result<RawDelivery, RequestError>> {
        tokio::select! {
            biased;
            next = self.raw.next() => next.map(|one| one.map_err(RequestError::Failed)),
            () = self.channel.live.gone().cancelled() => Some(Err(RequestError::Lost)),
        }
    }

    /// After a cancel, gives back deliveries that had arrived and were not taken.
    pub(super) async fn give_back(&mut self) {
        let giving = async {
            while let Some(Ok(raw)) = self.next().await {
                self.channel.receipt(&raw).requeue().await?;
            }
            Ok::<_, RequestError>(())
        };
        match tokio::time::timeout(ANSWER_TIMEOUT, giving).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => debug!(%error, "could not return a delivery"),
            Err(_) => self.channel.abandon(),
        }
    }
}

/// What is needed to settle a delivery. It keeps the channel open, also if the consumer ends.
pub(super) struct Receipt {
    acker: Acker,
    channel: Channel,
}

impl Receipt {
    /// Acknowledges it; `false` if its channel is closed, so the broker has heard nothing.
    pub(super) async fn ack(&self) -> Result<bool, RequestError> {
        self.channel.ask(WRITE_TIMEOUT, self.acker.ack(BasicAckOptions::default())).await
    }

    /// Gives it back to its queue; `false` as for [`Receipt::ack`].
    pub(super) async fn requeue(&self) -> Result<bool, RequestError> {
        self.nack(true).await
    }

    /// Leaves it to the broker's own dead-lettering; `false` as for [`Receipt::ack`].
    pub(super) async fn discard(&self) -> Result<bool, RequestError> {
        self.nack(false).await
    }

    async fn nack(&self, requeue: bool) -> Result<bool, RequestError> {
        let options = BasicNackOptions { requeue, ..Default::default() };
        self.channel.ask(WRITE_TIMEOUT, self.acker.nack(options)).await
    }

    /// Whether it can still be settled.
    pub(super) fn is_live(&self) -> bool {
        self.acker.usable() && self.channel.is_open()
    }
}
