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
    /// One for each call of [`Consumer::next`], and none in between: for work that needs a slot.
    ///
    /// A plain prefetch, even of the number of slots, would not do. A delivery is acknowledged when
    /// its job is journaled, long before the job's slot is free; the broker would then send the
    /// next one to a full worker, where it waits for as long as a job runs while others are idle,
    /// and in the end meets the broker's delivery time-out. So the consumer asks for one message,
    /// which is one round trip where there is a backlog. Where the queue is empty it subscribes
    /// with a prefetch of 1, and cancels before it hands the delivery out: nothing can arrive that
    /// nobody asked for, and nothing ever has to be given back.
    OnDemand,
    /// Up to so many unsettled at a time: for messages that are settled at once.
    Prefetch(u16),
}

/// A consumer of one inbox. Channel and subscription are rebuilt whenever they end, and what is
/// missing on the broker is declared, until the shutdown.
pub struct Consumer {
    broker: Broker,
    inbox: Inbox,
    queue: String,
    flow: Flow,
    shutdown: CancellationToken,
    channel: Option<Channel>,
    subscription: Option<Incoming>,
    /// Asking and subscribing, as a task of its own: what is given up half-way would stay on the
    /// broker with nobody to read it, and swallow a delivery.
    opening: Option<JoinHandle<Result<(Channel, Opened), BrokerError>>>,
    /// A delivery that has arrived and is not handed out yet.
    arrived: Option<Delivery>,
    pauses: Box<dyn Iterator<Item = Duration> + Send>,
    /// Where others read how the inbox is consumed.
    word: Word,
}

/// What asking the broker for deliveries gave.
enum Opened {
    /// One that was there already.
    Delivery(Box<BasicGetMessage>),
    /// They will come.
    Subscription(Box<Incoming>),
}

impl Broker {
    /// A consumer of `inbox`, until `shutdown`. Subscribes at the first [`Consumer::next`]; the
    /// mailbox of a segment is declared then.
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
    /// With [`Flow::OnDemand`] call it with a free slot in hand. Can be dropped at any await
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

    /// Ends the subscription and gives back what has arrived and was not handed out. Deliveries
    /// that were handed out can still be settled.
    pub async fn close(mut self) {
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

    /// Subscribes where that is not done yet, and waits for one delivery.
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
        // The end of a subscription is the end of its channel: a broker that cancels a consumer
        // for its delivery time-out keeps what was delivered until the channel closes.
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
        let receipt = channel.receipt(&raw);
        // What the broker gave up on keeps the headers that its publisher wrote.
        let is_internal = self.inbox != Inbox::Undelivered
            && self.broker.topology().is_internal(raw.exchange.as_str());
        let sender = if is_internal { Sender::Worker } else { Sender::Publisher };
        let queue = self.queue.clone();
        self.arrived = Some(Delivery::new(raw, self.inbox, queue, receipt, sender));
        self.pauses = Box::new(self.broker.back_off());
    }

    /// Asks for a delivery where there is one, and subscribes where not.
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
        // With the one delivery in hand nothing else comes until it is settled, on this channel and
        // so after the cancel: the broker's answer need not be waited for. Else it must be, for
        // deliveries may be on their way.
        let nowait = self.flow == Flow::OnDemand && self.arrived.is_some();
        if let Err(error) = channel.cancel(subscription, nowait).await {
            debug!(queue = self.queue, %error, "could not cancel a subscription");
            self.channel = None;
        } else {
            // With a prefetch of 1, and that one still unsettled, there is nothing.
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
