//! A private queue: it gets what is published while it exists, and leaves nothing behind.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use lapin::types::{AMQPValue, FieldTable};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::channel::{Channel, Declare, Incoming};
use super::error::failed;
use super::{Broker, BrokerError};
use crate::job::amqp::short;

/// How many messages are on their way to us at a time.
const PREFETCH: u16 = 100;

/// For how long a queue is asked for in the beginning again: the connection may be lost just then.
const OPEN_PATIENCE: Duration = Duration::from_secs(10);

/// Where messages come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Source {
    pub(super) exchange: String,
    /// The pattern of their routing keys.
    pub(super) pattern: String,
}

/// A message.
pub(super) struct Message {
    pub(super) exchange: String,
    pub(super) routing_key: String,
    pub(super) body: Bytes,
}

/// The connection was lost, and the queue with it. It is made again. Messages in between are lost.
pub(super) struct Lost {
    pub(super) reason: String,
}

/// An exclusive queue that is made again whenever the connection was lost.
pub(super) struct OwnQueue {
    broker: Broker,
    sources: Arc<[Source]>,
    max_waiting: u32,
    shutdown: CancellationToken,
    /// `None` after the connection was lost.
    open: Option<(Channel, Incoming)>,
    pauses: Box<dyn Iterator<Item = Duration> + Send>,
}

impl Broker {
    /// Makes a queue for messages of `sources`, until `shutdown`. The broker keeps the last
    /// `max_waiting` messages that wait. When this returns, no later message is missed. Waits for a
    /// connection.
    pub(super) async fn own_queue(
        &self,
        sources: Vec<Source>,
        max_waiting: u32,
        shutdown: CancellationToken,
    ) -> Result<OwnQueue, BrokerError> {
        self.wait_connected().await?;
        let sources: Arc<[Source]> = sources.into();
        let mut pauses = Box::new(self.back_off());
        let begun = Instant::now();
        let opened = loop {
            let opening = open(self.clone(), Arc::clone(&sources), max_waiting);
            match self.to_its_end(opening).await {
                Err(error) if begun.elapsed() < OPEN_PATIENCE && error.may_pass() => {
                    tracing::debug!(%error, "could not subscribe; trying again");
                    self.pause(pauses.next()).await?;
                }
                opened => break opened?,
            }
        };
        let (broker, open) = (self.clone(), Some(opened));
        let pauses = Box::new(self.back_off());
        Ok(OwnQueue { broker, sources, max_waiting, shutdown, open, pauses })
    }
}

impl OwnQueue {
    /// The next message; `None` after the shutdown.
    pub(super) async fn next(&mut self) -> Option<Result<Message, Lost>> {
        let shutdown = self.shutdown.clone();
        tokio::select! {
            biased;
            () = shutdown.cancelled() => None,
            item = self.next_item() => item,
        }
    }

    async fn next_item(&mut self) -> Option<Result<Message, Lost>> {
        loop {
            let Some((channel, incoming)) = &mut self.open else {
                let pause = self.pauses.next();
                self.broker.pause(pause).await.ok()?;
                let sources = Arc::clone(&self.sources);
                let opening = open(self.broker.clone(), sources, self.max_waiting);
                match self.broker.to_its_end(opening).await {
                    Ok(opened) => self.open = Some(opened),
                    Err(error) => tracing::warn!(%error, "could not subscribe again; trying again"),
                }
                continue;
            };
            let delivery = match incoming.next().await {
                Some(Ok(delivery)) => delivery,
                ended => {
                    self.open = None;
                    let reason = match ended {
                        Some(Err(error)) => error.to_string(),
                        _ => "the broker ended the subscription".to_owned(),
                    };
                    return Some(Err(Lost { reason }));
                }
            };
            self.pauses = Box::new(self.broker.back_off());
            // The ack only makes room. If it fails, the stream ends next.
            drop(channel.receipt(&delivery).ack().await);
            return Some(Ok(Message {
                exchange: delivery.exchange.to_string(),
                routing_key: delivery.routing_key.to_string(),
                body: delivery.data.into(),
            }));
        }
    }
}

async fn open(
    broker: Broker,
    sources: Arc<[Source]>,
    max_waiting: u32,
) -> Result<(Channel, Incoming), BrokerError> {
    let action = "subscribing";
    let channel = broker.channel().await?;
    let mut arguments = FieldTable::default();
    arguments.insert("x-max-length".into(), AMQPValue::LongLongInt(max_waiting.into()));
    let declared = channel.declare_queue("".into(), Declare::Passing, arguments).await;
    let queue = declared.map_err(failed(action))?.name;
    for source in sources.iter() {
        let invalid = |reason| BrokerError::Failed { action: action.to_owned(), reason };
        let exchange = short("name of the exchange", &source.exchange).map_err(invalid)?;
        let pattern = short("pattern", &source.pattern).map_err(invalid)?;
        let bound = channel.bind_queue(queue.clone(), exchange, pattern).await;
        bound.map_err(failed(action))?;
    }
    channel.qos(PREFETCH).await.map_err(failed(action))?;
    let incoming = channel.consume(queue).await.map_err(failed(action))?;
    Ok((channel, incoming))
}
