//! Publishes events over a message broker.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::message_broker::MessageBroker;
use super::publisher::Until;
use super::{
    EventSink, HeaderValue, OutgoingMessage, PublishError, ReplyTo, SinkError, TRACEPARENT_HEADER,
};
use crate::job::Event;

/// The media type of an event.
const CONTENT_TYPE: &str = "application/cloudevents+json";

/// The pause between two warnings that the broker does not confirm events.
const WARN_EVERY: Duration = Duration::from_secs(60);

/// Publishes events to the exchanges of status and results.
pub struct BrokerSink {
    broker: Arc<dyn MessageBroker>,
    give_up: CancellationToken,
    unconfirmed: Mutex<Unconfirmed>,
}

/// How many events the broker has not confirmed since the last warning.
#[derive(Default)]
struct Unconfirmed {
    events: u64,
    warned_at: Option<Instant>,
}

impl BrokerSink {
    /// A sink over `broker`. `give_up` ends waiting for a broker that is away.
    #[must_use]
    pub fn new(broker: Arc<dyn MessageBroker>, give_up: CancellationToken) -> Self {
        Self { broker, give_up, unconfirmed: Mutex::default() }
    }

    async fn send(&self, event: &Event, reply: Option<&ReplyTo>) -> Result<(), PublishError> {
        let topology = self.broker.topology();
        let exchange = if event.is_result() {
            topology.results_exchange()
        } else {
            topology.status_exchange()
        };
        let message = message(event, exchange)?;
        let published = if event.is_result() {
            self.broker.publish_until(&message, Until::Sent, &self.give_up).await
        } else {
            self.broker.publish_until(&message, Until::Answered, &self.give_up).await
        };
        if let Err(error @ (PublishError::Nack { .. } | PublishError::TimedOut { .. })) = &published
        {
            self.warn(error, &message.exchange);
        }
        published?;
        let Some(reply) = reply.filter(|_| event.is_result()) else {
            return Ok(());
        };
        // Only here does a publisher choose where a worker writes.
        if let Some(problem) = self.broker.reply_rules().problem(&reply.queue) {
            warn!(event.id, problem, "a result was not sent to the queue that its start names");
            return Ok(());
        }
        match self.broker.publish_until(&answer(message, reply), Until::Sent, &self.give_up).await {
            Err(error @ (PublishError::Unroutable { .. } | PublishError::Refused { .. })) => {
                info!(%error, event.id, "no longer sent an answer, because its reply queue is gone");
                Ok(())
            }
            // The exchange of results has it, so nobody else must get it again because of this
            // queue.
            Err(error @ PublishError::Nack { .. }) => {
                warn!(%error, event.id, "dropped an answer, because its reply queue is full");
                Ok(())
            }
            done => done,
        }
    }

    /// Warns from time to time that the broker does not confirm events, and names the likely cause.
    fn warn(&self, error: &PublishError, exchange: &str) {
        let mut unconfirmed = self.unconfirmed.lock();
        unconfirmed.events += 1;
        if unconfirmed.warned_at.is_some_and(|at| at.elapsed() < WARN_EVERY) {
            return;
        }
        let events = std::mem::take(&mut unconfirmed.events);
        unconfirmed.warned_at = Some(Instant::now());
        warn!(
            %error, events,
            "RabbitMQ does not confirm events: a queue that is bound to {exchange} is probably full and \
             rejects what comes (x-overflow: reject-publish), or has lost its quorum; its owner must empty \
             or unbind it"
        );
    }
}

#[async_trait]
impl EventSink for BrokerSink {
    async fn publish(&self, event: &Event, reply: Option<&ReplyTo>) -> Result<(), SinkError> {
        self.send(event, reply).await.map_err(|error| SinkError {
            event: event.id.clone(),
            reason: error.to_string(),
            is_transient: error.is_transient(),
        })
    }
}

fn message(event: &Event, exchange: String) -> Result<OutgoingMessage, PublishError> {
    let routing_key = event.routing_key().as_str().to_owned();
    let body = serde_json::to_vec(event).map_err(|error| PublishError::Refused {
        target: format!("{exchange:?}"),
        reason: error.to_string(),
    })?;
    let trace = event.traceparent.as_ref();
    let headers: BTreeMap<_, _> = trace
        .map(|trace| (TRACEPARENT_HEADER.to_owned(), HeaderValue::Text(trace.clone())))
        .into_iter()
        .collect();
    Ok(OutgoingMessage {
        exchange,
        routing_key,
        body: body.into(),
        content_type: CONTENT_TYPE.to_owned(),
        message_id: Some(event.id.clone()),
        headers,
        persistent: true,
        ..Default::default()
    })
}

/// The same event, to the publisher that asked for it.
fn answer(event: OutgoingMessage, reply: &ReplyTo) -> OutgoingMessage {
    OutgoingMessage {
        exchange: String::new(),
        routing_key: reply.queue.clone(),
        correlation_id: reply.correlation_id.clone(),
        mandatory: true,
        ..event
    }
}
