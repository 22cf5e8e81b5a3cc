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
mod observer;
pub mod orchestrator;
mod outcome;
mod queries;
mod result_file;
pub mod script;
mod site;
pub mod temp_dir;

#[cfg(test)]
pub(crate) mod recorder;

pub use directory::FoundDirectory;
pub use docker_runner::DockerRunner;
pub use failure::RunFailure;
pub use ground::Ground;
#[cfg(test)]
pub(crate) use lease::FIRST_IS_SHORTER_BY;
pub use lease::Uptime;
pub use observer::RunObserver;
pub use orchestrator::ContainerOrchestrator;
pub use site::Site;
