//! The state of a bot: one JSON value that its attempts, runs and workers hand on.
//!
//! Before the container starts, [`restore`] makes the record in the store ours, and writes its value into
//! a file of the job's directory. While the worker waits for the container, [`Keeping`] reads that file on
//! the log's interval and stores what has changed; it does so once more when the container has ended. A
//! worker that adopts a container makes the record its own first.
//!
//! `record.rs` decides what a record becomes and whose it is. Every write replaces only the version that
//! we know, so the late write of a former owner fails. It then finds a record that is not its own, and
//! keeps nothing any more.

mod keeping;
mod kept;
mod opening;
mod record;

pub(super) use keeping::Keeping;
pub(super) use kept::Kept;
pub(super) use opening::restore;
