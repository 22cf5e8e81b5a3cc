//! Consuming one queue, over a channel that is rebuilt.

use std::time::Duration;

use lapin::message::BasicGetMessage;
use lapin::types::ShortString;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::bounded::RequestError;
use super::channel::{Channel, Incoming};
use super::error::failed;
use super::inboxes::Word;
use super::lapin_error::NOT_FOUND;
use super::{Broker, BrokerError, Delivery, Inbox};
use crate::job::amqp::{Sender, short};

/// How a consumer takes deliveries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// One for each call of [`Consumer::next`], and none in between. This is for work that needs a
    /// slot.
    ///
    /// A plain prefetch, even of the number of slots, is not enough. A delivery is acknowledged
    /// when its job is in the journal, long before the job's slot is free. Then the broker would
    /// send the next one to a full worker. There it would wait as long as a job runs, while other
    /// workers are idle, and reach the broker's delivery time-out in the end. So the consumer asks
    /// for one message, which takes one round trip if there is a backlog. If the queue is empty, it
    /// subscribes with a prefetch of 1, and cancels before it returns the delivery. So nothing
    /// arrives that was not requested, and nothing has to be given back.
    OnDemand,
    /// Up to this many unsettled at a time. This is for messages that are settled at once.
    Prefetch(u16),
}

/// A consumer of one inbox. Until the shutdown, it rebuilds channel and subscription whenever they
/// end, and declares missing queues.
pub struct Consumer {
    broker: Broker,
    inbox: Inbox,
    queue: String,
    flow: Flow,
    shutdown: CancellationToken,
    channel: Option<Channel>,
    subscription: Option<Incoming>,
    /// Asking and subscribing, as a separate task: a subscription that is given up half-way would
    /// stay on the broker and swallow a delivery.
    opening: Option<JoinHandle<Result<(Channel, Opened), BrokerError>>>,
    /// A delivery that has arrived and was not returned yet.
    arrived: Option<Delivery>,
    pauses: Box<dyn Iterator<Item = Duration> + Send>,
    /// The shared state of how the inbox is consumed.
    word: Word,
}

/// The outcome of asking the broker for deliveries.
enum Opened {
    /// One that waited already.
    Delivery(Box<BasicGetMessage>),
    /// They will come.
    Subscription(Box<Incoming>),
}

impl Broker {
    /// A consumer of `inbox`, until `shutdown`. It subscribes at the first [`Consumer::next`], and
    /// declares the mailbox of a segment then.
    #[must_use]
    pub fn consumer(&self, inbox: Inbox, flow: Flow, shutdown: CancellationToken) -> Consumer {
        Consumer {
            queue: self.topology().inbox(inbox),
            pauses: Box::new(self.back_off()),
            broker: self.clone(),
            inbox,
            flow,
            shutdown,
            channel: None,
            subscription: None,
            opening: None,
            arrived: None,
            word: self.inner.inboxes.enter(inbox),
        }
    }
}

impl Consumer {
    /// The next delivery; `None` after the shutdown of the consumer or of the broker.
    ///
    /// With [`Flow::OnDemand`], call it only with a free slot. It can be dropped at any await
    /// without losing a delivery.
    pub async fn next(&mut self) -> Option<Delivery> {
        let shutdown = self.shutdown.clone();
        self.word.wanted();
        tokio::select! {
            biased;
            () = shutdown.cancelled() => None,
            delivery = self.next_delivery() => delivery.ok(),
        }
    }

    /// Ends the subscription, and gives back deliveries that have arrived and were not returned.
    /// Returned deliveries can still be settled.
    pub async fn close(mut self) {
        self.pause().await;
    }

    /// The same until the next call of [`next`](Self::next).
    pub async fn pause(&mut self) {
        self.word.paused();
        if self.opening.is_some()
            && let Err(error) = self.open().await
        {
            debug!(queue = self.queue, error, "could not subscribe");
        }
        self.cancel().await;
        if let Some(delivery) = self.arrived.take()
            && let Err(error) = delivery.requeue().await
        {
            debug!(%error, "could not return a delivery");
        }
    }

    async fn next_delivery(&mut self) -> Result<Delivery, BrokerError> {
        loop {
            if self.arrived.is_some() && self.flow == Flow::OnDemand {
                self.cancel().await;
            }
            if let Some(delivery) = self.arrived.take()
                && delivery.is_live()
            {
                if self.flow == Flow::OnDemand {
                    self.word.paused();
                }
                return Ok(delivery);
            }
            if let Err(reason) = self.await_delivery().await {
                let pause = self.pauses.next();
                warn!(queue = self.queue, reason, "consuming was interrupted");
                self.word.broken(&reason);
                self.subscription = None;
                self.channel = None;
                self.broker.pause(pause).await?;
            }
        }
    }

