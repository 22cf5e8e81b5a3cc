//! Errors, named by what a caller does about them.

use std::time::Duration;

use super::bounded::RequestError;
use crate::tls::{Names, TlsProblem};

/// The names of the settings of a connection to the broker.
const NAMES: Names = Names {
    address: "AMQP_URL",
    with_tls: "amqps://",
    ca: "AMQP_CA_FILE",
    identity: Some("AMQP_CLIENT_CERT_FILE and AMQP_CLIENT_KEY_FILE"),
};

/// Why something other than publishing failed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum BrokerError {
    /// The URL cannot be understood. Only a new setting helps.
    #[error("AMQP_URL {reason}; it looks like amqp://user:password@host:5672/vhost")]
    InvalidUrl {
        /// What is wrong with it. It never has the URL itself, which has the password.
        reason: String,
    },
    /// No server answers there, or not like a broker.
    #[error("cannot reach RabbitMQ at {endpoint}: {reason}")]
    Unreachable {
        /// Where the broker should be, without the password.
        endpoint: String,
        /// What happened.
        reason: String,
    },
    /// The server answers, but no TLS connection can be made.
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
    /// The broker refuses our login.
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
    /// None of several hosts can be used.
    #[error("no host of RabbitMQ can be used: {}", told(.problems))]
    NoHost {
        /// Why, one for each host.
        problems: Vec<BrokerError>,
    },
    /// There is no connection at the moment.
    #[error("not connected to RabbitMQ")]
    NotConnected,
    /// Something with our name exists on the broker, with other arguments.
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
    /// Whether the same operation may go well on the next connection.
    pub(super) fn may_pass(&self) -> bool {
        match self {
            Self::NotConnected | Self::Failed { .. } | Self::Unreachable { .. } => true,
            Self::NoHost { problems } => problems.iter().any(Self::may_pass),
            Self::InvalidUrl { .. }
            | Self::Tls { .. }
            | Self::TlsFiles(_)
            | Self::Refused { .. }
            | Self::Mismatch { .. }
            | Self::Cancelled => false,
        }
    }

    /// What may help, as a separate sentence, if a problem with TLS is the cause.
    #[must_use]
    pub fn remedy(&self) -> Option<String> {
        match self {
            Self::Tls { problem, .. } => Some(problem.remedy(&NAMES)),
            Self::NoHost { problems } => problems.iter().find_map(Self::remedy),
            _ => None,
        }
    }

    /// Whether no server could be reached at all.
    #[must_use]
    pub fn is_unreachable(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::NotConnected => true,
            Self::NoHost { problems } => problems.iter().all(Self::is_unreachable),
            _ => false,
        }
    }

    /// Says which of several URLs this is about.
    pub(super) fn of_url(self, number: usize, of: usize) -> Self {
        match self {
            Self::InvalidUrl { reason } if of > 1 => {
                Self::InvalidUrl { reason: format!("has {of} URLs, and number {number} {reason}") }
            }
            error => error,
        }
    }

    /// One error of several, at least one, about the hosts of a broker.
    pub(super) fn of_hosts(mut problems: Vec<Self>) -> Self {
        match (problems.len(), problems.pop()) {
            (1, Some(one)) => one,
            (_, last) => {
                problems.extend(last);
                Self::NoHost { problems }
            }
        }
    }
}

/// Several errors in one sentence.
fn told(problems: &[BrokerError]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// Why it is not certain that the broker has a message.
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
    /// The broker said that not every queue took the message. One may be full.
    #[error("RabbitMQ did not accept the message to {target}: a queue that it leads to rejects it")]
    Nack {
        /// Where the message was going.
        target: String,
    },
    /// The exchange does not exist.
    #[error("there is no exchange for {target}: {reason}")]
    NoExchange {
        /// Where the message was going.
        target: String,
        /// What the broker said.
        reason: String,
    },
    /// The message was mandatory, and no queue is bound for it.
    #[error("no queue takes the message to {target}: {reason}")]
    Unroutable {
        /// Where the message was going.
        target: String,
        /// What the broker said.
        reason: String,
    },
    /// The message can never be published: it is too large, not allowed, or cannot be written as
    /// AMQP.
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

/// A delivery could not be acknowledged or given back, because its channel is closed. The broker
/// will deliver the message again, here or elsewhere.
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
    /// The copy could not be published. The caller still holds the delivery: requeue it.
    #[error("the copy of the delivery was not published: {0}")]
    Copy(#[source] PublishError),
    /// The delivery was lost with its channel. The broker will deliver it again.
    #[error(transparent)]
    NotAcknowledged(#[from] NotAcknowledged),
}

/// Shortens to `BrokerError::Failed`.
pub(super) fn failed(action: impl Into<String>) -> impl FnOnce(RequestError) -> BrokerError {
    move |error| BrokerError::Failed { action: action.into(), reason: error.to_string() }
}
