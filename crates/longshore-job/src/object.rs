//! Keys and hashes by which a message names objects of the store.

use crate::violation::{Violation, quoted, violation};

/// Checks the key of an object, which must be `what`.
pub(crate) fn check_key(path: &str, key: &str, what: &str, found: &mut Vec<Violation>) {
    if key.is_empty() || key.len() > 1024 || key.chars().any(char::is_control) {
        let problem = "must be 1 to 1,024 characters, none of them a control character";
        found.push(violation(path, problem));
    } else if key.split('/').any(|part| part == ".." || part == ".") {
        found.push(violation(path, format!("{} has a '.' or '..' part", quoted(key))));
    } else if key.ends_with('/') {
        let problem = format!("{} ends in '/': it must name {what}, not a folder", quoted(key));
        found.push(violation(path, problem));
    } else if key.contains('\\') {
        let problem = format!("{} has a backslash: separate folders by '/'", quoted(key));
        found.push(violation(path, problem));
    }
}

/// Checks the SHA-256 of an object.
pub(crate) fn check_sha256(path: &str, hash: &str, found: &mut Vec<Violation>) {
    let is_hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    if hash.len() != 64 || !hash.bytes().all(is_hex) {
        found.push(violation(path, "is not 64 lower-case hexadecimal digits"));
    }
}
