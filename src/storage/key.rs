//! Which keys an object may have: one rule for both stores.

use super::StoreError;

/// The longest key, in bytes: S3's own limit.
const MAX_BYTES: usize = 1024;

/// Refuses a key that a store would not read as the name of one object.
///
/// An HTTP client resolves `.` and `..` in a path before it sends it, so such a key would leave its
/// bucket. An empty key would turn "delete the object" into "delete the bucket".
pub(super) fn check(key: &str) -> Result<(), StoreError> {
    match problem(key) {
        None => Ok(()),
        Some(reason) => Err(StoreError::InvalidKey { key: key.to_owned(), reason }),
    }
}

fn problem(key: &str) -> Option<&'static str> {
    if key.len() > MAX_BYTES {
        return Some("it is longer than 1024 bytes");
    }
    if key.is_empty() || key.ends_with('/') {
        return Some("it is empty or ends in '/'");
    }
    if key.chars().any(char::is_control) {
        return Some("it has a control character");
    }
    if key.split('/').any(|part| part == "." || part == "..") {
        return Some("it has a '.' or '..' part");
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_is_no_object_is_refused() {
        let long = "x".repeat(1025);
        for key in ["", "/", "//", "a/", "..", "../a", "a/../b", "a/./b", "a/..", "a\nb", "\0"] {
            assert!(matches!(check(key), Err(StoreError::InvalidKey { .. })), "{key:?}");
        }
        assert!(check(&long).is_err());
    }

    #[test]
    fn an_unusual_key_is_accepted() {
        for key in ["a", "/a", "a b", "ä/日本", "a+b%2e%2e?c#d", "..a", "a..", "...", "a//b"] {
            assert!(check(key).is_ok(), "{key:?}");
        }
    }
}
