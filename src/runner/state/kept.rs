//! What a worker knows of the state of a run of its own.

use crate::storage::{ETag, StateRecord};

/// The record of a state as we wrote it last.
pub(in crate::runner) struct Kept {
    pub(super) record: StateRecord,
    pub(super) version: ETag,
    /// Whether another run or worker has written it since.
    pub(super) is_superseded: bool,
    /// A sentence about the newest state, if it cannot be kept.
    pub(super) problem: Option<String>,
    /// Whether such a sentence was told while the container ran.
    pub(super) has_told: bool,
}
