//! The broker itself: exchanges, queues by what the topology says of them, unsettled deliveries and locks.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;

use super::queue::{Buffer, Queue, Stored, Subscriber};
use crate::broker::{HeaderValue, OutgoingMessage, QueueSpec, Topology};
use crate::worker::simulation::world::{Sabotage, World};

struct Unsettled {
    stored: Stored,
    queue: String,
    connection: u64,
}

/// What came of a publication.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::worker::simulation) enum Published {
    Confirmed,
    Unroutable,
}

/// What the broker has.
pub(in crate::worker::simulation) struct Contents {
    queues: BTreeMap<String, Queue>,
    unsettled: BTreeMap<u64, Unsettled>,
    connections: BTreeSet<u64>,
    pub(super) locks: BTreeMap<u32, u64>,
    /// Whether it reads nothing of those that publish, for it is short of memory.
    pub(in crate::worker::simulation) is_alarmed: bool,
    counter: u64,
}

/// The broker.
pub(in crate::worker::simulation) struct Server {
    pub(super) world: Arc<World>,
    pub(in crate::worker::simulation) topology: Topology,
    contents: Mutex<Contents>,
    /// How many requests of workers there were: what they publish, settle, declare and look for.
    pub(in crate::worker::simulation) asked: AtomicU64,
    /// Told when connections come and go, and when an alarm is over.
    pub(super) changed: Notify,
}

impl Server {
    pub(in crate::worker::simulation) fn new(world: &Arc<World>, topology: Topology) -> Arc<Self> {
        let mut specs = topology.queues();
        specs.push(topology.dead_spec());
        let queues = specs.iter().map(|spec| (spec.name.clone(), Queue::of(spec))).collect();
        let contents = Contents {
            queues,
            unsettled: BTreeMap::new(),
            connections: BTreeSet::new(),
            locks: BTreeMap::new(),
            is_alarmed: false,
            counter: 0,
        };
        let (world, contents) = (Arc::clone(world), Mutex::new(contents));
        Arc::new(Self {
            world,
            topology,
            contents,
            asked: AtomicU64::new(0),
            changed: Notify::new(),
        })
    }

