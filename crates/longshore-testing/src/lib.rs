//! What the tests of Longshore share.
//!
//! [`hostile`] has what strangers could send, and [`checks`] what must hold for it. With the
//! feature `servers`, a [`scene::Scene`] is a private namespace on the real broker, store and
//! engine. It makes [`worker::Worker`]s, which are the real program, and has their
//! [`events::Events`]. A missing server fails a test. No test is skipped.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

pub mod checks;
pub mod hostile;

#[cfg(feature = "servers")]
pub mod archive;
#[cfg(feature = "servers")]
pub mod bench;
#[cfg(feature = "servers")]
pub mod browser;
#[cfg(feature = "servers")]
pub mod certificates;
#[cfg(feature = "servers")]
pub mod costless_engine;
#[cfg(feature = "servers")]
pub mod engine;
#[cfg(feature = "servers")]
pub mod events;
#[cfg(feature = "servers")]
pub mod figures;
#[cfg(feature = "servers")]
pub mod frames;
#[cfg(feature = "servers")]
pub mod gates;
#[cfg(feature = "servers")]
pub mod http_proxy;
#[cfg(feature = "servers")]
pub mod journal_cases;
#[cfg(feature = "servers")]
pub mod least_rights;
#[cfg(feature = "servers")]
pub mod messages;
#[cfg(feature = "servers")]
pub mod observer;
#[cfg(feature = "servers")]
pub mod own_broker;
#[cfg(feature = "servers")]
pub mod own_cluster;
#[cfg(feature = "servers")]
pub mod own_disk;
#[cfg(feature = "servers")]
pub mod own_store;
#[cfg(feature = "servers")]
pub mod process;
#[cfg(feature = "servers")]
pub mod program;
#[cfg(feature = "servers")]
pub mod proxy;
#[cfg(feature = "servers")]
pub mod rabbit;
#[cfg(feature = "servers")]
pub mod raw_publisher;
#[cfg(feature = "servers")]
pub mod registry;
#[cfg(feature = "servers")]
pub mod s3;
#[cfg(feature = "servers")]
pub mod scene;
#[cfg(feature = "servers")]
pub mod schema;
#[cfg(feature = "servers")]
pub mod second_engine;
#[cfg(feature = "servers")]
pub mod servers;
#[cfg(feature = "servers")]
pub mod store_cases;
#[cfg(feature = "servers")]
pub mod sweep;
#[cfg(feature = "servers")]
pub mod worker;

/// A variable of the tests' own environment.
#[allow(clippy::disallowed_methods, reason = "a test has no settings to receive")]
pub fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// The folder for cargo's output in this profile, such as `target/debug`. A test's own program is
/// in a folder of it.
#[cfg(feature = "servers")]
fn built() -> std::path::PathBuf {
    let own = std::env::current_exe().unwrap();
    own.ancestors().nth(2).unwrap().to_owned()
}

/// The program `longshore` that cargo built together with the calling test or benchmark.
#[cfg(feature = "servers")]
pub fn program() -> std::path::PathBuf {
    built().join("longshore")
}

/// A folder for files that a test needs again the next time.
#[cfg(feature = "servers")]
fn kept() -> std::path::PathBuf {
    built().with_file_name("tmp")
}

/// The folder for what benchmarks measured, such as `target/bench`.
#[cfg(feature = "servers")]
pub fn measured() -> std::path::PathBuf {
    built().with_file_name("bench")
}
