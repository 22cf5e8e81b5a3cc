//! What the worker does with a run of its own: attempt by attempt to its end, and the events about
//! it.
//!
//! [`execute`] runs the attempts; `longshore run` shares it, see [`local`]. [`account`] keeps the
//! run's record in the journal, [`ending`] settles it. [`reporter`] reports what happens through
//! [`publisher`], and [`outbox`] keeps events that the broker has not confirmed. Not here: messages
//! and segments.

pub(super) mod account;
pub(super) mod ending;
pub(super) mod execute;
pub(super) mod left;
pub(super) mod local;
pub(super) mod outbox;
pub(super) mod publisher;
pub(super) mod reporter;