    pub(in crate::worker::simulation) fn contents(&self) -> MutexGuard<'_, Contents> {
        self.contents.lock()
    }

    pub(super) fn declare(&self, spec: &QueueSpec) {
        self.contents().queues.entry(spec.name.clone()).or_insert_with(|| Queue::of(spec));
    }

    /// Takes a message. Events go to whoever listens, which is the ledger alone.
    pub(in crate::worker::simulation) fn publish(
        self: &Arc<Self>,
        message: OutgoingMessage,
    ) -> Published {
        let (exchange, key) = (&message.exchange, &message.routing_key);
        if *exchange == self.topology.results_exchange()
            || *exchange == self.topology.status_exchange()
        {
            self.world.see(|ledger, at| ledger.event(&message.body, at));
            if self.world.is(Sabotage::ContradictsResults) {
                let other = String::from_utf8_lossy(&message.body).replace("succeeded", "failed");
                self.world.see(|ledger, at| ledger.event(&other.into(), at));
            }
            return Published::Confirmed;
        }
        let contents = self.contents();
        let meant = contents.queues.values().filter(|queue| queue.takes(exchange, key));
        let meant: Vec<_> = meant.map(|queue| queue.name.clone()).collect();
        drop(contents);
        if meant.is_empty() {
            return Published::Unroutable;
        }
        let message = Arc::new(message);
        for queue in meant {
            self.enqueue(&queue, &message);
        }
        Published::Confirmed
    }

    fn enqueue(self: &Arc<Self>, name: &str, message: &Arc<OutgoingMessage>) {
        let id = message.message_id.as_deref().unwrap_or_default();
        self.world.note("broker", || format!("{id} is in {name}"));
        let is_dead = name == self.topology.dead();
        let is_lost = (is_dead && self.world.is(Sabotage::LosesDeadLetters))
            || (name.contains(".start.") && self.world.is(Sabotage::LosesStarts));
        if is_lost {
            return;
        }
        self.world.see(|ledger, at| {
            if is_dead { ledger.dead_letter(message, at) } else { ledger.copy_came(id, at) }
        });
        let mut contents = self.contents();
        contents.counter += 1;
        let stored = Stored { id: contents.counter, message: Arc::clone(message), returns: 0 };
        let Some(queue) = contents.queues.get_mut(name) else { return };
        if let Some(after) = queue.expires {
            let (server, name, id) = (Arc::clone(self), name.to_owned(), stored.id);
            self.world.tasks.spawn(async move {
                tokio::time::sleep(after).await;
                server.expire(&name, id);
            });
        }
        queue.waiting.push_back(stored);
        if queue.max_length.is_some_and(|length| queue.waiting.len() > length) {
            queue.waiting.pop_front();
        }
        contents.dispatch(name);
    }

    fn expire(self: &Arc<Self>, name: &str, id: u64) {
        let mut contents = self.contents();
        let Some(queue) = contents.queues.get_mut(name) else { return };
        let Some(place) = queue.waiting.iter().position(|stored| stored.id == id) else { return };
        let stored = queue.waiting.remove(place);
        drop(contents);
        if let Some(stored) = stored {
            self.bury(name, &stored, "expired");
        }
    }

    /// Dead-letters a message of a queue.
    fn bury(self: &Arc<Self>, name: &str, stored: &Stored, reason: &str) {
        let to = self.contents().queues.get(name).and_then(|queue| queue.dead_letters_to.clone());
        let Some((exchange, key)) = to else { return };
        let mut message = (*stored.message).clone();
        message.exchange = exchange;
        message.routing_key = key.unwrap_or(message.routing_key);
        let said = HeaderValue::Text(reason.to_owned());
        message.headers.insert("x-last-death-reason".to_owned(), said);
        let id = message.message_id.clone().unwrap_or_default();
        if self.publish(message.clone()) == Published::Unroutable {
            // The alternate exchange of returns.
            message.exchange = self.topology.dead();
            self.publish(message);
        }
        self.world.see(|ledger, at| ledger.copy_went(&id, at));
    }

    /// A new connection.
    pub(super) fn connect(&self) -> u64 {
        let mut contents = self.contents();
        contents.counter += 1;
        let connection = contents.counter;
        contents.connections.insert(connection);
        connection
    }

    pub(super) fn is_connected(&self, connection: u64) -> bool {
        self.contents().connections.contains(&connection)
    }

    /// Ends a connection: its locks are free, and what it has not settled goes back.
    pub(in crate::worker::simulation) fn disconnect(self: &Arc<Self>, connection: u64) {
        let mut contents = self.contents();
        if !contents.connections.remove(&connection) {
            return;
        }
        let keeps_locks = self.world.is(Sabotage::KeepsLocks);
        contents.locks.retain(|_, holder| keeps_locks || *holder != connection);
        for queue in contents.queues.values_mut() {
            queue.subscribers.retain(|subscriber| subscriber.connection != connection);
        }
        let tags = contents.unsettled.iter().filter(|(_, one)| one.connection == connection);
        let tags: Vec<_> = tags.map(|(tag, _)| *tag).collect();
        drop(contents);
        for tag in tags.into_iter().rev() {
            self.give_back(tag);
        }
    }

    /// Subscribes to a queue with a prefetch; gives the subscription, and where deliveries arrive.
    pub(super) fn subscribe(
        &self,
        name: &str,
        connection: u64,
        prefetch: usize,
    ) -> Option<(u64, Arc<Buffer>)> {
        let mut contents = self.contents();
        if !contents.connections.contains(&connection) {
            return None;
        }
        contents.counter += 1;
        let (id, buffer) = (contents.counter, Arc::<Buffer>::default());
        let (unsettled, arrives) = (BTreeSet::new(), Arc::clone(&buffer));
        let subscriber = Subscriber { id, connection, prefetch, unsettled, buffer };
        contents.queues.get_mut(name)?.subscribers.push_back(subscriber);
        contents.dispatch(name);
        Some((id, arrives))
    }

    /// Ends a subscription. What it brought and was not settled stays with the connection.
    pub(super) fn unsubscribe(&self, name: &str, id: u64) {
        if let Some(queue) = self.contents().queues.get_mut(name) {
            queue.subscribers.retain(|subscriber| subscriber.id != id);
        }
    }

    /// Settles a delivery as taken care of; `false` where its connection is gone.
    pub(super) fn ack(self: &Arc<Self>, tag: u64) -> bool {
        let mut contents = self.contents();
        let Some(Unsettled { stored, queue, .. }) = contents.settle(tag) else { return false };
        contents.dispatch(&queue);
        drop(contents);
        let id = stored.message.message_id.clone().unwrap_or_default();
        self.world.see(|ledger, at| ledger.copy_went(&id, at));
        if self.world.is(Sabotage::SendsAgain) {
            self.enqueue(&queue, &stored.message);
        }
        true
    }

    /// Gives a delivery back to its queue; `false` where its connection is gone.
    pub(super) fn give_back(self: &Arc<Self>, tag: u64) -> bool {
        let mut contents = self.contents();
        let Some(Unsettled { mut stored, queue: name, .. }) = contents.settle(tag) else {
            return false;
        };
        stored.returns += 1;
        let Some(queue) = contents.queues.get_mut(&name) else { return false };
        if queue.delivery_limit.is_some_and(|limit| stored.returns > limit) {
            drop(contents);
            self.bury(&name, &stored, "delivery_limit");
            return true;
        }
        queue.waiting.push_front(stored);
        contents.dispatch(&name);
        true
    }

    /// Leaves a delivery to dead-lettering; `false` where its connection is gone.
    pub(super) fn discard(self: &Arc<Self>, tag: u64) -> bool {
        let Some(Unsettled { stored, queue, .. }) = self.contents().settle(tag) else {
            return false;
        };
        self.bury(&queue, &stored, "rejected");
        true
    }

    /// What waits or is not settled, dead letters apart.
    pub(in crate::worker::simulation) fn left(&self) -> Vec<String> {
        self.contents().left(&self.topology.dead())
    }

    /// The exchange to which starts and stops are published.
    pub(in crate::worker::simulation) fn jobs_exchange(&self) -> String {
        self.topology.jobs_exchange()
    }

    /// Begins or ends an alarm.
    pub(in crate::worker::simulation) fn alarm(&self, is_alarmed: bool) {
        self.contents().is_alarmed = is_alarmed;
        self.changed.notify_waiters();
    }
}

