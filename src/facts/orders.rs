//! Starts and stops, as clients send them.

use std::time::Duration;

use serde::Serialize;

use super::FactsError;
use super::fleet::{self, Obstacle};
use crate::broker::{Broker, MessageOptions};
use crate::job::{Executable, RunId, StopRequest, parse_stop, refusal_id};

/// How long a start that is published already waits for a look at the queues.
const LOOK_TIMEOUT: Duration = Duration::from_secs(3);

/// The pause before a second look, where the first one shows no worker with room.
const SECOND_LOOK: Duration = Duration::from_millis(300);

/// A start to publish, and how to distinguish its events from those of other messages.
pub struct Start {
    /// The message. It names its run.
    pub executable: Executable,
    /// Its identity.
    pub message_id: String,
    /// The id of the event that would refuse this message.
    pub refusal: String,
    /// The trace of every event about it.
    pub trace: String,
}

impl Start {
    /// A start of a new run, unless the message names one.
    ///
    /// # Errors
    /// When the message cannot be written as JSON.
    pub fn new(mut executable: Executable) -> Result<Self, FactsError> {
        let message_id = uuid::Uuid::now_v7().to_string();
        // A run that is named here can be distinguished from others in the events.
        let derived = RunId::derived(&executable.id, &message_id);
        executable.run_id.get_or_insert(derived);
        let body = serde_json::to_vec(&executable)
            .map_err(|error| FactsError::Refused(error.to_string()))?;
        let refusal = refusal_id(Some(&message_id), &body);
        Ok(Self { executable, message_id, refusal, trace: new_trace() })
    }

    /// Publishes it once.
    ///
    /// # Errors
    /// When the broker does not take it.
    pub async fn publish(&self, broker: &Broker) -> Result<(), FactsError> {
        let options = MessageOptions {
            message_id: self.message_id.clone(),
            traceparent: Some(self.trace.clone()),
            ..MessageOptions::default()
        };
        Ok(broker.publish_start(&self.executable, &options).await?)
    }
}

/// A new trace for a message, as W3C Trace Context. Every event about the message carries it, and
/// nobody else can know it before.
fn new_trace() -> String {
    let id = || uuid::Uuid::new_v4().simple().to_string();
    format!("00-{}-{}-01", id(), &id()[..16])
}

/// A stop, checked as a worker will check it.
///
/// # Errors
/// A sentence about what is wrong with it.
pub fn checked_stop(request: &impl Serialize) -> Result<StopRequest, FactsError> {
    let wrong = |error: String| FactsError::Refused(format!("the stop message is wrong: {error}"));
    let body = serde_json::to_vec(request).map_err(|error| wrong(error.to_string()))?;
    parse_stop(&body).map_err(|error| wrong(error.to_string()))
}

/// Publishes a stop once. Returns its identity.
///
/// # Errors
/// When the broker does not take it.
pub async fn publish_stop(broker: &Broker, request: &StopRequest) -> Result<String, FactsError> {
    let message_id = uuid::Uuid::now_v7().to_string();
    let options = MessageOptions { message_id: message_id.clone(), ..MessageOptions::default() };
    broker.publish_stop(request, &options).await?;
    Ok(message_id)
}

/// Why a start that was published just now waits, as far as its publisher may know. A broker that
/// does not answer soon is not waited for: the start is safe.
pub async fn obstacle(broker: &Broker, long_running: bool) -> Option<Obstacle> {
    let looking = async {
        let first = fleet::look(broker).await.ok()?.obstacle(long_running)?;
        if !matches!(first, Obstacle::WorkersFull { .. }) {
            return Some(first);
        }
        // A worker that takes a message takes no other one meanwhile.
        tokio::time::sleep(SECOND_LOOK).await;
        fleet::look(broker).await.ok()?.obstacle(long_running)
    };
    tokio::time::timeout(LOOK_TIMEOUT, Box::pin(looking)).await.ok()?
}
