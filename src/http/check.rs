//! The state of one thing that a worker needs.

use serde::Serialize;

/// One thing that a worker needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What.
    pub name: &'static str,
    /// Whether it is there.
    pub ok: bool,
    /// What is missing, or what is there.
    pub detail: String,
}
