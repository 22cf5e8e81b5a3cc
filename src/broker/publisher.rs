//! Publishes, always with a confirm: two awaits, one to send and one until the broker has the
//! message.

use lapin::{BasicProperties, Confirmation};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::bounded::RequestError;
use super::lapin_error::NOT_FOUND;
use super::{Broker, BrokerError, OutgoingMessage, PublishError};
use crate::job::amqp::{properties_of, short};

/// A message in lapin's terms.
pub(super) struct RawMessage<'a> {
    pub(super) exchange: &'a str,
    pub(super) routing_key: &'a str,
    pub(super) properties: BasicProperties,
    pub(super) body: &'a [u8],
    pub(super) mandatory: bool,
}

impl RawMessage<'_> {
    fn target(&self) -> String {
        target(self.exchange, self.routing_key)
    }
}

fn target(exchange: &str, routing_key: &str) -> String {
    match (exchange, routing_key) {
        ("", queue) => format!("the queue {queue:?}"),
        (exchange, key) => format!("{exchange:?} with key {key:?}"),
    }
}

/// When a publication need not be tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// When the broker has confirmed it.
    Confirmed,
    /// When the broker has confirmed or refused it: a bound queue may be full for as long as its
    /// owner wants.
    Answered,
    /// When it has been sent, whether the broker answers or not: a bound queue may also have lost
    /// its quorum. It waits only for a connection.
    Sent,
}

impl Until {
    pub(crate) fn asks_again_after(self, error: &PublishError) -> bool {
        let is_enough = match self {
            Self::Confirmed => false,
            Self::Answered => matches!(error, PublishError::Nack { .. }),
            Self::Sent => {
                matches!(error, PublishError::Nack { .. } | PublishError::TimedOut { .. })
            }
        };
        error.is_transient() && !is_enough
    }
}

impl Broker {
    /// Publishes once, over the connection of the moment.
    ///
    /// # Errors
    /// Only `Ok` means that the broker has the message. See [`PublishError`] for the rest. If it
    /// says "may or may not", a second publication can be a repeat, so give messages an id.
    pub async fn publish(&self, message: &OutgoingMessage) -> Result<(), PublishError> {
        let properties = properties_of(message).map_err(|reason| PublishError::Refused {
            target: target(&message.exchange, &message.routing_key),
            reason,
        })?;
        self.publish_raw(&RawMessage {
            exchange: &message.exchange,
            routing_key: &message.routing_key,
            properties,
            body: &message.body,
            mandatory: message.mandatory,
        })
        .await
    }

    /// Publishes with a back-off until the broker's answer is enough, or `give_up` is cancelled. A
    /// missing exchange is declared.
    ///
    /// # Errors
    /// Errors that time does not fix, errors that [`Until`] accepts, and
    /// [`PublishError::Cancelled`].
    pub async fn publish_until(
        &self,
        message: &OutgoingMessage,
        until: Until,
        give_up: &CancellationToken,
    ) -> Result<(), PublishError> {
        let cancelled =
            || PublishError::Cancelled { target: target(&message.exchange, &message.routing_key) };
        let attempts = async {
            let mut pauses = self.back_off();
            loop {
                match self.publish(message).await {
                    Err(error) if until.asks_again_after(&error) => {
                        warn!(%error, "could not publish; trying again");
                        self.pause(pauses.next()).await.map_err(|_| cancelled())?;
                        if let PublishError::NoExchange { .. } = error {
                            self.declare_or_warn().await;
                        }
                    }
                    done => return done,
                }
            }
        };
        tokio::select! {
            result = attempts => result,
            () = give_up.cancelled() => Err(cancelled()),
        }
    }

    pub(super) async fn publish_raw(&self, message: &RawMessage<'_>) -> Result<(), PublishError> {
        let target = || message.target();
        let refused = |reason| PublishError::Refused { target: target(), reason };
        let exchange = short("name of the exchange", message.exchange).map_err(refused)?;
        let routing_key = short("routing key", message.routing_key).map_err(refused)?;
        let after = self.inner.confirm_timeout;
        if self.blocked().is_some() {
            return Err(PublishError::Blocked { target: target() });
        }
        let publishing = async {
            let mut channel = self.inner.publishing.get().await.map_err(|error| match error {
                BrokerError::NotConnected => PublishError::NotConnected { target: target() },
                error => PublishError::Interrupted { target: target(), reason: error.to_string() },
            })?;
            channel.unconfirmed = true;
            let content = (message.properties.clone(), message.body);
            let way = (exchange, routing_key);
            let published = channel.channel.publish(after, way, message.mandatory, content).await;
            let confirmation = published.map_err(|error| judge_error(&error, target()))?;
            channel.unconfirmed = false;
            judge(confirmation, target())
        };
        // The pool of channels may be the slow part.
        let timed_out = |_| match self.blocked() {
            Some(_) => PublishError::Blocked { target: target() },
            None => PublishError::TimedOut { target: target(), after },
        };
        tokio::time::timeout(after, Box::pin(publishing)).await.map_err(timed_out)?
    }
}

fn judge(confirmation: Confirmation, target: String) -> Result<(), PublishError> {
    match confirmation {
        Confirmation::Ack(None) => Ok(()),
        Confirmation::Ack(Some(message)) => {
            Err(PublishError::Unroutable { target, reason: message.reply_text.to_string() })
        }
        Confirmation::Nack(_) => Err(PublishError::Nack { target }),
        Confirmation::NotRequested => Err(PublishError::Interrupted {
            target,
            reason: "the channel does not confirm".to_owned(),
        }),
    }
}

/// If the broker itself ended the channel, the next attempt would fail in the same way. Anything
/// else is the network.
fn judge_error(error: &RequestError, target: String) -> PublishError {
    let reason = error.to_string();
    match error {
        RequestError::Failed(_) if error.reply_code() == Some(NOT_FOUND) => {
            PublishError::NoExchange { target, reason }
        }
        RequestError::Failed(refusal) if refusal.is_amqp_soft_error() => {
            PublishError::Refused { target, reason }
        }
        RequestError::Failed(_) | RequestError::Lost => {
            PublishError::Interrupted { target, reason }
        }
        RequestError::NoAnswer(after) => PublishError::TimedOut { target, after: *after },
        RequestError::Blocked => PublishError::Blocked { target },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_clean_ack_counts_as_published() {
        let outcome = |confirmation| judge(confirmation, "t".to_owned());
        assert!(outcome(Confirmation::Ack(None)).is_ok());
        assert!(matches!(outcome(Confirmation::Nack(None)), Err(PublishError::Nack { .. })));
        let unconfirmed = outcome(Confirmation::NotRequested).unwrap_err();
        assert!(unconfirmed.is_transient());
    }

    #[test]
    fn what_the_broker_refuses_is_not_tried_again_and_what_the_network_broke_is() {
        use lapin::ErrorKind;
        use lapin::protocol::AMQPError;
        let closed = |code| {
            let error = AMQPError::from_id(code, "said the broker".into()).unwrap();
            let error = lapin::Error::from(ErrorKind::ProtocolError(error));
            judge_error(&error.into(), "t".to_owned())
        };
        assert!(matches!(closed(404), PublishError::NoExchange { .. }));
        assert!(!closed(406).is_transient());
        assert!(!closed(403).is_transient());
        assert!(closed(320).is_transient(), "a broker that shuts down comes back");
        let heartbeat = lapin::Error::from(ErrorKind::MissingHeartbeatError);
        assert!(judge_error(&heartbeat.into(), "t".to_owned()).is_transient());
    }
}
