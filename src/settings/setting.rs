//! What a setting is.

use super::kind::Kind;

/// One setting.
#[derive(Debug)]
pub struct Setting {
    /// The environment variable.
    pub variable: &'static str,
    /// The key in `longshore.toml`: table and name, with a dot between.
    pub key: &'static str,
    /// What holds where nobody sets it.
    pub fallback: Fallback,
    /// Its allowed values.
    pub kind: Kind,
    /// Its purpose, a line each.
    pub(super) doc: &'static [&'static str],
}

/// What holds where nobody sets a setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fallback {
    /// It must be set.
    Required,
    /// Nothing, which means this.
    Unset(&'static str),
    /// The name of the host.
    HostName,
    /// This value.
    Value(&'static str),
}

impl Setting {
    /// The table of `longshore.toml` that it belongs to.
    #[must_use]
    pub fn section(&self) -> &'static str {
        self.key.split('.').next().unwrap_or_default()
    }

    /// What to show where it has no value.
    #[must_use]
    pub fn unset_meaning(&self) -> String {
        match self.fallback {
            Fallback::Unset(meaning) => format!("({meaning})"),
            Fallback::Required => "(not set)".to_owned(),
            Fallback::HostName | Fallback::Value(_) => String::new(),
        }
    }

    /// What it is for, in one or two sentences.
    #[must_use]
    pub fn doc(&self) -> String {
        self.doc.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ")
    }
}
