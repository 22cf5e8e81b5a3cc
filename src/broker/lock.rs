//! Owning a segment: an exclusive queue that nobody else can declare.
//!
//! Locks have a connection of their own, see [`Broker`]. It publishes and consumes nothing, not
//! even from the lock's queue, because anybody might publish there.

use std::time::Duration;

use lapin::types::{AMQPValue, FieldTable};
use parking_lot::Mutex;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::bounded::{ANSWER_TIMEOUT, RequestError};
use super::channel::{Channel, Declare};
use super::error::failed;
use super::lapin_error::NOT_FOUND;
use super::{Broker, BrokerError, OutgoingMessage, PublishError};
use crate::job::amqp::short;

/// The broker's reply code for an exclusive queue of another connection.
const RESOURCE_LOCKED: u16 = 405;

/// How long to wait for a missing connection for locks. A connection that is being made is ready by
/// then, and callers try again anyway.
const CONNECT_PATIENCE: Duration = Duration::from_secs(5);

/// How long the answer to a knock may take before the other way is tried.
const KNOCK_TIMEOUT: Duration = Duration::from_secs(2);

/// A segment that is ours, for as long as the connection for locks lives.
///
/// The broker frees it when the connection ends, also when this process is killed or its host is
/// cut off. After a reconnect it must be claimed again. A lock that is dropped without
/// [`SegmentLock::release`] stays ours on the broker until the connection ends.
pub struct SegmentLock {
    segment: u32,
    lost: CancellationToken,
    channel: Channel,
    broker: Broker,
    /// Since when the broker gives no answer.
    unanswered: Mutex<Option<Instant>>,
}

impl Broker {
    /// Claims a segment; `None` if it has an owner already, in this process or elsewhere.
    ///
    /// # Errors
    /// When there is no connection, or the broker failed otherwise.
    pub async fn try_lock(&self, segment: u32) -> Result<Option<SegmentLock>, BrokerError> {
        self.to_its_end(self.clone().claim(segment)).await
    }

    async fn claim(self, segment: u32) -> Result<Option<SegmentLock>, BrokerError> {
        let Some(reservation) = Reservation::set(&self, segment) else {
            return Ok(None);
        };
        let action = format!("claiming the segment {segment}");
        let name = short("name of the queue", &self.topology().lock(segment))
            .map_err(|reason| BrokerError::Failed { action: action.clone(), reason })?;
        // A refusal closes the channel, so this uses a separate one.
        let channel = self.channel_for_locks().await?;
        let mut arguments = FieldTable::default();
        // Messages there are only knocks, and are dropped.
        arguments.insert("x-max-length".into(), AMQPValue::LongLongInt(0));
        match channel.declare_queue(name, Declare::Exclusive, arguments).await {
            Ok(_) => {}
            Err(error) if error.reply_code() == Some(RESOURCE_LOCKED) => return Ok(None),
            Err(error) => {
                // The queue may be declared after all. It would stay with this connection, and
                // nobody would own the segment.
                if error.is_undecided() {
                    channel.live().replace(format!("{action}: {error}"));
                }
                return Err(failed(action)(error));
            }
        }
        let lost = channel.live().gone().child_token();
        reservation.keep();
        let unanswered = Mutex::default();
        Ok(Some(SegmentLock { segment, lost, channel, broker: self, unanswered }))
    }

    async fn channel_for_locks(&self) -> Result<Channel, BrokerError> {
        let live = self.locks().live_within(CONNECT_PATIENCE).await?;
        Channel::open(&live).await.map_err(failed("opening a channel"))
    }
}

