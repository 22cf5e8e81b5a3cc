//! What a worker counts and measures, and its text for Prometheus.
//!
//! Only here: the crate `prometheus`. Other rooms get [`Metrics`] handed down and call one method
//! where something happens. What can be read at any time (slots, segments, bytes) is not kept up to
//! date: a source reads it when somebody asks, see [`Metrics::at_scrape`]. Nothing in this room
//! reads a clock, so it can be used under simulation. No label is a job's id: [`table`] says which
//! labels there are, and each has few values.

mod counted;
pub mod doc;
mod families;
mod gauges;
pub mod table;
#[cfg(test)]
mod tests;

pub use counted::{Metrics, Stage, StateOutcome, StoreOutcome};
pub use gauges::Gauges;
