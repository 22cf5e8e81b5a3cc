//! Looks at the dead letters, and takes some of them out.
//!
//! A queue cannot be read without taking its messages. So each is taken without an ack and put back
//! at the end, the oldest first. A quorum queue hands out returned messages before all others, in the
//! order of their return. So whoever returns one must take and return all that were returned before,
//! or it would come behind them.
//!
//! The broker counts each return. [`Topology::dead_spec`](super::Topology) lets it count far, but a
//! queue that was declared otherwise loses a message at the 21st. From such a queue, a message that
//! was returned often is published again instead, as the newest.

use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use lapin::BasicProperties;
use lapin::types::{FieldTable, ShortString};
use tokio::time::sleep;
use tracing::warn;

use super::channel::{Channel, Declare, Receipt};
use super::declare::declare_queue;
use super::error::failed;
use super::lapin_error::NOT_FOUND;
use super::publisher::RawMessage;
use super::{
    Broker, BrokerError, HeaderValue, Inbox, MessageProperties, NotAcknowledged, QUEUE_HEADER,
    REASON_HEADER, SettleError,
};
use crate::job::amqp::{
    BODY, Sender, number_header, properties_of_copy, short, shown_headers, text_header,
};

/// The broker's header for how often a message was returned.
const RETURNS_HEADER: &str = "x-delivery-count";

/// The broker's headers for the queue that gave up a message first, and why.
const FIRST_QUEUE_HEADER: &str = "x-first-death-queue";
const FIRST_REASON_HEADER: &str = "x-first-death-reason";

/// How often a message may be returned to a queue that was declared by others. From version 4 on,
/// the broker drops it at 20 returns.
const MAX_RETURNS: i64 = 15;

/// How many letters go back at once. A broker sends the commands of a channel to a quorum queue 32
/// ahead, and puts more of them together without an order.
const RETURNED_AT_ONCE: usize = 30;

/// How often, and after which pause, the queue is asked whether it has them.
const MAX_LOOKS: usize = 100;
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// A look at the dead letters. Call [`DeadLetters::put_back`] at the end: what is only dropped goes
/// back as well, but in another order.
pub struct DeadLetters {
    broker: Broker,
    channel: Channel,
    queue: String,
    name: ShortString,
    /// Whether the broker counts as many returns as we ask for.
    is_ours: bool,
    waiting: u32,
    taken: u32,
    /// Whether the last one that was taken had been returned before: then the next may have been, too.
    was_returned: bool,
    held: Vec<Held>,
}

/// A letter that goes back.
struct Held {
    receipt: Receipt,
    /// What is published again instead: routing key, properties and body.
    copy: Option<(String, BasicProperties, Bytes)>,
}

/// A message that could not be processed.
pub struct DeadLetter {
    /// The body, as it came.
    pub body: Bytes,
    /// The routing key, as its publisher wrote it.
    pub routing_key: String,
    /// Why it is here, in the words of a worker, or in a word of the broker's.
    pub reason: Option<String>,
    /// The queue that it comes from.
    pub queue: Option<String>,
    /// What it says about itself.
    pub properties: MessageProperties,
    /// All its headers, for people.
    pub headers: Vec<(String, String)>,
    original: BasicProperties,
    receipt: Receipt,
}

impl DeadLetter {
    fn new(raw: lapin::message::Delivery, receipt: Receipt) -> Self {
        let header = |name| text_header(&raw.properties, name);
        Self {
            // What the broker wrote is newer than what a worker or a publisher wrote.
            reason: header(FIRST_REASON_HEADER).or_else(|| header(REASON_HEADER)),
            queue: header(FIRST_QUEUE_HEADER).or_else(|| header(QUEUE_HEADER)),
            routing_key: raw.routing_key.to_string(),
            properties: MessageProperties::read(&raw.properties, Sender::Publisher),
            headers: shown_headers(&raw.properties),
            body: raw.data.into(),
            original: raw.properties,
            receipt,
        }
    }

    /// Whether the body is here, and was not left out for its size.
    #[must_use]
    pub fn has_its_body(&self) -> bool {
        self.properties.unreadable.iter().all(|fault| fault.property != BODY)
    }

