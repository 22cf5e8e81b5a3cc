//! One writer at a time, between tasks and between processes.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::Path;
use std::time::Duration;

/// The file that is locked. It is next to the buckets, and is never removed.
const LOCK_FILE: &str = ".longshore-lock";

/// How long a writer waits for another one.
const PATIENCE: Duration = Duration::from_secs(30);

/// How often it looks.
const PAUSE: Duration = Duration::from_millis(2);

/// The right to write. The kernel frees it if the process dies.
pub(super) struct WriteLock {
    _file: File,
}

impl WriteLock {
    /// Waits for the lock of the store in `root`.
    pub(super) async fn take(root: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(root.join(LOCK_FILE))?;
        let wait = async {
            loop {
                match file.try_lock() {
                    Ok(()) => return Ok(()),
                    Err(TryLockError::WouldBlock) => tokio::time::sleep(PAUSE).await,
                    Err(TryLockError::Error(error)) => return Err(error),
                }
            }
        };
        match tokio::time::timeout(PATIENCE, wait).await {
            Ok(taken) => taken.map(|()| Self { _file: file }),
            Err(_) => Err(io::Error::new(
                io::ErrorKind::TimedOut,
                "another process has kept the store locked for 30 seconds",
            )),
        }
    }
}
