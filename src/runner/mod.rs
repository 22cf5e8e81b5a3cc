//! The runner core: fetch → image → script → container → run → collect.

pub mod archive;
pub mod code;
pub mod container;
pub mod directory;
pub mod docker;
pub mod labels;
pub mod orchestrator;
pub mod script;

#[cfg(test)]
pub(crate) mod recorder;
