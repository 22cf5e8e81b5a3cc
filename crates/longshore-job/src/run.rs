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
}