    fn returns(&self) -> i64 {
        number_header(&self.original, RETURNS_HEADER).unwrap_or_default()
    }
}

impl Broker {
    /// Begins to look at the dead letters. `None` if there is no queue of them.
    ///
    /// # Errors
    /// When there is no connection, the queue may not be read, or the broker does not answer.
    pub async fn dead_letters(&self) -> Result<Option<DeadLetters>, BrokerError> {
        let queue = self.topology().dead();
        let action = format!("looking at the queue {queue:?}");
        let name = short("name of the queue", &queue)
            .map_err(|reason| BrokerError::Failed { action: action.clone(), reason })?;
        let channel = self.channel().await?;
        let looked =
            channel.declare_queue(name.clone(), Declare::Passive, FieldTable::default()).await;
        let waiting = match looked {
            Ok(state) => state.messages,
            Err(error) if error.reply_code() == Some(NOT_FOUND) => return Ok(None),
            Err(error) => return Err(failed(action)(error)),
        };
        // A refusal closes the channel, so this uses one of its own.
        let spec = self.topology().dead_spec();
        let is_ours = declare_queue(&self.channel().await?, &spec).await.is_ok();
        let (broker, held) = (self.clone(), Vec::new());
        Ok(Some(DeadLetters {
            broker,
            channel,
            queue,
            name,
            is_ours,
            waiting,
            taken: 0,
            was_returned: false,
            held,
        }))
    }
}

impl DeadLetters {
    /// How many there were in the beginning.
    #[must_use]
    pub fn waiting(&self) -> u32 {
        self.waiting
    }

    /// The next one, the oldest first. `None` after as many as there were in the beginning: one that
    /// comes back at once is not taken again.
    ///
    /// # Errors
    /// When the broker refuses, or does not answer.
    pub async fn next(&mut self) -> Result<Option<DeadLetter>, BrokerError> {
        if self.taken >= self.waiting {
            return Ok(None);
        }
        let got = self.channel.get(self.name.clone()).await;
        let got = got.map_err(failed(format!("reading the queue {:?}", self.queue)))?;
        self.taken += 1;
        let letter = got.map(|got| {
            let receipt = self.channel.receipt(&got.delivery);
            DeadLetter::new(got.delivery, receipt)
        });
        self.was_returned = letter.as_ref().is_some_and(|letter| letter.returns() > 0);
        Ok(letter)
    }

    /// Keeps a letter until [`DeadLetters::put_back`], without its body.
    pub fn hold(&mut self, letter: DeadLetter) {
        let is_worn = !self.is_ours && letter.returns() >= MAX_RETURNS && letter.has_its_body();
        let copy = is_worn.then(|| {
            let texts = [(REASON_HEADER, &letter.reason), (QUEUE_HEADER, &letter.queue)];
            let texts = texts
                .into_iter()
                .filter_map(|(name, text)| Some((name, HeaderValue::Text(text.clone()?))));
            let properties = properties_of_copy(&letter.original, &texts.collect::<Vec<_>>());
            (letter.routing_key, properties, letter.body)
        });
        self.held.push(Held { receipt: letter.receipt, copy });
    }

    /// Publishes a letter to an inbox again, as its publisher would, and removes it once the broker
    /// has confirmed that. A crash in between leaves two messages, never none. A start gets
    /// `message_id` as its new identity, and the time of now, because under its old identity it would
    /// only be told how it ended. `body` is the letter's, or a version of it.
    ///
    /// # Errors
    /// [`SettleError`]: the letter is still there.
    pub async fn replay(
        &self,
        letter: &DeadLetter,
        inbox: Inbox,
        message_id: &str,
        body: &[u8],
    ) -> Result<(), SettleError> {
        let mut properties = properties_of_copy(&letter.original, &[]);
        // A stop counts from the time when it was sent.
        if inbox != Inbox::Stop {
            if let Ok(id) = short("message id", message_id) {
                properties = properties.with_message_id(id);
            }
            if let Ok(now) = u64::try_from(Timestamp::now().as_second()) {
                properties = properties.with_timestamp(now);
            }
        }
        let exchange = self.broker.topology().jobs_exchange();
        self.publish(&exchange, &inbox.routing_key(), properties, body).await?;
        self.remove(letter).await
    }

