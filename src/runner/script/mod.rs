//! What a container runs first, and what that reads.
//!
//! [`CodeEntrypointFactory`] writes the configuration and the launcher that calls the user's
//! `main`, [`BashEntrypointFactory`] the shell script that starts the launcher, by way of the helper
//! (`crates/longshore-init`). Both texts are the same for every job of a runtime: a job's data reaches them by file and environment, and is never
//! made part of a program. Not in here: the container's environment (`ContainerBuilder`).

mod bash;
mod code;
mod helper;
mod manager;
mod program;
mod runtimes;
#[cfg(test)]
mod tests;
mod write;

pub use bash::BashEntrypointFactory;
pub use code::CodeEntrypointFactory;
pub use helper::HELPER;
pub use manager::{EntryScript, ScriptManager};
pub use runtimes::{NODE_MODULE, RuntimeScripts};
pub use write::ScriptError;