impl Contents {
    fn settle(&mut self, tag: u64) -> Option<Unsettled> {
        let unsettled = self.unsettled.remove(&tag)?;
        if let Some(queue) = self.queues.get_mut(&unsettled.queue) {
            for subscriber in &mut queue.subscribers {
                subscriber.unsettled.remove(&tag);
            }
        }
        Some(unsettled)
    }

    /// Hands what waits in a queue to those who have room for it, in turn.
    fn dispatch(&mut self, name: &str) {
        let Some(queue) = self.queues.get_mut(name) else { return };
        while !queue.waiting.is_empty() {
            let has_room = |one: &Subscriber| one.unsettled.len() < one.prefetch;
            let Some(place) = queue.subscribers.iter().position(has_room) else { return };
            let Some(mut subscriber) = queue.subscribers.remove(place) else { return };
            let Some(stored) = queue.waiting.pop_front() else { return };
            self.counter += 1;
            let (tag, connection) = (self.counter, subscriber.connection);
            subscriber.unsettled.insert(tag);
            subscriber.buffer.arrived.lock().push_back((tag, stored.clone()));
            subscriber.buffer.told.notify_one();
            queue.subscribers.push_back(subscriber);
            self.unsettled.insert(tag, Unsettled { stored, queue: name.to_owned(), connection });
        }
    }

    /// Whether no message waits in a queue.
    pub(in crate::worker::simulation) fn is_empty(&self, queue: &str) -> bool {
        self.queues.get(queue).is_none_or(|queue| queue.waiting.is_empty())
    }

    /// What waits or is not settled, by queue; without the dead letters of `dead`.
    fn left(&self, dead: &str) -> Vec<String> {
        let waiting = self.queues.values().filter(|queue| queue.name != dead);
        let waiting = waiting.filter(|queue| !queue.waiting.is_empty());
        let waiting = waiting.map(|queue| format!("{} in {}", queue.waiting.len(), queue.name));
        let unsettled = self.unsettled.values().map(|one| format!("1 unsettled of {}", one.queue));
        waiting.chain(unsettled).collect()
    }

    /// The segments whose lock somebody holds.
    pub(in crate::worker::simulation) fn locked(&self) -> Vec<u32> {
        self.locks.keys().copied().collect()
    }
}
