//! Sweeps: one code with many configs. What a message asks for, what it expands to, and what comes
//! of it. Pure.
//!
//! A config is never sent or stored whole. What differs from the message's `config` is: a patch, which
//! is laid over it by RFC 7396 where the code runs.

mod axes;
mod check;
mod configs;
mod key;
mod outcome;
mod range;
mod request;
mod sample;
mod scalars;
#[cfg(test)]
mod tests;

/// The configs that are left to run, in a job's directory.
pub const CONFIGS_FILE: &str = ".longshore/sweep";

/// What the launcher writes: a line for each config that has ended.
pub const ROWS_FILE: &str = ".longshore/rows";

pub use axes::Axes;
pub use check::{Best, Source, Sweep};
pub use configs::{Configs, read_lines};
pub use key::{KeyPath, touches};
pub use outcome::{BestRow, BestSoFar, SweepProgress, SweepRow, SweepSummary};
pub use request::{
    BestRequest, Goal, GridAxis, Isolation, SampleAxis, SampleRequest, SweepRequest,
};
pub use scalars::{Scalar, scalars};
