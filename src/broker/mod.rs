//! RabbitMQ: topology, consuming, publishing, connections that are rebuilt.
//!
//! [`Broker`] is the connection for work, and the one for locks. From it come [`Consumer`]s (the
//! worker's queues), [`SegmentLock`]s, [`Subscription`]s (events, for clients), [`LogFollower`]s
//! (log lines as they come), and publishing, always confirmed. The rest of the crate publishes
//! events through [`EventSink`], and a worker knows a broker only as [`MessageBroker`].
//!
//! Only here: lapin and deadpool. Not here: what a message means, when a delivery is settled,
//! which verdict leads to which queue.

mod backlog;
mod bounded;
mod channel;
mod channel_pool;
mod client;
mod connection;
mod consumer;
mod dead_letters;
mod declare;
mod delivery;
mod dial;
mod dial_any;
mod endpoint;
mod error;
mod events;
mod guarded;
mod hosts;
mod inboxes;
mod lapin_error;
mod link;
mod live;
mod lock;
mod message_broker;
mod own_queue;
mod pauses;
mod publisher;
mod rabbit;
mod reply;
mod sink;
mod subscription;
mod topology;

pub use crate::job::amqp::{
    ATTEMPT_HEADER, FIRST_TRY_HEADER, HeaderValue, MessageProperties, OutgoingMessage,
    QUEUE_HEADER, REASON_HEADER, Sender, TRACEPARENT_HEADER, Unreadable,
};
pub use backlog::Backlog;
pub use client::MessageOptions;
pub use connection::Broker;
pub use consumer::{Consumer, Flow};
pub use dead_letters::{DeadLetter, DeadLetters};
pub use delivery::Delivery;
#[cfg(test)]
pub(crate) use delivery::{Settle, Settlement};
pub use error::{BrokerError, NotAcknowledged, PublishError, SettleError};
pub use events::BrokerSink;
pub use inboxes::Reception;
pub use live::{Heard, Listeners, LogFollower};
pub use lock::{Proof, SegmentLock};
pub use message_broker::{MessageBroker, MessageConsumer, OwnershipLock};
pub use publisher::Until;
pub use reply::ReplyRules;
pub use sink::{EventSink, ReplyTo, SinkError};
pub use subscription::{Binding, Feed, Subscription, SubscriptionError};
#[cfg(test)]
pub(crate) use topology::{Argument, QueueSpec};
pub use topology::{Inbox, RetryStep, Topology};
