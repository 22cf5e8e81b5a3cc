//! What is being made, and is no entry yet.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use super::directory::{CacheError, Directory, names_in, remove_tree};

/// The file that whoever makes something has locked.
const LOCK: &str = "lock";

/// A folder for what is being made. Dropping it removes what is still in it.
#[derive(Debug)]
pub(in crate::runner) struct Making {
    path: PathBuf,
    _lock: File,
}

impl Making {
    /// A new folder.
    pub(super) fn begin(directory: &Directory) -> Result<Self, CacheError> {
        directory.make_folders()?;
        let path = directory.making().join(uuid::Uuid::new_v4().simple().to_string());
        // Nobody takes a folder for left over between its making and its lock.
        let _all = directory.lock()?;
        let made = DirBuilder::new().mode(0o711).create(&path);
        made.map_err(CacheError::io("creating the directory", &path))?;
        let lock = path.join(LOCK);
        let locked = OpenOptions::new().create_new(true).append(true).open(&lock);
        let locked = locked.and_then(|file| file.try_lock().map(|()| file).map_err(Into::into));
        Ok(Self { _lock: locked.map_err(CacheError::io("locking", &lock))?, path })
    }

    /// A place in the folder for a file of the maker's own.
    pub(in crate::runner) fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The folder's path, by which a later process can tell whether this one still works on it.
    pub(in crate::runner) fn path(&self) -> &Path {
        &self.path
    }

    /// What becomes the entry.
    pub(super) fn entry(&self) -> PathBuf {
        self.path.join("entry")
    }

    /// Where the tree of the entry is to be put. Only the folder above it is made here.
    pub(in crate::runner) fn tree(&self) -> Result<PathBuf, CacheError> {
        let entry = self.entry();
        let made = DirBuilder::new().recursive(true).mode(0o711).create(&entry);
        made.map_err(CacheError::io("creating the directory", &entry))?;
        Ok(entry.join(super::entry::TREE))
    }
}

impl Drop for Making {
    fn drop(&mut self) {
        if let Err(error) = remove_tree(&self.path) {
            tracing::warn!(%error, "could not remove what is no longer needed to make an entry of the cache");
        }
    }
}

/// Whether the process that began to make something in the folder `path` still works on it.
pub(super) fn is_in_work(path: &Path) -> bool {
    match File::open(path.join(LOCK)) {
        Ok(lock) => lock.try_lock().is_err(),
        Err(_) => false,
    }
}

/// Removes what processes that died have left.
pub(super) fn remove_left_over(directory: &Directory) -> Result<usize, CacheError> {
    let mut left = Vec::new();
    {
        let _all = directory.lock()?;
        for name in names_in(&directory.making())? {
            let path = directory.making().join(name);
            if !is_in_work(&path) {
                left.push(path);
            }
        }
    }
    for path in &left {
        match fs::symlink_metadata(path) {
            Ok(metadata) if !metadata.is_dir() => {
                fs::remove_file(path).map_err(CacheError::io("removing", path))?;
            }
            _ => remove_tree(path)?,
        }
    }
    Ok(left.len())
}
