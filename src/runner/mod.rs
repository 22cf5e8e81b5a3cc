//! The runner core: fetch → image → script → container → run → collect.
//!
//! [`DockerRunner`] is the recipe. The modules are its parts, named after their tasks. Not here:
//! queues, the journal, and when a job is tried again.

mod artifacts;
mod beside;
mod cache;
mod cleanup;
pub mod code;
pub mod container;
mod creation;
pub mod directory;
pub mod docker;
mod docker_runner;
mod engine;
mod engine_runner;
mod exit_note;
mod failure;
mod ground;
mod hash;
mod inventory;
mod isolation;
mod job_runner;
pub mod labels;
mod lease;
mod managed;
mod names;
mod observer;
mod one_thread;
pub mod orchestrator;
mod outcome;
pub mod packages;
mod progress;
mod queries;
mod rehearsal;
mod result_file;
mod retention;
pub mod script;
mod site;
mod state;
mod stopping;
mod sweep;
mod telling;
pub mod temp_dir;
mod unused_images;
pub mod warm;

#[cfg(test)]
pub(crate) mod recorder;

pub use directory::FoundDirectory;
pub use docker_runner::DockerRunner;
pub use engine::connect;
pub use failure::RunFailure;
pub use ground::Ground;
pub(crate) use hash::sha256_of;
pub use inventory::remove_namespace;
pub use isolation::{Isolation, Seccomp};
pub use job_runner::JobRunner;
#[cfg(test)]
pub(crate) use lease::FIRST_IS_SHORTER_BY;
pub use lease::Uptime;
pub use observer::RunObserver;
pub use one_thread::OneThread;
pub use orchestrator::ContainerOrchestrator;
pub use progress::{PULLS, Progress};
pub use rehearsal::RehearsalError;
pub use retention::{ResultRetention, SweptResults, sweep_results};
pub use site::Site;
pub use unused_images::unused_images;
