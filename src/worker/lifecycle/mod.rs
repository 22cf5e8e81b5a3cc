//! A worker's life: [`run`] is the whole of it. [`start_up`] connects and claims a segment, [`worker`] takes
//! messages and drains. Beside it run [`live`], for those who listen to logs, and [`retention`], which
//! removes old ones.

mod live;
mod retention;
mod run;
mod start_up;
mod worker;

pub use run::run;
pub use start_up::WorkerError;
