//! Following events, for clients.

use tokio_util::sync::CancellationToken;

use super::own_queue::{OwnQueue, Source};
use super::{Broker, BrokerError};
use crate::job::{Event, JobId};

/// How many events the broker keeps for a slow reader. Beyond that, the oldest are dropped.
const MAX_WAITING: u32 = 100_000;

/// Which events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Feed {
    /// Status events.
    Status,
    /// Result events.
    Results,
}

/// Events of a feed whose routing key matches a pattern: `*` is one word, `#` any number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binding {
    /// The feed.
    pub feed: Feed,
    /// The pattern, of `{state or verdict}.{entrypoint}.{id}`.
    pub pattern: String,
}

impl Binding {
    /// Every event of a feed.
    #[must_use]
    pub fn all(feed: Feed) -> Self {
        Self { feed, pattern: "#".to_owned() }
    }

    /// The events of one job.
    #[must_use]
    pub fn of_job(feed: Feed, id: &JobId) -> Self {
        Self { feed, pattern: format!("*.*.{id}") }
    }
}

/// Why a subscription returned no event.
#[derive(Debug, thiserror::Error)]
pub enum SubscriptionError {
    /// A message was not an event. The next one may be.
    #[error("a message with key {routing_key:?} is not an event: {reason}")]
    Undecodable {
        /// Its routing key.
        routing_key: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The connection was lost, and the subscription's queue with it. The subscription goes on.
    /// Events in between are lost.
    #[error("events may have been missed: {reason}")]
    Gap {
        /// What happened.
        reason: String,
    },
}

/// A stream of events, from a private queue that ends with it.
pub struct Subscription {
    queue: OwnQueue,
}

impl Broker {
    /// Subscribes to events, until `shutdown`. When this returns, no event that is published
    /// later is missed. Waits for a connection; the topology must be there:
    /// see [`Broker::declare_topology`].
    ///
    /// # Errors
    /// When subscribing fails.
    pub async fn subscribe(
        &self,
        bindings: Vec<Binding>,
        shutdown: CancellationToken,
    ) -> Result<Subscription, BrokerError> {
        let source = |binding: Binding| Source {
            exchange: match binding.feed {
                Feed::Status => self.topology().status_exchange(),
                Feed::Results => self.topology().results_exchange(),
            },
            pattern: binding.pattern,
        };
        let sources = bindings.into_iter().map(source).collect();
        Ok(Subscription { queue: self.own_queue(sources, MAX_WAITING, shutdown).await? })
    }
}

impl Subscription {
    /// The next event; `None` after the shutdown.
    pub async fn next(&mut self) -> Option<Result<Event, SubscriptionError>> {
        let message = match self.queue.next().await? {
            Ok(message) => message,
            Err(lost) => return Some(Err(SubscriptionError::Gap { reason: lost.reason })),
        };
        let event = serde_json::from_slice(&message.body);
        Some(event.map_err(|error| SubscriptionError::Undecodable {
            routing_key: message.routing_key,
            reason: error.to_string(),
        }))
    }
}
