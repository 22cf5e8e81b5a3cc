//! What several tests use.
//!
//! A [`scene::Scene`] is a namespace of its own on the real broker, store and engine; from it come
//! [`worker::Worker`]s, which are the real program, and [`events::Events`], which is all that they
//! say. A server that is missing fails a test; nothing is ever skipped.

pub(crate) mod archive;
pub(crate) mod bench;
pub(crate) mod certificates;
pub(crate) mod engine;
pub(crate) mod events;
pub(crate) mod frames;
pub(crate) mod gates;
pub(crate) mod least_rights;
pub(crate) mod messages;
pub(crate) mod own_broker;
pub(crate) mod own_store;
pub(crate) mod program;
pub(crate) mod proxy;
pub(crate) mod rabbit;
pub(crate) mod raw_publisher;
pub(crate) mod registry;
pub(crate) mod s3;
pub(crate) mod scene;
pub(crate) mod schema;
pub(crate) mod second_engine;
pub(crate) mod servers;
pub(crate) mod sweep;
pub(crate) mod worker;

/// A variable of the tests' own environment.
#[allow(clippy::disallowed_methods, reason = "a test has no settings to receive")]
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
