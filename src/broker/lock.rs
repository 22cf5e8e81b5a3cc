//! Owning a segment: an exclusive queue that nobody else can declare.

use std::time::Duration;

use futures_util::StreamExt;
use lapin::Channel;
use lapin::options::{BasicConsumeOptions, QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::FieldTable;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::error::{describe, failed, reply_code};
use super::message::short;
use super::{Broker, BrokerError, OutgoingMessage, PublishError};

/// The broker's reply code for an exclusive queue of another connection.
const RESOURCE_LOCKED: u16 = 405;

/// A segment that is ours, for as long as the connection lives.
///
/// The broker frees it by itself when the connection ends, also when this process is killed or its
/// host is cut off. After a reconnect it must be claimed anew. A lock that is dropped without
/// [`SegmentLock::release`] stays ours on the broker until the connection ends.
pub struct SegmentLock {
    segment: u32,
    lost: CancellationToken,
    channel: Channel,
    broker: Broker,
}

impl Broker {
    /// Claims a segment; `None` when it is somebody's already, in this process or elsewhere.
    ///
    /// # Errors
    /// When there is no connection, or the broker failed otherwise.
    pub async fn try_lock(&self, segment: u32) -> Result<Option<SegmentLock>, BrokerError> {
        self.to_its_end(self.clone().claim(segment)).await
    }

    async fn claim(self, segment: u32) -> Result<Option<SegmentLock>, BrokerError> {
        let Some(mark) = Mark::set(&self, segment) else {
            return Ok(None);
        };
        // A refusal closes the channel, so it is one of its own.
        let channel = self.channel().await?;
        let queue = self.topology().lock(segment);
        let action = format!("claiming the segment {segment}");
        let name = short("name of the queue", &queue)
            .map_err(|reason| BrokerError::Failed { action: action.clone(), reason })?;
        let options = QueueDeclareOptions { exclusive: true, ..Default::default() };
        let declared = channel.queue_declare(name.clone(), options, FieldTable::default()).await;
        match declared {
            Ok(_) => {}
            Err(error) if reply_code(&error) == Some(RESOURCE_LOCKED) => return Ok(None),
            Err(error) => return Err(failed(action)(error)),
        }
        // What comes is only somebody's knock: the consumer's end tells that the queue is gone, be
        // it with the connection or by an operator's hand.
        let dropping = BasicConsumeOptions { no_ack: true, ..Default::default() };
        let consumed =
            channel.basic_consume(name, "".into(), dropping, FieldTable::default()).await;
        let mut guard = consumed.map_err(failed(action))?;
        let lost = self.inner.shutdown.child_token();
        let gone = lost.clone();
        self.inner.tasks.spawn(async move {
            let end = async { while let Some(Ok(_)) = guard.next().await {} };
            tokio::select! {
                () = end => gone.cancel(),
                () = gone.cancelled() => {}
            }
        });
        mark.keep();
        Ok(Some(SegmentLock { segment, lost, channel, broker: self }))
    }
}

/// What a round trip to the broker says about a lock of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// It is ours, and was when the round trip began.
    Held,
    /// It is not: the connection is gone, or the queue.
    Lost,
    /// The broker gave no answer in time.
    Unknown,
}

impl Broker {
    /// Whether a segment is somebody's; ours count, too.
    ///
    /// It is asked by an empty message to the lock's queue, which its owner drops: the broker says
    /// whether there is such a queue. Declaring it passively would end a channel for each answer.
    ///
    /// # Errors
    /// When there is no connection, or the broker failed otherwise: then nothing is known.
    pub async fn is_locked(&self, segment: u32) -> Result<bool, PublishError> {
        let knock = OutgoingMessage {
            routing_key: self.topology().lock(segment),
            mandatory: true,
            ..OutgoingMessage::default()
        };
        match self.publish(&knock).await {
            Ok(()) => Ok(true),
            Err(PublishError::Unroutable { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

impl SegmentLock {
    /// Asks the broker whether the segment is ours still, over the connection that holds it.
    pub async fn prove(&self, within: Duration) -> Proof {
        let Ok(name) = short("name", &self.broker.topology().lock(self.segment)) else {
            return Proof::Lost;
        };
        let passive = QueueDeclareOptions { passive: true, ..Default::default() };
        let asked = self.channel.queue_declare(name, passive, FieldTable::default());
        tokio::select! {
            answer = tokio::time::timeout(within, asked) => match answer {
                Ok(Ok(_)) => Proof::Held,
                Ok(Err(error)) => {
                    debug!(segment = self.segment, error = describe(&error), "prove segment");
                    Proof::Lost
                }
                Err(_) => Proof::Unknown,
            },
            () = self.lost.cancelled() => Proof::Lost,
        }
    }

    /// The segment that is ours.
    #[must_use]
    pub fn segment(&self) -> u32 {
        self.segment
    }

    /// Cancelled once the segment is no longer ours: the connection is gone, or the queue.
    #[must_use]
    pub fn lost(&self) -> CancellationToken {
        self.lost.clone()
    }

    /// Gives the segment up, so that it is free at once.
    pub async fn release(self) {
        if let Ok(name) = short("name", &self.broker.topology().lock(self.segment))
            && let Err(error) = self.channel.queue_delete(name, QueueDeleteOptions::default()).await
        {
            debug!(
                segment = self.segment,
                error = describe(&error),
                "cannot free a segment's lock"
            );
        }
    }
}

impl Drop for SegmentLock {
    fn drop(&mut self) {
        self.lost.cancel();
        unmark(&self.broker, self.segment);
    }
}

/// Marks a segment as held by this process: to the broker two claims over one connection are one.
struct Mark<'a>(&'a Broker, u32);

impl<'a> Mark<'a> {
    fn set(broker: &'a Broker, segment: u32) -> Option<Self> {
        let mut locked = broker.inner.locked.lock();
        locked.insert(segment).then(|| Self(broker, segment))
    }

    fn keep(self) {
        std::mem::forget(self);
    }
}

impl Drop for Mark<'_> {
    fn drop(&mut self) {
        unmark(self.0, self.1);
    }
}

fn unmark(broker: &Broker, segment: u32) {
    broker.inner.locked.lock().remove(&segment);
}
