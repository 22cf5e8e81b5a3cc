//! A queue: what waits in it, who takes from it, and what the topology says of it.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::broker::{Argument, OutgoingMessage, QueueSpec};

/// A message in a queue.
#[derive(Clone)]
pub(in crate::worker::simulation) struct Stored {
    pub(super) id: u64,
    pub(super) message: Arc<OutgoingMessage>,
    /// How often it has come back.
    pub(super) returns: u32,
}

/// Deliveries on their way to a consumer, which has not handed them out.
#[derive(Default)]
pub(super) struct Buffer {
    pub(super) arrived: Mutex<VecDeque<(u64, Stored)>>,
    pub(super) told: Notify,
}

/// Who takes from a queue.
pub(super) struct Subscriber {
    pub(super) id: u64,
    pub(super) connection: u64,
    pub(super) prefetch: usize,
    pub(super) unsettled: BTreeSet<u64>,
    pub(super) buffer: Arc<Buffer>,
}

/// A queue.
pub(super) struct Queue {
    pub(super) name: String,
    pub(super) waiting: VecDeque<Stored>,
    pub(super) subscribers: VecDeque<Subscriber>,
    pub(super) expires: Option<Duration>,
    pub(super) dead_letters_to: Option<(String, Option<String>)>,
    pub(super) delivery_limit: Option<u32>,
    pub(super) max_length: Option<usize>,
    pub(super) bound_by: Vec<(String, String)>,
}

fn number(spec: &QueueSpec, name: &str) -> Option<u64> {
    spec.arguments.iter().find(|(key, _)| *key == name).and_then(|(_, value)| match value {
        Argument::Number(number) => u64::try_from(*number).ok(),
        Argument::Text(_) => None,
    })
}

fn text(spec: &QueueSpec, name: &str) -> Option<String> {
    spec.arguments.iter().find(|(key, _)| *key == name).and_then(|(_, value)| match value {
        Argument::Text(text) => Some(text.clone()),
        Argument::Number(_) => None,
    })
}

impl Queue {
    pub(super) fn of(spec: &QueueSpec) -> Self {
        let key = text(spec, "x-dead-letter-routing-key");
        let bound = spec.exchanges.iter().map(|name| (name.clone(), spec.routing_key.clone()));
        Self {
            name: spec.name.clone(),
            waiting: VecDeque::new(),
            subscribers: VecDeque::new(),
            expires: number(spec, "x-message-ttl").map(Duration::from_millis),
            dead_letters_to: text(spec, "x-dead-letter-exchange").map(|exchange| (exchange, key)),
            delivery_limit: number(spec, "x-delivery-limit")
                .map(|limit| u32::try_from(limit).unwrap()),
            max_length: number(spec, "x-max-length").map(|length| usize::try_from(length).unwrap()),
            bound_by: bound.collect(),
        }
    }

    /// Whether a message that came by an exchange with a key goes here. A fanout looks at no key.
    pub(super) fn takes(&self, exchange: &str, key: &str) -> bool {
        self.bound_by
            .iter()
            .any(|(name, bound)| name == exchange && (bound.is_empty() || bound == key))
    }
}
