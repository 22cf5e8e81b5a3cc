//! What a worker does with segments.
//!
//! [`adopt`] looks which may be taken, by what [`takeover`] decides, and [`take`]s them. [`hold`] is the life of
//! one from then on. [`recover`] takes up what its last owner left, each run by its [`continuation`]; [`sweep`]
//! removes what is nobody's.

pub(super) mod adopt;
pub(super) mod continuation;
pub(super) mod hold;
pub(super) mod recover;
pub(super) mod sweep;
mod take;
mod takeover;
