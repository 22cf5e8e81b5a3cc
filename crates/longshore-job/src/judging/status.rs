//! What an engine says about a container, in our terms.

use std::collections::BTreeMap;

use jiff::Timestamp;

/// Where a container is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContainerState {
    /// Made, never started.
    Created,
    /// Running, paused or restarting.
    Running,
    /// Ended.
    Exited,
    /// Being removed, or broken beyond repair.
    Dead,
}

/// What the engine says about one container.
#[derive(Debug, Clone, PartialEq)]
pub struct ContainerStatus {
    /// The engine's id.
    pub id: String,
    /// Where it is in its life.
    pub state: ContainerState,
    /// Its exit code, once it has ended.
    pub exit_code: Option<i64>,
    /// Whether the kernel killed something in it for lack of memory.
    pub oom_killed: bool,
    /// The engine's own error, such as a program that could not be started.
    pub error: Option<String>,
    /// When it was made, before anything in it ran.
    pub created_at: Option<Timestamp>,
    /// When it started.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// `Some(false)` while its health check fails; `None` without a health check, and before its
    /// first answer.
    pub healthy: Option<bool>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Whether the engine was away while the worker waited, so that the engine may have ended the
    /// container.
    pub engine_was_away: bool,
}
