//! What comes of a run that is ours: attempt by attempt to its end, and what is told about it.
//!
//! [`execute`] runs the attempts; `longshore run` shares it, see [`local`]. [`account`] keeps the run's
//! record in the journal, [`ending`] settles it. [`reporter`] tells what happens through [`publisher`], and
//! [`outbox`] keeps what the broker has not confirmed. Not here: messages and segments.

pub(super) mod account;
pub(super) mod ending;
pub(super) mod execute;
pub(super) mod local;
pub(super) mod outbox;
pub(super) mod publisher;
pub(super) mod reporter;
