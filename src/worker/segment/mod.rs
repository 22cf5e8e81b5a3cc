//! What a worker does with segments.
//!
//! [`adopt`] looks for segments that [`takeover`] allows, and [`take`]s them. From then on,
//! [`hold`] keeps them. [`recover`] adopts what the last owner left, and [`take_up`] lets each run
//! go on by its [`continuation`]. [`sweep`] removes orphans.

pub(super) mod adopt;
mod aftercare;
pub(super) mod continuation;
pub(super) mod hold;
mod patience;
pub(super) mod recover;
mod renew;
mod survey;
pub(super) mod sweep;
mod take;
mod take_up;
mod takeover;
