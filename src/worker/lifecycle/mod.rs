//! A worker's life: [`run`] is all of it. [`start_up`] connects and claims a segment, [`worker`]
//! takes messages and drains. In the background run [`live`], for listeners of logs, and
//! [`retention`], which removes old logs.

mod gauges;
mod live;
mod retention;
mod run;
mod start_up;
pub(in crate::worker) mod worker;

pub use run::run;
pub use start_up::WorkerError;
