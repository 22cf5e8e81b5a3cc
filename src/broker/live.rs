//! Live logs: lines for listeners, and messages that say who listens.
//!
//! A worker sends lines of a job only while a client has said, within the last seconds, that it
//! listens to the job. So a log that nobody follows costs the broker nothing.

use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::own_queue::{Message, OwnQueue, Source};
use super::{Broker, BrokerError, OutgoingMessage, PublishError};
use crate::job::{Event, JobId, Listening, LogLines};

/// The media type of both.
const CONTENT_TYPE: &str = "application/json";

/// How many messages with lines the broker keeps for a slow listener. Beyond that, the oldest are
/// dropped.
const MAX_WAITING_LINES: u32 = 10_000;

/// How many messages of listeners the broker keeps for a slow worker. Beyond that, the oldest are
/// dropped.
const MAX_WAITING_LISTENERS: u32 = 1_000;

impl Broker {
    /// Sends lines to listeners. Nothing is kept for others.
    ///
    /// # Errors
    /// As [`Broker::publish`].
    pub async fn publish_lines(&self, lines: &LogLines) -> Result<(), PublishError> {
        let exchange = self.topology().logs_exchange();
        self.publish(&passing(exchange, lines.routing_key(), lines)?).await
    }

    /// Tells every worker that a client listens.
    ///
    /// # Errors
    /// As [`Broker::publish`].
    pub async fn publish_listening(&self, listening: &Listening) -> Result<(), PublishError> {
        let exchange = self.topology().listeners_exchange();
        self.publish(&passing(exchange, String::new(), listening)?).await
    }

    /// Hears who listens, until `shutdown`.
    ///
    /// # Errors
    /// When subscribing fails.
    pub async fn listeners(&self, shutdown: CancellationToken) -> Result<Listeners, BrokerError> {
        let exchange = self.topology().listeners_exchange();
        let sources = vec![Source { exchange, pattern: String::new() }];
        let queue = self.own_queue(sources, MAX_WAITING_LISTENERS, shutdown).await?;
        Ok(Listeners { queue })
    }

    /// Hears the lines of one job as they come, and the results of its runs, until `shutdown`.
    ///
    /// # Errors
    /// When subscribing fails.
    pub async fn follow_log(
        &self,
        id: &JobId,
        shutdown: CancellationToken,
    ) -> Result<LogFollower, BrokerError> {
        let pattern = format!("*.*.{id}");
        let (logs, results) = (self.topology().logs_exchange(), self.topology().results_exchange());
        let sources = [logs, results].map(|exchange| Source { exchange, pattern: pattern.clone() });
        let queue = self.own_queue(sources.into(), MAX_WAITING_LINES, shutdown).await?;
        Ok(LogFollower { queue, results: self.topology().results_exchange() })
    }
}

/// The messages of listeners.
pub struct Listeners {
    queue: OwnQueue,
}

impl Listeners {
    /// The next message of a listener; `None` after the shutdown.
    pub async fn next(&mut self) -> Option<Listening> {
        loop {
            match self.queue.next().await? {
                // Each listener repeats it, so nothing is lost with the connection.
                Err(_) => {}
                Ok(message) => match serde_json::from_slice(&message.body) {
                    Ok(listening) => return Some(listening),
                    Err(error) => tracing::debug!(%error, "skip a listener's message"),
                },
            }
        }
    }
}

/// What a follower hears.
#[derive(Debug)]
pub enum Heard {
    /// Lines.
    Lines(LogLines),
    /// A run has ended.
    Result(Box<Event>),
    /// Something was missed.
    Gap,
}

/// The lines of one job as they come.
pub struct LogFollower {
    queue: OwnQueue,
    results: String,
}

impl LogFollower {
    /// What comes next; `None` after the shutdown.
    pub async fn next(&mut self) -> Option<Heard> {
        Some(match self.queue.next().await? {
            Err(_) => Heard::Gap,
            Ok(message) => heard(&message, &self.results).unwrap_or(Heard::Gap),
        })
    }
}

fn heard(message: &Message, results: &str) -> Option<Heard> {
    if message.exchange == results {
        return serde_json::from_slice(&message.body).ok().map(|e| Heard::Result(Box::new(e)));
    }
    serde_json::from_slice(&message.body).ok().map(Heard::Lines)
}

/// A message that is dropped if no queue takes it.
fn passing(
    exchange: String,
    routing_key: String,
    body: &impl Serialize,
) -> Result<OutgoingMessage, PublishError> {
    let body = serde_json::to_vec(body).map_err(|error| PublishError::Refused {
        target: format!("{exchange:?}"),
        reason: error.to_string(),
    })?;
    let content_type = CONTENT_TYPE.to_owned();
    let body = body.into();
    Ok(OutgoingMessage { exchange, routing_key, body, content_type, ..Default::default() })
}
