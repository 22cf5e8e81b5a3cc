//! What a worker asks of the broker, as `MessageBroker` says.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use super::consumer::SimulatedConsumer;
use super::server::{Published, Server};
use super::wire::{Broken, Live, Purpose, Wires};
use crate::broker::{
    BrokerError, Delivery, Flow, HeaderValue, Inbox, MessageBroker, MessageConsumer,
    OutgoingMessage, OwnershipLock, Proof, PublishError, ReplyRules, SettleError, Topology, Until,
};
use crate::worker::simulation::world::Sabotage;

/// How long a confirm may take, as by the settings' default.
const CONFIRM_TIMEOUT: Duration = Duration::from_secs(10);

/// The broker, as one worker reaches it.
#[derive(Clone)]
pub(in crate::worker::simulation) struct SimulatedBroker {
    wires: Arc<Wires>,
    rules: ReplyRules,
    /// Segments whose lock this process holds.
    locked: Arc<Mutex<BTreeSet<u32>>>,
    shutdown: CancellationToken,
}

impl SimulatedBroker {
    pub(in crate::worker::simulation) fn new(wires: &Arc<Wires>) -> Self {
        let rules = ReplyRules::new(wires.server.topology.namespace(), &[]);
        let (locked, shutdown) = (Arc::default(), CancellationToken::new());
        Self { wires: Arc::clone(wires), rules, locked, shutdown }
    }

    fn failed(action: &str, why: Broken) -> BrokerError {
        BrokerError::Failed { action: action.to_owned(), reason: why.shown() }
    }

    /// Asks over the connection for locks.
    async fn ask_for_lock<T>(
        &self,
        action: &str,
        effect: impl FnOnce(&Arc<Server>, u64) -> T,
    ) -> Result<(T, Live), BrokerError> {
        self.wires.process.runs().await;
        let Some(live) = self.wires.now(Purpose::Locks) else {
            self.wires.world.pause(100, 5_000).await;
            return Err(Self::failed(action, Broken::NotConnected));
        };
        let connection = live.connection;
        let ask = |server: &Arc<Server>| effect(server, connection);
        match self.wires.ask(&live, Purpose::Locks, Duration::MAX, ask).await {
            Ok(answer) => Ok((answer, live)),
            Err(why) => {
                if why == Broken::NoAnswer {
                    self.wires.replace(Purpose::Locks);
                }
                Err(Self::failed(action, why))
            }
        }
    }
}

/// A lock of a segment.
struct SimulatedLock {
    broker: SimulatedBroker,
    segment: u32,
    live: Live,
    lost: CancellationToken,
}

impl Drop for SimulatedLock {
    fn drop(&mut self) {
        self.lost.cancel();
        self.broker.locked.lock().remove(&self.segment);
    }
}

#[async_trait]
impl OwnershipLock for SimulatedLock {
    async fn prove(&self, within: Duration) -> Proof {
        let (segment, connection) = (self.segment, self.live.connection);
        let is_held =
            |server: &Arc<Server>| server.contents().locks.get(&segment) == Some(&connection);
        match self.broker.wires.ask(&self.live, Purpose::Locks, within, is_held).await {
            Ok(true) => Proof::Held,
            Ok(false) | Err(Broken::Lost | Broken::NotConnected) => Proof::Lost,
            Err(Broken::NoAnswer) => Proof::Unknown,
        }
    }

    fn lost(&self) -> CancellationToken {
        self.lost.clone()
    }

    async fn release(self: Box<Self>) {
        let (segment, connection) = (self.segment, self.live.connection);
        let free = |server: &Arc<Server>| {
            if server.world.is(Sabotage::KeepsLocks) {
                return;
            }
            server.contents().locks.retain(|one, holder| *one != segment || *holder != connection);
        };
        let wires = &self.broker.wires;
        if wires.ask(&self.live, Purpose::Locks, Duration::MAX, free).await == Err(Broken::NoAnswer)
        {
            wires.replace(Purpose::Locks);
        }
        wires.world.note(&wires.process.name, || format!("freed the lock of segment {segment}"));
    }
}

#[async_trait]
impl MessageBroker for SimulatedBroker {
    fn topology(&self) -> &Topology {
        &self.wires.server.topology
    }

    fn reply_rules(&self) -> &ReplyRules {
        &self.rules
    }

    fn consumer(
        &self,
        inbox: Inbox,
        flow: Flow,
        shutdown: CancellationToken,
    ) -> Box<dyn MessageConsumer> {
        Box::new(SimulatedConsumer::new(&self.wires, inbox, flow, shutdown))
    }