    /// Removes a letter.
    ///
    /// # Errors
    /// [`SettleError::NotAcknowledged`]: it is still there.
    pub async fn remove(&self, letter: &DeadLetter) -> Result<(), SettleError> {
        self.settled(letter.receipt.ack().await.map_err(|error| error.to_string()))
    }

    /// Puts every letter back that is held, in the old order.
    ///
    /// # Errors
    /// The first thing that failed: the channel is closed, and the letters go back by themselves, or a
    /// copy could not be published, and its letter went back as it is.
    pub async fn put_back(mut self) -> Result<(), SettleError> {
        while self.was_returned && !self.held.is_empty() {
            match self.next().await {
                Ok(Some(letter)) => self.hold(letter),
                Ok(None) => break,
                Err(error) => {
                    warn!(%error, "could not read all dead letters; their order may change");
                    break;
                }
            }
        }
        let mut done = Ok(());
        let mut keeps_order = true;
        for some in self.held.chunks(RETURNED_AT_ONCE) {
            let mut ready = self.ready().await?;
            for held in some {
                if let Some(copy) = &held.copy {
                    let moved = self.move_to_the_end(held, copy).await;
                    if moved.is_ok() {
                        ready += 1;
                        continue;
                    }
                    done = done.and(moved);
                }
                self.settled(held.receipt.requeue().await.map_err(|error| error.to_string()))?;
                ready += 1;
            }
            // Once somebody else takes letters, the order is lost anyway.
            keeps_order = keeps_order && self.are_back(ready).await?;
        }
        done
    }

    /// Waits until so many letters are in the queue: then it has those that were put back. `false` if
    /// there are fewer for too long, because somebody else takes them.
    async fn are_back(&self, count: u32) -> Result<bool, SettleError> {
        for _ in 0..MAX_LOOKS {
            if self.ready().await? >= count {
                return Ok(true);
            }
            sleep(LOOK_AGAIN).await;
        }
        Ok(false)
    }

    async fn ready(&self) -> Result<u32, SettleError> {
        let (name, how) = (self.name.clone(), Declare::Passive);
        let looked = self.channel.declare_queue(name, how, FieldTable::default()).await;
        let queue = looked.map_err(|error| self.not_settled(error.to_string()))?;
        Ok(queue.messages)
    }

    async fn move_to_the_end(
        &self,
        held: &Held,
        (key, properties, body): &(String, BasicProperties, Bytes),
    ) -> Result<(), SettleError> {
        let dead = self.broker.topology().dead();
        self.publish(&dead, key, properties.clone(), body).await?;
        self.settled(held.receipt.ack().await.map_err(|error| error.to_string()))
    }

    /// Removes every letter that nobody holds. Returns how many.
    ///
    /// # Errors
    /// When the broker refuses, or does not answer.
    pub async fn purge(&self) -> Result<u32, BrokerError> {
        let purged = self.channel.purge_queue(self.name.clone()).await;
        purged.map_err(failed(format!("purging the queue {:?}", self.queue)))
    }

    async fn publish(
        &self,
        exchange: &str,
        routing_key: &str,
        properties: BasicProperties,
        body: &[u8],
    ) -> Result<(), SettleError> {
        let message = RawMessage { exchange, routing_key, properties, body, mandatory: true };
        self.broker.publish_raw(&message).await.map_err(SettleError::Copy)
    }

    fn settled(&self, told: Result<bool, String>) -> Result<(), SettleError> {
        let reason = match told {
            Ok(true) => return Ok(()),
            Ok(false) => "its channel is closed".to_owned(),
            Err(reason) => reason,
        };
        Err(self.not_settled(reason))
    }

    fn not_settled(&self, reason: String) -> SettleError {
        NotAcknowledged { queue: self.queue.clone(), reason }.into()
    }
}
