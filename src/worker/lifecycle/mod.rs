//! A worker's life: [`start_up`] connects, claims a segment, takes messages and drains. Beside it run
//! [`live`], for those who listen to logs, and [`retention`], which removes old ones.

mod live;
mod retention;
mod start_up;

pub use start_up::{WorkerError, run};
