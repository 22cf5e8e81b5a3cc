//! What the worker does with a message: takes it from its queue, reads it, and claims or answers
//! it.
//!
//! [`intake`] takes deliveries. [`validate`] reads a start, and [`claim`] takes it, with the help
//! of [`earlier_runs`]. `recipe.rs` has the whole way. [`answer`] answers messages that are not
//! claimed. [`stop`] handles stops, and [`undelivered`] starts that the broker gave up.

pub(super) mod answer;
pub(super) mod claim;
pub(super) mod earlier_runs;
pub(super) mod intake;
pub(super) mod stop;
pub(super) mod undelivered;
pub(super) mod validate;
