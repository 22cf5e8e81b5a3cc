//! The directory for lines that do not fit into memory, one for each process.
//!
//! The process that makes such a directory holds a lock on a file in it. The kernel frees the lock
//! if the process dies. So a directory of a dead process can be distinguished from one in use, and
//! the next worker removes it.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::libc::{O_NOFOLLOW, O_NONBLOCK};
use parking_lot::Mutex;
use tempfile::TempPath;
use tracing::{info, warn};

/// The prefix of the name of a process's directory.
const PREFIX: &str = "longshore-spool-";

/// The file whose lock says that a directory is in use.
const LOCK_FILE: &str = "lock";

/// The name of that file until it is locked.
const NEW_LOCK_FILE: &str = "lock.new";

/// Files on disk, made when they are needed. Clones share the directory.
#[derive(Debug, Clone)]
pub(super) struct Spool {
    parent: PathBuf,
    own: Arc<Mutex<Option<Own>>>,
}

/// The directory of this process. The last clone removes it.
#[derive(Debug)]
struct Own {
    path: PathBuf,
    _lock: File,
}

impl Drop for Own {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.path) {
            warn!(directory = %self.path.display(), %error, "could not remove the spool directory");
        }
    }
}

impl Spool {
    /// A spool in `parent`, which is made together with the first file.
    pub(super) fn new(parent: PathBuf) -> Self {
        Self { parent, own: Arc::default() }
    }

    /// Removes what dead processes left. If that fails, it stays, with a warning.
    pub(super) fn clean_up(&self) {
        let entries = std::fs::read_dir(&self.parent).into_iter().flatten().flatten();
        for path in entries.map(|entry| entry.path()).filter(|path| is_spool(path)) {
            match remove_stale(&path) {
                Ok(false) => {}
                Ok(true) => info!(directory = %path.display(), "removed a dead worker's spool"),
                Err(error) => {
                    warn!(directory = %path.display(), %error, "could not remove a dead worker's spool");
                }
            }
        }
    }

    /// A new, empty file. Dropping the path removes it.
    pub(super) fn create(&self) -> io::Result<(File, TempPath)> {
        let dir = self.directory()?;
        Ok(tempfile::Builder::new().prefix("part-").tempfile_in(dir)?.into_parts())
    }

    /// Writes a new file.
    pub(super) async fn write(&self, bytes: bytes::Bytes) -> io::Result<TempPath> {
        let spool = self.clone();
        let written = tokio::task::spawn_blocking(move || {
            let (mut file, path) = spool.create()?;
            io::Write::write_all(&mut file, &bytes)?;
            Ok(path)
        });
        written.await.map_err(io::Error::other)?
    }

    fn directory(&self) -> io::Result<PathBuf> {
        let mut own = self.own.lock();
        if let Some(own) = own.as_ref() {
            return Ok(own.path.clone());
        }
        std::fs::create_dir_all(&self.parent)?;
        let path = tempfile::Builder::new().prefix(PREFIX).tempdir_in(&self.parent)?.keep();
        // Locked before it gets its name, because another process would take an unlocked one for a
        // dead worker's.
        let unnamed = path.join(NEW_LOCK_FILE);
        let lock = OpenOptions::new().create(true).append(true).open(&unnamed)?;
        lock.try_lock()?;
        std::fs::rename(&unnamed, path.join(LOCK_FILE))?;
        *own = Some(Own { path: path.clone(), _lock: lock });
        Ok(path)
    }
}

fn is_spool(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str());
    name.is_some_and(|name| name.starts_with(PREFIX))
}

/// Removes a directory that no process holds. Returns whether it did. A directory without a lock
/// file is just being made.
fn remove_stale(path: &Path) -> io::Result<bool> {
    // Anybody may have made it, so it follows no link and does not wait on a pipe.
    let mut options = OpenOptions::new();
    options.append(true).custom_flags(O_NOFOLLOW | O_NONBLOCK);
    let lock = match options.open(path.join(LOCK_FILE)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        opened => opened?,
    };
    if lock.try_lock().is_err() {
        return Ok(false);
    }
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(true),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_a_dead_process_left_goes_and_what_is_in_use_stays() {
        let parent = tempfile::tempdir().unwrap();
        let living = Spool::new(parent.path().to_path_buf());
        let file = living.write("x".into()).await.unwrap();
        let dead = parent.path().join("longshore-spool-dead");
        std::fs::create_dir(&dead).unwrap();
        for name in ["lock", "part-1"] {
            std::fs::write(dead.join(name), "").unwrap();
        }
        std::fs::write(parent.path().join("not-ours"), "").unwrap();

        Spool::new(parent.path().to_path_buf()).clean_up();
        assert!(!dead.exists());
        assert_eq!(std::fs::read(&file).unwrap(), b"x");
        assert!(parent.path().join("not-ours").exists());

        drop(file);
        drop(living);
        let left: Vec<_> = std::fs::read_dir(parent.path()).unwrap().collect();
        assert_eq!(left.len(), 1, "{left:?}");
    }

    #[test]
    fn a_lock_that_is_a_link_or_a_pipe_delays_nobody_and_is_not_followed() {
        let parent = tempfile::tempdir().unwrap();
        let elsewhere = parent.path().join("elsewhere");
        std::fs::write(&elsewhere, "x").unwrap();
        let [link, pipe] = ["longshore-spool-link", "longshore-spool-pipe"].map(|name| {
            let directory = parent.path().join(name);
            std::fs::create_dir(&directory).unwrap();
            directory
        });
        std::os::unix::fs::symlink(&elsewhere, link.join(LOCK_FILE)).unwrap();
        nix::unistd::mkfifo(&pipe.join(LOCK_FILE), nix::sys::stat::Mode::S_IRWXU).unwrap();
        Spool::new(parent.path().to_path_buf()).clean_up();
        assert!(link.exists() && pipe.exists() && elsewhere.exists());
    }

    #[test]
    fn a_spool_that_nobody_needs_makes_no_directory() {
        let parent = tempfile::tempdir().unwrap();
        let inner = parent.path().join("deep/spool");
        Spool::new(inner.clone()).clean_up();
        assert!(!inner.exists());
        Spool::new(inner.clone()).create().unwrap();
        assert!(inner.exists());
    }
}
