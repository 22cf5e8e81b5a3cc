//! The place of a worker: its engine, and the host's directory of the jobs. Whoever is at the same
//! place can take up a dead worker's containers as they are.
//!
//! A lock on a file there says that its owner's process lives: the kernel frees it with the process,
//! however that ends, and it is the same file for every worker of the host, in a container or not.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::libc::{O_NOFOLLOW, O_NONBLOCK};
use nix::unistd::geteuid;

use crate::storage::Place;

/// Where Linux says which start of which host this is; the same in every container on it.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// The place of a worker that uses the engine with the id `engine` and the directory `temp_dir`. A
/// host that does not say who it is counts as another one each time.
pub(in crate::worker) fn place(engine: String, temp_dir: &Path) -> Place {
    let host = fs::read_to_string(BOOT_ID).unwrap_or_else(|error| {
        tracing::warn!(%error, "could not read {BOOT_ID}");
        uuid::Uuid::new_v4().to_string()
    });
    let temp_dir = temp_dir.to_string_lossy().into_owned();
    Place { host: host.trim().to_owned(), engine, temp_dir }
}

/// A lock that is held until it is dropped.
#[derive(Debug)]
pub(in crate::worker) struct Mark {
    path: PathBuf,
    _file: File,
}

/// How often a file is opened anew that its last owner removed meanwhile.
const MAX_TRIES: usize = 8;

impl Mark {
    /// The lock of a segment below `temp_dir`; `None` while another living process holds it.
    ///
    /// # Errors
    /// Where the file cannot be opened or locked at all.
    pub(in crate::worker) fn try_take(
        temp_dir: &Path,
        namespace: &str,
        segment: u32,
    ) -> io::Result<Option<Self>> {
        let path = temp_dir.join(format!(".{namespace}.segment-{segment}.lock"));
        fs::create_dir_all(temp_dir)?;
        for _ in 0..MAX_TRIES {
            let file = open(&path)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Ok(None),
                Err(TryLockError::Error(error)) => return Err(error),
            }
            // Its last owner may have removed it between our opening and our locking.
            let there = fs::metadata(&path).map(|metadata| metadata.ino());
            if there.ok() == Some(file.metadata()?.ino()) {
                return Ok(Some(Self { path, _file: file }));
            }
        }
        Ok(None)
    }
}

/// Opens a lock file of our own: no link is followed, and nothing is taken that somebody else put there.
fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.create(true).truncate(false).write(true).mode(0o600);
    let file = options.custom_flags(O_NOFOLLOW | O_NONBLOCK).open(path)?;
    let found = file.metadata()?;
    if !found.is_file() || found.uid() != geteuid().as_raw() {
        let problem = format!("{} is not a file of this worker's own", path.display());
        return Err(io::Error::other(problem));
    }
    Ok(file)
}

impl Drop for Mark {
    fn drop(&mut self) {
        // While it is held, so that nobody's new file is removed. One that stays does no harm.
        if let Err(error) = fs::remove_file(&self.path) {
            tracing::debug!(path = %self.path.display(), %error, "could not remove a lock file");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_the_same_for_every_worker_of_a_host_with_the_same_engine_and_directory() {
        let here = || place("e".to_owned(), Path::new("/t"));
        assert_eq!(here(), here());
        assert!(here().host.len() > 30, "{:?}", here());
        assert_ne!(here(), place("other".to_owned(), Path::new("/t")));
        assert_ne!(here(), place("e".to_owned(), Path::new("/other")));
    }

    #[test]
    fn a_lock_file_that_is_a_link_is_not_followed() {
        let root = tempfile::tempdir().unwrap();
        let elsewhere = root.path().join("elsewhere");
        std::os::unix::fs::symlink(&elsewhere, root.path().join(".ns.segment-3.lock")).unwrap();
        assert!(Mark::try_take(root.path(), "ns", 3).is_err());
        assert!(!elsewhere.exists());
    }

    #[test]
    fn a_lock_is_one_processs_until_it_is_dropped_and_leaves_nothing() {
        let root = tempfile::tempdir().unwrap();
        let temp_dir = root.path().join("jobs");
        let held = Mark::try_take(&temp_dir, "ns", 3).unwrap().unwrap();
        assert!(Mark::try_take(&temp_dir, "ns", 3).unwrap().is_none());
        assert!(Mark::try_take(&temp_dir, "ns", 4).unwrap().is_some());
        drop(held);
        assert_eq!(fs::read_dir(&temp_dir).unwrap().count(), 0);
        assert!(Mark::try_take(&temp_dir, "ns", 3).unwrap().is_some());
    }
}
