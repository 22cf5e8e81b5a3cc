//! The state of a bot: what it keeps across attempts, runs and workers. Pure.
//!
//! A program keeps it in one file, which the worker made and reads ([`read_state`]).

mod check;
mod file;
mod request;

pub use file::{STATE_FILE, SeenState, largest_file_bytes, read_state};
pub use request::{KeptState, StateRequest};
