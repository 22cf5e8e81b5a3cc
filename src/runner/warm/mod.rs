//! Containers that are started before there is a job for them.
//!
//! A terminating run that asks for nothing special takes one instead of waiting for the engine. Such a
//! container has the jobs' own profile, limits and network, its own user, and a directory of its own, bound
//! to both places where a job's code may be. In it the launcher is loaded and waits; the helper
//! (`crates/longshore-init`) waits for the worker. When a job comes:
//!
//! 1. a file beside the run's directory notes which container it gets, with all that its labels would say
//! 2. the container gets the run's name, which fails if another one has it
//! 3. the code, the config and the environment come into the container's directory, which then takes the
//!    place of the run's directory
//! 4. the file `go` is written, and the helper told
//!
//! Up to the last step the container can be thrown away, and the attempt has not begun. After it, the run is
//! like any other; only its end is heard from the helper, before the engine has tidied up. Each container
//! runs one job.

mod files;
mod handover;
mod left_over;
mod outputs;
mod owner;
mod plan;
mod pool;
mod slot;
mod stand_in;

pub(super) use outputs::until;
pub(super) use pool::WarmPool;
pub(super) use slot::Done;
pub(super) use stand_in::{StandIn, begun_at};
pub use stand_in::{Warm, kind_of};
