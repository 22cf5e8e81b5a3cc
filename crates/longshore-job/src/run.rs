//! One attempt at a job.

use std::sync::Arc;

use super::Job;

/// One attempt to run a job.
#[derive(Debug, Clone)]
pub struct Run {
    /// What to run.
    pub job: Arc<Job>,
    /// Which attempt; the first is 1.
    pub attempt: u32,
    /// The segment that owns it.
    pub segment: u32,
    /// Whether nothing of the job can be stored yet: the journal has never known it, and no attempt has
    /// begun. A hint that spares requests to the store; `false` is always right.
    pub is_new: bool,
}
