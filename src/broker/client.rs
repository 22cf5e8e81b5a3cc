//! The other side: what a client publishes. The CLI uses it, and so may any Rust program.

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
    /// The message's identity: publish it again under the same id and it is still one message.
    pub message_id: String,
    /// What the answer will carry.
    pub correlation_id: Option<String>,
    /// The queue that the result goes to, beside the exchange of results.
    pub reply_to: Option<String>,
    /// The trace to continue, as W3C Trace Context.
    pub traceparent: Option<String>,
}

impl Broker {
    /// Publishes a start message, once. The topology must be there:
    /// see [`Broker::declare_topology`].
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
        self.publish(&self.order(inbox, executable, options)?).await
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
        self.publish(&self.order(Inbox::Stop, stop, options)?).await
    }

    /// Forwards a stop message to the mailbox of a segment, once. Only workers may.
    ///
    /// # Errors
    /// [`PublishError::Unroutable`] when the segment has never had an owner.
    pub async fn forward_stop(
        &self,
        segment: u32,
        stop: &StopRequest,
        options: &MessageOptions,
    ) -> Result<(), PublishError> {
        let mut order = self.order(Inbox::Mailbox(segment), stop, options)?;
        order.exchange = self.topology().workers_exchange();
        self.publish(&order).await
    }

    fn order(
        &self,
        inbox: Inbox,
        body: &impl Serialize,
        options: &MessageOptions,
    ) -> Result<OutgoingMessage, PublishError> {
        let exchange = self.topology().jobs_exchange();
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
}
