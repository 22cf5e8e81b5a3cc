//! The queue side: intake → claim → run → settle; stops; segments; drain.
//!
//! [`recipe`] is the way of a start message from its delivery to settled; [`decide`] has the
//! decisions that it takes, without I/O. [`execute`] is the part that `longshore run` shares. Who owns
//! what stands in [`tenure`]; [`segment`] is the life of one segment, [`adopt`] says who takes which,
//! [`recover`] takes up what its last owner left. Not here: containers (`runner`), what is on the wire
//! (`broker`), what a message means (`job`).

mod account;
mod active;
mod adopt;
mod claim;
mod context;
mod decide;
mod earlier;
mod ending;
mod execute;
mod gate;
mod intake;
#[cfg(test)]
mod life;
mod lifecycle;
mod live;
mod local;
mod outbox;
mod place;
mod recipe;
mod recover;
mod reporter;
mod retention;
mod segment;
mod settle;
mod slots;
mod stop;
mod sweep;
mod tenure;
mod undelivered;
mod validate;

pub use active::ActiveRun;
pub use execute::{Begin, Executed, Keeper, execute};
pub use lifecycle::{WorkerError, run};
pub use local::{LocalError, LocalRun, run_local};
pub use reporter::{Publisher, Reporter};
