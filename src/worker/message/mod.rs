//! What comes of a message: taken from its queue, understood, and claimed or answered.
//!
//! [`intake`] takes deliveries. A start is read by [`validate`] and taken by [`claim`], which looks into
//! [`earlier_runs`]; the whole way stands in `recipe.rs`. What is not claimed gets its answer in
//! [`answer`]. [`stop`] is the way of a stop, [`undelivered`] that of a start that the broker gave up on.

pub(super) mod answer;
pub(super) mod claim;
pub(super) mod earlier_runs;
pub(super) mod intake;
pub(super) mod stop;
pub(super) mod undelivered;
pub(super) mod validate;
