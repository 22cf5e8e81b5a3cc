//! Where the API is, and how long it may take.

use std::time::Duration;

/// The path before every other.
pub(in crate::http) const ROOT: &str = "/api/v1";

/// How long an answer may take that is not live. The connection itself ends a little later.
pub(super) const ANSWER_TIMEOUT: Duration = Duration::from_secs(12);

/// Whether a path is one of the API's, or would be.
pub(in crate::http) fn has(path: &str) -> bool {
    path.starts_with("/api/")
}