    async fn declare_mailbox(&self, segment: u32) -> Result<(), BrokerError> {
        let live = self.wires.usable().await;
        let spec = self.topology().inbox_spec(Inbox::Mailbox(segment));
        let declare = |server: &Arc<Server>| server.declare(&spec);
        let asked = self.wires.ask(&live, Purpose::Work, Duration::MAX, declare).await;
        asked.map_err(|why| Self::failed("declaring a mailbox", why))
    }

    async fn is_mailbox_empty(&self, segment: u32) -> Result<bool, BrokerError> {
        let live = self.wires.usable().await;
        let queue = self.topology().inbox(Inbox::Mailbox(segment));
        let look = |server: &Arc<Server>| server.contents().is_empty(&queue);
        let asked = self.wires.ask(&live, Purpose::Work, Duration::MAX, look).await;
        asked.map_err(|why| Self::failed("looking at a mailbox", why))
    }

    async fn try_lock(&self, segment: u32) -> Result<Option<Box<dyn OwnershipLock>>, BrokerError> {
        if !self.locked.lock().insert(segment) {
            return Ok(None);
        }
        let claim = |server: &Arc<Server>, connection: u64| {
            *server.contents().locks.entry(segment).or_insert(connection) == connection
        };
        let claimed = self.ask_for_lock("claiming a segment", claim).await;
        let Ok((true, live)) = claimed else {
            self.locked.lock().remove(&segment);
            return claimed.map(|_| None);
        };
        let wires = &self.wires;
        wires.world.note(&wires.process.name, || format!("has the lock of segment {segment}"));
        let lost = live.gone.child_token();
        Ok(Some(Box::new(SimulatedLock { broker: self.clone(), segment, live, lost })))
    }

    async fn is_locked(&self, segment: u32) -> Result<bool, BrokerError> {
        let look = |server: &Arc<Server>, _| server.contents().locks.contains_key(&segment);
        self.ask_for_lock("asking for a lock", look).await.map(|(is_locked, _)| is_locked)
    }

    async fn publish(&self, message: &OutgoingMessage) -> Result<(), PublishError> {
        self.wires.process.runs().await;
        let target = format!("{:?} with key {:?}", message.exchange, message.routing_key);
        if self.wires.server.contents().is_alarmed {
            return Err(PublishError::Blocked { target });
        }
        let Some(live) = self.wires.now(Purpose::Work) else {
            return Err(PublishError::NotConnected { target });
        };
        let publish = |server: &Arc<Server>| server.publish(message.clone());
        match self.wires.ask(&live, Purpose::Work, CONFIRM_TIMEOUT, publish).await {
            Ok(Published::Unroutable) if message.mandatory => {
                Err(PublishError::Unroutable { target, reason: "NO_ROUTE".to_owned() })
            }
            Ok(_) => Ok(()),
            Err(Broken::NoAnswer) => Err(PublishError::TimedOut { target, after: CONFIRM_TIMEOUT }),
            Err(why) => Err(PublishError::Interrupted { target, reason: why.shown() }),
        }
    }

    async fn publish_until(
        &self,
        message: &OutgoingMessage,
        until: Until,
        give_up: &CancellationToken,
    ) -> Result<(), PublishError> {
        let attempts = async {
            let mut pause = 200;
            loop {
                match self.publish(message).await {
                    Err(error) if until.asks_again_after(&error) => {
                        self.wires.world.pause(pause, pause * 2).await;
                        pause = (pause * 2).min(2_500);
                        self.wires.usable().await;
                    }
                    done => return done,
                }
            }
        };
        tokio::select! {
            biased;
            done = attempts => done,
            () = give_up.cancelled() => {
                Err(PublishError::Cancelled { target: message.exchange.clone() })
            }
        }
    }

    async fn copy_and_ack(
        &self,
        delivery: &Delivery,
        exchange: &str,
        routing_key: &str,
        headers: &[(&str, HeaderValue)],
    ) -> Result<(), SettleError> {
        if !delivery.is_live() {
            return Err(delivery.not_acknowledged("its channel is closed").into());
        }
        let copy = delivery.copy_in_memory(exchange, routing_key, headers);
        let mut tries = 1;
        while let Err(error) = self.publish(&copy).await {
            if tries == 5 || !error.is_transient() || !delivery.is_live() {
                return Err(SettleError::Copy(error));
            }
            self.wires.world.pause(1_000 << (tries - 1), 2_000 << (tries - 1)).await;
            tries += 1;
        }
        Ok(delivery.ack().await?)
    }

    async fn close(&self) {
        self.wires.process.runs().await;
        self.shutdown.cancel();
        self.wires.end();
    }
}
