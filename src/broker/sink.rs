//! Where events go, whatever it is.

use async_trait::async_trait;

use crate::job::Event;

/// Who asked to be told a result directly.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplyTo {
    /// The queue to tell it to.
    pub queue: String,
    /// What the answer must carry.
    pub correlation_id: Option<String>,
}

impl ReplyTo {
    /// From the two properties of a message; none where it names no queue, or one without a name.
    #[must_use]
    pub fn of(queue: Option<&str>, correlation_id: Option<&str>) -> Option<Self> {
        let correlation_id = correlation_id.map(str::to_owned);
        queue
            .filter(|queue| !queue.is_empty())
            .map(|queue| Self { queue: queue.to_owned(), correlation_id })
    }
}

/// Why an event is not known to be out.
#[derive(Debug, thiserror::Error)]
#[error("the event {event} was not published: {reason}")]
pub struct SinkError {
    /// The event's id.
    pub event: String,
    /// What happened.
    pub reason: String,
    /// Whether the same event may go out later.
    pub is_transient: bool,
}

/// Takes events. There are two: `RabbitMQ` and the terminal.
#[async_trait]
pub trait EventSink: Send + Sync {
    /// Publishes an event, and a result to `reply` as well. Returns when the event is safe, or when somebody
    /// who is to have it does not take it; a broker that is away is waited for. May be called again with
    /// the same event: readers drop repeats by the event's id.
    ///
    /// # Errors
    /// When the event is not known to be out.
    async fn publish(&self, event: &Event, reply: Option<&ReplyTo>) -> Result<(), SinkError>;
}
