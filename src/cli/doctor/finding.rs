//! The outcome of a check, and how long a check may take.

use std::time::Duration;

use serde::Serialize;

/// The longest that a check may take.
pub(super) const PATIENCE: Duration = Duration::from_secs(15);

/// The grade of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Grade {
    Ok,
    Warn,
    Fail,
}

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    pub(super) check: &'static str,
    pub(super) grade: Grade,
    pub(super) said: String,
    #[serde(rename = "mend", skip_serializing_if = "Option::is_none")]
    pub(super) remedy: Option<String>,
}

impl Finding {
    pub(super) fn ok(check: &'static str, said: impl Into<String>) -> Self {
        Self { check, grade: Grade::Ok, said: said.into(), remedy: None }
    }

    pub(super) fn warn(
        check: &'static str,
        said: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self { check, grade: Grade::Warn, said: said.into(), remedy: Some(remedy.into()) }
    }

    pub(super) fn fail(
        check: &'static str,
        said: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self { check, grade: Grade::Fail, said: said.into(), remedy: Some(remedy.into()) }
    }
}
