//! The queue side: intake → claim → run → settle; stops; segments; drain.
//!
//! [`recipe`] is the way of a start message from its delivery to settled. Its parts are in rooms:
//! [`message`], [`run`], and [`segment`] for runs of other workers. [`decide`] has the decisions,
//! without I/O. [`ownership`] knows who owns what. [`lifecycle`] is the worker from its start to
//! its drain. Not here: containers (`runner`), what is on the wire (`broker`), what a message means
//! (`job`).

mod active;
mod context;
mod decide;
mod drain;
mod gate;
mod lifecycle;
mod message;
mod ownership;
mod recipe;
mod run;
mod segment;
#[cfg(test)]
mod simulation;
mod slots;

pub use active::ActiveRun;
pub(crate) use decide::{Standing, ends, standing};
pub use lifecycle::{WorkerError, run};
pub use run::execute::{Begin, Executed, Keeper, execute};
pub use run::left::{
    LeftRun, LeftRuns, Life, OWN_PREFIX, is_of_a_local_run, life_of, look_for_left_runs,
    remove_left_run,
};
pub use run::local::{LOCAL_STATES, LocalError, LocalRun, run_local};
pub use run::publisher::Publisher;
pub use run::reporter::Reporter;
