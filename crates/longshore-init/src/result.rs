//! The result of a program that was killed because it did not hear SIGTERM: it could not write one.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use nix::fcntl::OFlag;

use crate::environment::Kind;

/// The name of the result in the job's directory.
pub const FILE: &str = "result.json";

/// The result of a job of this kind that a signal ended, as the launchers write it.
#[must_use]
pub fn terminated(kind: Kind) -> String {
    let kind = kind.name();
    format!(r#"{{"status":"terminated","message":"{kind} execution terminated by signal"}}"#)
}

/// Writes a result where the program has written none. Gives whether there was none.
#[must_use]
pub fn write_if_missing(root: &Path, text: &str) -> bool {
    let path = root.join(FILE);
    if fs::metadata(&path).is_ok_and(|found| found.len() > 0) {
        return false;
    }
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
    let mut options = File::options();
    options.write(true).create(true).truncate(true).custom_flags(flags.bits());
    if let Ok(mut result) = options.open(&path) {
        result.write_all(text.as_bytes()).ok();
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_is_written_only_where_there_is_none() {
        let temp = tempfile::tempdir().unwrap();
        let read = || fs::read_to_string(temp.path().join(FILE)).unwrap();
        let text = terminated(Kind::Backtest);
        assert!(write_if_missing(temp.path(), &text));
        let expected =
            r#"{"status":"terminated","message":"Backtest execution terminated by signal"}"#;
        assert_eq!(read(), expected);
        fs::write(temp.path().join(FILE), "").unwrap();
        assert!(write_if_missing(temp.path(), &text), "empty, as the worker makes it");
        assert_eq!(read(), expected);
        fs::write(temp.path().join(FILE), "{}").unwrap();
        assert!(!write_if_missing(temp.path(), &text));
        assert_eq!(read(), "{}");
    }
}
