//! The folder of a worker with the directories of its waiting containers. It is locked as long as the worker
//! lives, so others can tell what a dead one left.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::runner::temp_dir::open_own;

/// The folder in a namespace's directory. No job's id begins with a dot.
const FOLDER: &str = ".warm";

/// The file that the worker has locked.
const LOCK: &str = "lock";

/// How long a worker may take to lock its folder.
const SETTLING: Duration = Duration::from_mins(1);

/// The folder of all workers.
pub(super) fn folder(temp_dir: &Path, namespace: &str) -> PathBuf {
    temp_dir.join(namespace).join(FOLDER)
}

/// The folder of this worker.
#[derive(Debug)]
pub(super) struct Owner {
    path: PathBuf,
    _lock: File,
}

impl Owner {
    /// Makes a folder.
    pub(super) fn begin(temp_dir: &Path, namespace: &str) -> io::Result<Self> {
        let path = folder(temp_dir, namespace).join(uuid::Uuid::new_v4().simple().to_string());
        // Others may pass through, as for the jobs' directories.
        DirBuilder::new().recursive(true).mode(0o711).create(&path)?;
        let lock = open_own(&path.join(LOCK))?;
        lock.lock()?;
        Ok(Self { path, _lock: lock })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

/// Whether the worker with this folder lives.
pub(super) fn is_alive(folder: &Path) -> bool {
    if let Ok(lock) = File::open(folder.join(LOCK)) {
        return lock.try_lock().is_err();
    }
    let age = fs::metadata(folder).and_then(|found| found.modified());
    age.is_ok_and(|made| made.elapsed().is_ok_and(|age| age < SETTLING))
}

/// Removes the folder of a worker, and the folder above it if that was the last.
pub(super) fn remove(folder: &Path) {
    let removed = fs::read_dir(folder)
        .map(|mut entries| entries.all(|entry| entry.is_ok_and(|entry| entry.file_name() == LOCK)));
    if matches!(removed, Ok(true)) {
        // What is not empty stays, and is looked at again.
        fs::remove_file(folder.join(LOCK)).ok();
        fs::remove_dir(folder).ok();
    }
    if let Some(all) = folder.parent() {
        fs::remove_dir(all).ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_its_workers_as_long_as_that_lives() {
        let temp = tempfile::tempdir().unwrap();
        fs::create_dir(temp.path().join("ns")).unwrap();
        let owner = Owner::begin(temp.path(), "ns").unwrap();
        let path = owner.path().to_owned();
        fs::create_dir(path.join("slot")).unwrap();
        assert!(is_alive(&path));
        drop(owner);
        assert!(!is_alive(&path));
        remove(&path);
        assert!(path.exists(), "there is a directory in it");
        fs::remove_dir(path.join("slot")).unwrap();
        remove(&path);
        assert!(!folder(temp.path(), "ns").exists());
        assert!(!is_alive(&path));
    }
}
