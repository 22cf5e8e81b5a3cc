//! Where events go.

use async_trait::async_trait;

use crate::job::Event;

/// Where a publisher wants a result directly.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplyTo {
    /// The queue.
    pub queue: String,
    /// The correlation id of the answer.
    pub correlation_id: Option<String>,
}

impl ReplyTo {
    /// From the two properties of a message; `None` if it names no queue, or an empty name.
    #[must_use]
    pub fn of(queue: Option<&str>, correlation_id: Option<&str>) -> Option<Self> {
        let correlation_id = correlation_id.map(str::to_owned);
        queue
            .filter(|queue| !queue.is_empty())
            .map(|queue| Self { queue: queue.to_owned(), correlation_id })
    }
}

/// Why it is not certain that an event was published.
#[derive(Debug, thiserror::Error)]
#[error("the event {event} was not published: {reason}")]
pub struct SinkError {
    /// The event's id.
    pub event: String,
    /// What happened.
    pub reason: String,
    /// Whether the same event may be published later.
    pub is_transient: bool,
}

/// Takes events. There are two: a message broker and the terminal.
#[async_trait]
pub trait EventSink: Send + Sync {
    /// Publishes an event, and a result also to `reply`. Returns when the event is safe, or when a
    /// receiver does not take it. It waits for a broker that is away. It may be called again with
    /// the same event: readers drop repeats by the event's id.
    ///
    /// # Errors
    /// When it is not certain that the event was published.
    async fn publish(&self, event: &Event, reply: Option<&ReplyTo>) -> Result<(), SinkError>;
}
