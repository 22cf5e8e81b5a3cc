//! Errors, named by what a caller does about them.

use std::time::Duration;

use super::bounded::RequestError;
use crate::tls::{Names, TlsProblem};

/// What the settings of a connection to the broker are called.
const NAMES: Names = Names {
    address: "AMQP_URL",
    with_tls: "amqps://",
    ca: "AMQP_CA_FILE",
    identity: Some("AMQP_CLIENT_CERT_FILE and AMQP_CLIENT_KEY_FILE"),
};

/// Why something other than publishing failed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum BrokerError {
    /// The URL cannot be understood. Nothing but a new setting helps.
    #[error("AMQP_URL {reason}; it looks like amqp://user:password@host:5672/vhost")]
    InvalidUrl {
        /// What is wrong with it. Never holds the URL itself, for the password is in it.
        reason: String,
    },
    /// Nobody answers there, or not as a broker would.
    #[error("cannot reach RabbitMQ at {endpoint}: {reason}")]
    Unreachable {
        /// Where the broker should be, without the password.
        endpoint: String,
        /// What happened.
        reason: String,
    },
    /// There is somebody, but no TLS connection comes about.
    #[error("no TLS connection to RabbitMQ at {endpoint}: {problem}")]
    Tls {
        /// Where the broker is, without the password.
        endpoint: String,
        /// What is wrong.
        problem: TlsProblem,
    },
    /// The files of a TLS connection cannot be used at the moment.
    #[error(transparent)]
    TlsFiles(#[from] crate::tls::TlsFilesError),
    /// The broker does not let us in.
    #[error(
        "RabbitMQ at {endpoint} refused the connection: {reason}; \
         check the user, the password and the virtual host in AMQP_URL"
    )]
    Refused {
        /// Where the broker is, without the password.
        endpoint: String,
        /// What it said.
        reason: String,
    },
    /// There is no connection at the moment.
    #[error("not connected to RabbitMQ")]
    NotConnected,
    /// Something of our name is on the broker already, and it is of another shape.
    #[error(
        "{object} exists already and differs from what this version declares: {reason}; \
         empty and delete it, or choose another AMQP_NAMESPACE"
    )]
    Mismatch {
        /// What it is, such as `queue "longshore.stop"`.
        object: String,
        /// What the broker said.
        reason: String,
    },
    /// An operation failed.
    #[error("{action} failed: {reason}")]
    Failed {
        /// What was tried.
        action: String,
        /// What happened.
        reason: String,
    },
    /// The caller's shutdown came first.
    #[error("shut down before RabbitMQ could be reached")]
    Cancelled,
}

impl BrokerError {
    /// What may help, as a sentence of its own, where that depends on what went wrong with TLS.
    #[must_use]
    pub fn mend(&self) -> Option<String> {
        match self {
            Self::Tls { problem, .. } => Some(problem.mend(&NAMES)),
            _ => None,
        }
    }
}

/// Why a message is not known to be with the broker.
#[derive(Debug, Clone, thiserror::Error)]
pub enum PublishError {
    /// There is no connection at the moment.
    #[error("cannot publish to {target}: not connected to RabbitMQ")]
    NotConnected {
        /// Where the message was going.
        target: String,
    },
    /// Connection or channel went away before the confirm: the message may or may not be there.
    #[error("publishing to {target} was interrupted: {reason}")]
    Interrupted {
        /// Where the message was going.
        target: String,
        /// What happened.
        reason: String,
    },
    /// The broker is short of memory or disk and reads nothing from us: the message may or may not
    /// be there.
    #[error(
        "cannot publish to {target}: RabbitMQ is short of memory or disk and takes no messages for now"
    )]
    Blocked {
        /// Where the message was going.
        target: String,
    },
    /// No confirm in time: the message may or may not be there.
    #[error("RabbitMQ did not confirm the message to {target} within {} s", after.as_secs_f64())]
    TimedOut {
        /// Where the message was going.
        target: String,
        /// How long was waited.
        after: Duration,
    },
    /// The broker said that not every queue took the message; one may be full.
    #[error("RabbitMQ did not accept the message to {target}: a queue that it leads to rejects it")]
    Nack {
        /// Where the message was going.
        target: String,
    },
    /// The exchange is not there.
    #[error("there is no exchange for {target}: {reason}")]
    NoExchange {
        /// Where the message was going.
        target: String,
        /// What the broker said.
        reason: String,
    },
    /// The message was mandatory, and no queue is bound that would take it.
    #[error("no queue takes the message to {target}: {reason}")]
    Unroutable {
        /// Where the message was going.
        target: String,
        /// What the broker said.
        reason: String,
    },
    /// The message can never be published: too large, not allowed, or not to be written as AMQP.
    #[error("the message to {target} is refused: {reason}")]
    Refused {
        /// Where the message was going.
        target: String,
        /// Why.
        reason: String,
    },
    /// The caller's shutdown came before the confirm.
    #[error("shut down before the message to {target} was confirmed")]
    Cancelled {
        /// Where the message was going.
        target: String,
    },
}

impl PublishError {
    /// Whether the same message may go through later.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::NotConnected { .. }
            | Self::Interrupted { .. }
            | Self::Blocked { .. }
            | Self::TimedOut { .. }
            | Self::Nack { .. }
            | Self::NoExchange { .. } => true,
            Self::Unroutable { .. } | Self::Refused { .. } | Self::Cancelled { .. } => false,
        }
    }
}

/// A delivery could not be acknowledged or given back, for its channel is gone. The broker will
/// deliver the message again, here or elsewhere.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the delivery from {queue:?} was not acknowledged and will be delivered again: {reason}")]
pub struct NotAcknowledged {
    /// The queue that it came from.
    pub queue: String,
    /// What happened.
    pub reason: String,
}

/// Why a delivery was not moved to a retry queue or to the dead letters.
#[derive(Debug, thiserror::Error)]
pub enum SettleError {
    /// The copy could not be published. The delivery is still the caller's: requeue it.
    #[error("the copy of the delivery was not published: {0}")]
    Copy(#[source] PublishError),
    /// The delivery is gone with its channel; the broker will deliver it again.
    #[error(transparent)]
    NotAcknowledged(#[from] NotAcknowledged),
}

/// Shortens to `BrokerError::Failed`.
pub(super) fn failed(action: impl Into<String>) -> impl FnOnce(RequestError) -> BrokerError {
    move |error| BrokerError::Failed { action: action.into(), reason: error.to_string() }
}
