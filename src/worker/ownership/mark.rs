//! The place of a worker: its engine, and the host's directory of the jobs. A worker at the same
//! place can adopt a dead worker's containers as they are.
//!
//! A lock on a file there shows that its owner's process is alive. The kernel frees it with the
//! process, however that ends. It is the same file for every worker of the host, in a container or
//! not.

use std::fs::{self, File, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

use crate::runner::temp_dir::open_own;
use crate::storage::Place;

/// Where Linux identifies this host and this boot; the same in every container of the host.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// The place of a worker that uses the engine with the id `engine` and the directory `temp_dir`. A
/// host that cannot be identified counts as a new one each time.
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
pub(in crate::worker) struct FileMark {
    path: PathBuf,
    file: Option<File>,
}

/// How long the removal of a file is waited for.
const REMOVAL: Duration = Duration::from_millis(200);

/// How often a file is opened again after its last owner removed it.
const MAX_TRIES: usize = 8;

impl FileMark {
    /// The lock of a segment below `temp_dir`; `None` while another living process holds it.
    ///
    /// # Errors
    /// Where the file cannot be opened or locked at all.
    pub(in crate::worker) fn try_take(
        temp_dir: &Path,
        namespace: &str,
        segment: u32,
    ) -> io::Result<Option<Self>> {
        fs::create_dir_all(temp_dir)?;
        Self::try_take_at(temp_dir.join(format!(".{namespace}.segment-{segment}.lock")))
    }

    /// The lock that is the file `path`; `None` while another living process holds it.
    ///
    /// # Errors
    /// Where the file cannot be opened or locked at all.
    pub(in crate::worker) fn try_take_at(path: PathBuf) -> io::Result<Option<Self>> {
        for _ in 0..MAX_TRIES {
            let file = open_own(&path)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Ok(None),
                Err(TryLockError::Error(error)) => return Err(error),
            }
            // Its last owner may have removed it after we opened it and before we locked it.
            let there = fs::metadata(&path).map(|metadata| metadata.ino());
            if there.ok() == Some(file.metadata()?.ino()) {
                return Ok(Some(Self { path, file: Some(file) }));
            }
        }
        Ok(None)
    }
}

impl FileMark {
    /// Where the file is.
    pub(in crate::worker) fn path(&self) -> &Path {
        &self.path
    }

    /// Writes into the file what others may want to know of its owner.
    ///
    /// # Errors
    /// What the system says.
    pub(in crate::worker) fn note(&mut self, text: &[u8]) -> io::Result<()> {
        self.file.as_mut().map_or(Ok(()), |file| file.write_all(text))
    }

    /// Gives the lock up and leaves the file where it is.
    pub(in crate::worker) fn leave(mut self) {
        self.file = None;
    }
}

impl Drop for FileMark {
    fn drop(&mut self) {
        let path = std::mem::take(&mut self.path);
        let Some(file) = self.file.take() else { return };
        // Removed while it is held, so that it is not another worker's new file. A file that stays
        // does no harm. In a thread, because the disk may hang, and then nobody waits for it.
        let (done, removed) = mpsc::channel::<()>();
        let removing = std::thread::Builder::new().name("mark".to_owned()).spawn(move || {
            if let Err(error) = fs::remove_file(&path) {
                tracing::debug!(path = %path.display(), %error, "could not remove a lock file");
            }
            drop((file, done));
        });
        match removing {
            // An error is its end, too.
            Ok(_) => drop(removed.recv_timeout(REMOVAL)),
            Err(error) => tracing::debug!(%error, "could not remove a lock file"),
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
        assert!(FileMark::try_take(root.path(), "ns", 3).is_err());
        assert!(!elsewhere.exists());
    }

    #[test]
    fn a_lock_is_one_processs_until_it_is_dropped_and_leaves_nothing() {
        let root = tempfile::tempdir().unwrap();
        let temp_dir = root.path().join("jobs");
        let held = FileMark::try_take(&temp_dir, "ns", 3).unwrap().unwrap();
        assert!(FileMark::try_take(&temp_dir, "ns", 3).unwrap().is_none());
        assert!(FileMark::try_take(&temp_dir, "ns", 4).unwrap().is_some());
        drop(held);
        assert_eq!(fs::read_dir(&temp_dir).unwrap().count(), 0);
        assert!(FileMark::try_take(&temp_dir, "ns", 3).unwrap().is_some());
    }
}
