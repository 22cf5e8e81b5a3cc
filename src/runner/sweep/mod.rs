//! Sweeps: one run with many configs, each with a row of its own.
//!
//! Before the container starts, [`prepare`] writes what is left to run into a file of the job's
//! directory. The launcher in the container adds a line to another file for each config that has
//! ended. While the worker waits for the container, [`Gathering`] reads these lines and makes rows of
//! them (`line.rs`), which go to the store in chunks that never change (`chunk.rs`). A config that a
//! chunk has does not run again, whoever goes on with the run. At the end, [`conclude`] stores the
//! tables, with one row for each config.
//!
//! What the worker knows of rows is in `rows.rs`, on disk except for their places and what is counted.

mod chunk;
mod conclude;
mod files;
mod gather;
mod kept;
mod line;
mod prepare;
mod rows;
mod tables;
mod tally;

pub(super) use conclude::conclude;
pub(super) use gather::{Gathered, Gathering};
pub(super) use prepare::prepare;
