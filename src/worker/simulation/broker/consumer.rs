//! A worker's consumer of one inbox.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::queue::{Buffer, Stored};
use super::server::Server;
use super::wire::{Live, Purpose, Wires};
use crate::broker::{Delivery, Flow, Inbox, MessageConsumer, Sender, Settle, Settlement};

/// The way back of a delivery.
struct Receipt {
    wires: Arc<Wires>,
    live: Live,
    tag: u64,
}

#[async_trait]
impl Settle for Receipt {
    /// Nothing answers this: it is written, and the broker reads it, unless the connection is lost before.
    async fn settle(&self, settlement: Settlement) -> Result<(), String> {
        self.wires.process.runs().await;
        if self.live.gone.is_cancelled() {
            return Err("its channel is closed".to_owned());
        }
        let (wires, live, tag) = (Arc::clone(&self.wires), self.live.clone(), self.tag);
        let tell = move |server: &Arc<Server>| match settlement {
            Settlement::Ack => server.ack(tag),
            Settlement::Requeue => server.give_back(tag),
            Settlement::Discard => server.discard(tag),
        };
        self.wires.world.tasks.spawn(async move {
            // However long the broker is alarmed.
            while !live.gone.is_cancelled()
                && wires.ask(&live, Purpose::Work, Duration::MAX, &tell).await.is_err()
            {
                sleep(Duration::from_millis(10)).await;
            }
        });
        Ok(())
    }

    fn is_live(&self) -> bool {
        !self.live.gone.is_cancelled()
    }
}

struct Subscription {
    id: u64,
    live: Live,
    buffer: Arc<Buffer>,
}

/// A consumer.
pub(super) struct SimulatedConsumer {
    wires: Arc<Wires>,
    inbox: Inbox,
    queue: String,
    flow: Flow,
    shutdown: CancellationToken,
    subscription: Option<Subscription>,
}

impl SimulatedConsumer {
    pub(super) fn new(
        wires: &Arc<Wires>,
        inbox: Inbox,
        flow: Flow,
        shutdown: CancellationToken,
    ) -> Self {
        let queue = wires.server.topology.inbox(inbox);
        let (wires, subscription) = (Arc::clone(wires), None);
        Self { wires, inbox, queue, flow, shutdown, subscription }
    }

    async fn next_delivery(&mut self) -> Delivery {
        loop {
            let Some(subscription) = &self.subscription else {
                self.subscribe().await;
                continue;
            };
            let Subscription { live, buffer, .. } = subscription;
            let arrives = async {
                loop {
                    if !buffer.arrived.lock().is_empty() {
                        return;
                    }
                    buffer.told.notified().await;
                }
            };
            let is_there = tokio::select! {
                biased;
                () = live.gone.cancelled() => false,
                () = arrives => true,
            };
            if !is_there {
                self.subscription = None;
                self.wires.world.pause(100, 300).await;
                continue;
            }
            // On its way. Where nobody waits any more, it is still there.
            self.wires.world.pause(1, 2).await;
            self.wires.process.runs().await;
            let live = live.clone();
            let Some((tag, stored)) = buffer.arrived.lock().pop_front() else { continue };
            if live.gone.is_cancelled() {
                continue;
            }
            if self.flow == Flow::OnDemand {
                self.cancel();
            }
            return self.delivery(live, tag, &stored);
        }
    }

    async fn subscribe(&mut self) {
        let live = self.wires.usable().await;
        if let Inbox::Mailbox(_) = self.inbox {
            self.wires.server.declare(&self.wires.server.topology.inbox_spec(self.inbox));
        }
        let prefetch = match self.flow {
            Flow::OnDemand => 1,
            Flow::Prefetch(count) => count.into(),
        };
        self.wires.world.pause(1, 3).await;
        self.wires.process.runs().await;
        match self.wires.server.subscribe(&self.queue, live.connection, prefetch) {
            Some((id, buffer)) => {
                let name = &self.wires.process.name;
                self.wires.world.note(name, || format!("subscribes to {}", self.queue));
                self.subscription = Some(Subscription { id, live, buffer });
            }
            None => live.gone.cancelled().await,
        }
    }

    fn cancel(&mut self) {
        if let Some(Subscription { id, buffer, .. }) = self.subscription.take() {
            self.wires.server.unsubscribe(&self.queue, id);
            let arrived: Vec<_> = buffer.arrived.lock().drain(..).collect();
            for (tag, _) in arrived.into_iter().rev() {
                self.wires.server.give_back(tag);
            }
        }
    }

    fn delivery(&self, live: Live, tag: u64, stored: &Stored) -> Delivery {
        let is_internal = self.inbox != Inbox::Undelivered
            && self.wires.server.topology.is_internal(&stored.message.exchange);
        let sender = if is_internal { Sender::Worker } else { Sender::Publisher };
        let id = stored.message.message_id.as_deref().unwrap_or_default();
        self.wires
            .world
            .note(&self.wires.process.name, || format!("takes {id} from {}", self.queue));
        let receipt = Box::new(Receipt { wires: Arc::clone(&self.wires), live, tag });
        let place = (self.inbox, self.queue.clone());
        Delivery::in_memory(&stored.message, stored.returns > 0, place, sender, receipt)
    }
}

/// Its channel closes: what has arrived goes back.
impl Drop for SimulatedConsumer {
    fn drop(&mut self) {
        self.cancel();
    }
}

#[async_trait]
impl MessageConsumer for SimulatedConsumer {
    async fn next(&mut self) -> Option<Delivery> {
        let shutdown = self.shutdown.clone();
        tokio::select! {
            biased;
            () = shutdown.cancelled() => None,
            delivery = self.next_delivery() => Some(delivery),
        }
    }

    async fn pause(&mut self) {
        self.wires.process.runs().await;
        self.cancel();
    }

    async fn close(mut self: Box<Self>) {
        self.wires.process.runs().await;
        self.cancel();
    }
}