/// The outcome of a round trip to the broker about our lock.
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
    /// Whether a segment has an owner; we count, too.
    ///
    /// # Errors
    /// When there is no connection, or the broker failed otherwise: then nothing is known.
    pub async fn is_locked(&self, segment: u32) -> Result<bool, BrokerError> {
        match self.knock(segment).await {
            Some(is_locked) => Ok(is_locked),
            None => self.ask_for_lock(segment).await,
        }
    }

    /// Publishes an empty message to the lock's queue, which drops it. The broker says whether
    /// there is such a queue. Unlike the other way, which closes a channel for each answer, this
    /// writes no line in the broker's log. But a broker that is short of memory or disk does not
    /// answer.
    async fn knock(&self, segment: u32) -> Option<bool> {
        let knock = OutgoingMessage {
            routing_key: self.topology().lock(segment),
            mandatory: true,
            ..OutgoingMessage::default()
        };
        match tokio::time::timeout(KNOCK_TIMEOUT, self.publish(&knock)).await {
            Ok(Ok(())) => Some(true),
            Ok(Err(PublishError::Unroutable { .. })) => Some(false),
            Ok(Err(error)) => {
                debug!(segment, %error, "could not ask whether a segment's lock is held");
                None
            }
            Err(_) => None,
        }
    }

    /// Asks for the lock's queue over the connection for locks.
    async fn ask_for_lock(&self, segment: u32) -> Result<bool, BrokerError> {
        let action = format!("asking for the lock of segment {segment}");
        let name = short("name of the queue", &self.topology().lock(segment))
            .map_err(|reason| BrokerError::Failed { action: action.clone(), reason })?;
        let channel = self.channel_for_locks().await?;
        let asked = channel.declare_queue(name, Declare::Passive, FieldTable::default()).await;
        match asked {
            Ok(_) => Ok(true),
            Err(error) => match error.reply_code() {
                Some(RESOURCE_LOCKED) => Ok(true),
                Some(NOT_FOUND) => Ok(false),
                _ => Err(failed(action)(error)),
            },
        }
    }
}

impl SegmentLock {
    /// Asks the broker whether the segment is still ours, over the connection that holds it.
    pub async fn prove(&self, within: Duration) -> Proof {
        let Ok(name) = short("name", &self.broker.topology().lock(self.segment)) else {
            return Proof::Lost;
        };
        let asked = self.channel.declare_queue(name, Declare::Passive, FieldTable::default());
        tokio::select! {
            answer = tokio::time::timeout(within, asked) => match answer {
                Ok(Ok(_)) => {
                    self.unanswered.lock().take();
                    Proof::Held
                }
                Ok(Err(error)) => {
                    debug!(segment = self.segment, %error, "could not prove that this worker owns the segment");
                    Proof::Lost
                }
                Err(_) => self.no_answer(),
            },
            () = self.lost.cancelled() => Proof::Lost,
        }
    }

    /// If the broker gives no answer for long enough, the lock counts as lost. Another channel, or
    /// another connection, may work better.
    fn no_answer(&self) -> Proof {
        let since = *self.unanswered.lock().get_or_insert_with(Instant::now);
        if since.elapsed() < ANSWER_TIMEOUT {
            return Proof::Unknown;
        }
        self.channel.abandon();
        Proof::Lost
    }

    /// The segment that is ours.
    #[must_use]
    pub fn segment(&self) -> u32 {
        self.segment
    }

    /// Cancelled when the segment is no longer ours, because the connection is lost.
    #[must_use]
    pub fn lost(&self) -> CancellationToken {
        self.lost.clone()
    }

    /// Releases the segment, so it is free at once.
    pub async fn release(self) {
        let segment = self.segment;
        let Ok(name) = short("name", &self.broker.topology().lock(segment)) else { return };
        let Err(error) = self.channel.delete_queue(name).await else { return };
        match error {
            // The connection would keep it, although nobody owns it.
            RequestError::NoAnswer(_) | RequestError::Blocked => {
                warn!(segment, %error, "could not free a segment's lock");
                self.channel.live().replace(format!("freeing the lock of segment {segment}"));
            }
            RequestError::Failed(_) | RequestError::Lost => {
                debug!(segment, %error, "could not free a segment's lock");
            }
        }
    }
}

impl Drop for SegmentLock {
    fn drop(&mut self) {
        self.lost.cancel();
        unreserve(&self.broker, self.segment);
    }
}

/// Reserves a segment for one claim of this process, because for the broker two claims over one
/// connection are one.
struct Reservation<'a>(&'a Broker, u32);

impl<'a> Reservation<'a> {
    fn set(broker: &'a Broker, segment: u32) -> Option<Self> {
        let mut locked = broker.inner.locked.lock();
        locked.insert(segment).then(|| Self(broker, segment))
    }

    fn keep(self) {
        std::mem::forget(self);
    }
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        unreserve(self.0, self.1);
    }
}

fn unreserve(broker: &Broker, segment: u32) {
    broker.inner.locked.lock().remove(&segment);
}
