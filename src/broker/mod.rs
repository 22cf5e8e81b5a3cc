//! RabbitMQ: topology, consuming, publishing, connections that come back by themselves.
//!
//! [`Broker`] is the connection for work, and the one for locks. From it come [`Consumer`]s (the
//! worker's queues), [`SegmentLock`]s, [`Subscription`]s (events, for clients), [`LogFollower`]s (log lines as they come), and publishing, always confirmed.
//! [`EventSink`] is what the rest of the crate knows of events going out.
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
mod copy;
mod declare;
mod delivery;
mod dial;
mod endpoint;
mod error;
mod events;
mod guarded;
mod inboxes;
mod lapin_error;
mod link;
mod live;
mod lock;
mod own_queue;
mod publisher;
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
pub use delivery::Delivery;
pub use error::{BrokerError, NotAcknowledged, PublishError, SettleError};
pub use events::RabbitSink;
pub use inboxes::Reception;
pub use live::{Heard, Listeners, LogFollower};
pub use lock::{Proof, SegmentLock};
pub use publisher::Until;
pub use reply::ReplyRules;
pub use sink::{EventSink, ReplyTo, SinkError};
pub use subscription::{Binding, Feed, Subscription, SubscriptionError};
pub use topology::{Inbox, RetryStep, Topology};
