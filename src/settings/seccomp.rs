//! An operator's seccomp profile: which system calls programs may make.

use std::fmt;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;

use serde_json::Value;

/// The largest profile that is read, in bytes; Docker's own has some 15 KiB.
const MAX_BYTES: u64 = 1 << 20;

/// A seccomp profile as JSON on one line, as an engine needs it.
#[derive(Clone, PartialEq, Eq)]
pub struct SeccompProfile(Arc<str>);

impl SeccompProfile {
    /// Reads a profile and makes sure that it is one. The error is the end of a sentence.
    pub(super) fn read(path: &Path) -> Result<Self, String> {
        let mut text = String::new();
        let read =
            File::open(path).and_then(|file| file.take(MAX_BYTES + 1).read_to_string(&mut text));
        read.map_err(|error| format!("cannot be read: {error}"))?;
        if text.len() as u64 > MAX_BYTES {
            return Err(format!("has more than the {MAX_BYTES} bytes that are read"));
        }
        Self::parse(&text)
    }

    fn parse(text: &str) -> Result<Self, String> {
        let profile: Value =
            serde_json::from_str(text).map_err(|error| format!("is not valid JSON: {error}"))?;
        let action = profile["defaultAction"].as_str().unwrap_or_default();
        if !action.starts_with("SCMP_ACT_") {
            let names = "such as \"SCMP_ACT_ERRNO\"";
            return Err(format!("is no seccomp profile: it has no \"defaultAction\" {names}"));
        }
        if !profile["syscalls"].is_array() {
            return Err("is no seccomp profile: it has no list \"syscalls\"".to_owned());
        }
        Ok(Self(profile.to_string().into()))
    }

    /// The profile as JSON.
    #[must_use]
    pub fn as_json(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SeccompProfile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SeccompProfile({} bytes)", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_is_read_and_made_one_line() {
        let text = "{\n \"defaultAction\": \"SCMP_ACT_ERRNO\",\n \"syscalls\": [] }\n";
        let profile = SeccompProfile::parse(text).unwrap();
        assert!(!profile.as_json().contains('\n') && profile.as_json().contains("SCMP_ACT_ERRNO"));
    }

    #[test]
    fn what_is_no_profile_is_refused_with_what_is_missing() {
        for (text, says) in [
            ("", "is not valid JSON"),
            ("[]", "no \"defaultAction\""),
            ("{\"defaultAction\": 1, \"syscalls\": []}", "no \"defaultAction\""),
            ("{\"defaultAction\": \"SCMP_ACT_ERRNO\"}", "no list \"syscalls\""),
        ] {
            let problem = SeccompProfile::parse(text).unwrap_err();
            assert!(problem.contains(says), "{text}: {problem}");
        }
        let missing = SeccompProfile::read(Path::new("/no/such/profile.json")).unwrap_err();
        assert!(missing.starts_with("cannot be read: "), "{missing}");
    }
}
