//! The runner core: fetch → image → script → container → run → collect.

pub mod container;
pub mod orchestrator;
