//! The runner core: fetch → image → script → container → run → collect.
//!
//! [`DockerRunner`] is the recipe; the modules are its components, by the names of their tasks.
//! Not here: queues, the journal, and when a job is tried again.

mod cleanup;
pub mod code;
pub mod container;
mod creation;
pub mod directory;
pub mod docker;
mod docker_runner;
mod exit_note;
mod failure;
mod ground;
mod inventory;
pub mod labels;
mod lease;
mod managed;
mod names;
pub mod orchestrator;
mod outcome;
mod result_file;
pub mod script;
pub mod temp_dir;

#[cfg(test)]
pub(crate) mod recorder;

pub use docker_runner::{DockerRunner, RunObserver};
pub use failure::RunFailure;
pub use ground::Ground;
pub use inventory::FoundDirectory;
#[cfg(test)]
pub(crate) use lease::FIRST_IS_SHORTER_BY;
pub use lease::Uptime;
pub use orchestrator::ContainerOrchestrator;