    /// Subscribes if that is not done yet, and waits for one delivery.
    async fn await_delivery(&mut self) -> Result<(), String> {
        if self.subscription.is_none() {
            self.broker.wait_usable().await.map_err(|error| error.to_string())?;
            self.open().await?;
            if self.arrived.is_some() {
                return Ok(());
            }
        }
        let (Some(channel), Some(subscription)) = (&self.channel, &mut self.subscription) else {
            return Err("the channel is closed".to_owned());
        };
        // When a subscription ends, close its channel: a broker that cancels a consumer for its
        // delivery time-out keeps the deliveries until the channel closes.
        let raw = match subscription.next().await {
            Some(Ok(raw)) => raw,
            Some(Err(error)) => return Err(error.to_string()),
            None => return Err("the broker ended the subscription".to_owned()),
        };
        let channel = channel.clone();
        self.take(raw, &channel);
        Ok(())
    }

    fn take(&mut self, raw: lapin::message::Delivery, channel: &Channel) {
        self.word.consuming();
        let receipt = Box::new(channel.receipt(&raw));
        // A message that the broker gave up keeps the headers of its publisher.
        let is_internal = self.inbox != Inbox::Undelivered
            && self.broker.topology().is_internal(raw.exchange.as_str());
        let sender = if is_internal { Sender::Worker } else { Sender::Publisher };
        let queue = self.queue.clone();
        self.arrived = Some(Delivery::new(raw, self.inbox, queue, receipt, sender));
        self.pauses = Box::new(self.broker.back_off());
    }

    /// Asks for a delivery, and subscribes if there is none.
    async fn open(&mut self) -> Result<(), String> {
        let opening = self.opening.get_or_insert_with(|| {
            let (broker, queue) = (self.broker.clone(), self.queue.clone());
            let opening = open(broker, self.inbox, queue, self.flow, self.channel.take());
            self.broker.inner.tasks.spawn(opening)
        });
        let opened = opening.await;
        self.opening = None;
        let (channel, opened) =
            opened.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
        self.channel = Some(channel.clone());
        match opened {
            Opened::Delivery(message) => self.take(message.delivery, &channel),
            Opened::Subscription(subscription) => {
                self.word.consuming();
                self.subscription = Some(*subscription);
            }
        }
        Ok(())
    }

    /// Ends the subscription, not the channel.
    async fn cancel(&mut self) {
        let (Some(channel), Some(subscription)) = (&self.channel, &mut self.subscription) else {
            return;
        };
        // While the one delivery is unsettled, nothing else comes on this channel, and it is
        // settled after the cancel. So there is no need to wait for the broker's answer. Without
        // such a delivery there is, because deliveries may be on their way.
        let nowait = self.flow == Flow::OnDemand && self.arrived.is_some();
        if let Err(error) = channel.cancel(subscription, nowait).await {
            debug!(queue = self.queue, %error, "could not cancel a subscription");
            self.channel = None;
        } else {
            // With a prefetch of 1 and that one still unsettled, nothing has arrived.
            subscription.give_back().await;
        }
        self.subscription = None;
    }
}

/// Asks for a delivery or subscribes, over `channel` or over a new one.
async fn open(
    broker: Broker,
    inbox: Inbox,
    queue: String,
    flow: Flow,
    channel: Option<Channel>,
) -> Result<(Channel, Opened), BrokerError> {
    let action = format!("consuming from {queue:?}");
    let channel = match channel {
        Some(channel) if channel.is_open() => channel,
        _ => broker.channel().await?,
    };
    if let Inbox::Mailbox(segment) = inbox {
        broker.declare_mailbox(segment).await?;
    }
    let name = short("name of the queue", &queue)
        .map_err(|reason| BrokerError::Failed { action: action.clone(), reason })?;
    match ask(&channel, name, flow).await {
        Ok(opened) => Ok((channel, opened)),
        Err(error) => {
            if error.reply_code() == Some(NOT_FOUND) {
                broker.declare_or_warn().await;
            }
            Err(failed(action)(error))
        }
    }
}

async fn ask(channel: &Channel, queue: ShortString, flow: Flow) -> Result<Opened, RequestError> {
    let prefetch = match flow {
        Flow::OnDemand => {
            if let Some(message) = channel.get(queue.clone()).await? {
                return Ok(Opened::Delivery(Box::new(message)));
            }
            1
        }
        Flow::Prefetch(most) => most.max(1),
    };
    channel.qos(prefetch).await?;
    Ok(Opened::Subscription(Box::new(channel.consume(queue).await?)))
}
