//! The client side: publishes start and stop messages. The CLI uses it, and other Rust programs
//! can, too.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;

use super::{Broker, HeaderValue, Inbox, OutgoingMessage, PublishError, TRACEPARENT_HEADER};
use crate::job::{Executable, StopRequest};

/// The media type of a start or stop message.
const CONTENT_TYPE: &str = "application/json";

/// What a start or stop message says about itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MessageOptions {
    /// The message's identity. A message that is published again under the same id counts as one.
    pub message_id: String,
    /// The correlation id of the answer.
    pub correlation_id: Option<String>,
    /// A queue that also gets the result, in addition to the exchange of results.
    pub reply_to: Option<String>,
    /// The trace to continue, as W3C Trace Context.
    pub traceparent: Option<String>,
}

impl Broker {
    /// Publishes a start message, once. The topology must exist: see [`Broker::declare_topology`].
    ///
    /// # Errors
    /// [`PublishError::Unroutable`] or [`PublishError::NoExchange`] when nobody has declared the
    /// queues of this namespace.
    pub async fn publish_start(
        &self,
        executable: &Executable,
        options: &MessageOptions,
    ) -> Result<(), PublishError> {
        let inbox = Inbox::of_start(executable.is_long_running);
        let exchange = self.topology().jobs_exchange();
        self.publish(&order(exchange, inbox, executable, options)?).await
    }

    /// Publishes a stop message, once.
    ///
    /// # Errors
    /// As [`Broker::publish_start`].
    pub async fn publish_stop(
        &self,
        stop: &StopRequest,
        options: &MessageOptions,
    ) -> Result<(), PublishError> {
        let exchange = self.topology().jobs_exchange();
        self.publish(&order(exchange, Inbox::Stop, stop, options)?).await
    }
}

/// A start or stop message for an inbox, by way of `exchange`.
pub(super) fn order(
    exchange: String,
    inbox: Inbox,
    body: &impl Serialize,
    options: &MessageOptions,
) -> Result<OutgoingMessage, PublishError> {
    let body = serde_json::to_vec(body).map_err(|error| PublishError::Refused {
        target: format!("{exchange:?}"),
        reason: error.to_string(),
    })?;
    let trace = options.traceparent.iter();
    let headers: BTreeMap<_, _> = trace
        .map(|trace| (TRACEPARENT_HEADER.to_owned(), HeaderValue::Text(trace.clone())))
        .collect();
    Ok(OutgoingMessage {
        exchange,
        routing_key: inbox.routing_key(),
        body: body.into(),
        content_type: CONTENT_TYPE.to_owned(),
        message_id: Some(options.message_id.clone()),
        correlation_id: options.correlation_id.clone(),
        reply_to: options.reply_to.clone(),
        timestamp: Some(Timestamp::now()),
        headers,
        persistent: true,
        mandatory: true,
    })
}
