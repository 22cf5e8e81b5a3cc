//! One entry, while somebody uses it.

use std::fmt;
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::directory::CacheError;
use super::manifest::Manifest;

/// The folder of an entry with the files that jobs share.
pub(super) const TREE: &str = "tree";
/// The file that says what the tree must be.
pub(super) const MANIFEST: &str = "manifest";
/// The file whose time is that of the last use, and whose lock says that somebody uses the entry.
pub(super) const USE: &str = "use";

/// The longest `use` file that is read, in bytes.
const MAX_USE_BYTES: u64 = 8192;

/// The name of an entry: the hash of a content, and what was made of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(in crate::runner) struct Key(String);

impl Key {
    /// What `variant` made of the content with this SHA-256. Both are in lower-case hexadecimal.
    pub(in crate::runner) fn new(sha256: &str, variant: &str) -> Self {
        Self(format!("{sha256}-{variant}"))
    }

    /// The SHA-256 of the content.
    pub(in crate::runner) fn content(&self) -> &str {
        self.0.split_once('-').map_or(&*self.0, |(sha256, _)| sha256)
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What is needed of an entry to decide whether it can go, without its manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Usage {
    /// What it takes of the disk.
    pub(super) bytes: u64,
    /// One of its files, and how many names that has here: a job that uses the entry has one more.
    probe: Option<(String, u64)>,
}

impl Usage {
    pub(super) fn of(manifest: &Manifest) -> Self {
        let probe = manifest.files.first().map(|file| (file.path.clone(), file.names));
        Self { bytes: manifest.disk_bytes(), probe }
    }

    pub(super) fn write(&self, entry: &Path) -> Result<(), CacheError> {
        let path = entry.join(USE);
        let text = serde_json::to_string(self)
            .map_err(|error| CacheError::other("writing an entry", error.to_string()))?;
        fs::write(&path, text).map_err(CacheError::io("writing", &path))
    }

    /// Reads it with the time of the last use; `None` where the entry is not whole.
    pub(super) fn read(entry: &Path) -> Option<(Self, SystemTime)> {
        let path = entry.join(USE);
        let metadata = fs::metadata(&path).ok().filter(|found| found.len() <= MAX_USE_BYTES)?;
        let usage = serde_json::from_slice(&fs::read(&path).ok()?).ok()?;
        Some((usage, metadata.modified().ok()?))
    }

    /// Whether the directory of a job has a name for a file of the entry.
    pub(super) fn is_linked(&self, entry: &Path) -> bool {
        self.probe.as_ref().is_some_and(|(path, names)| {
            fs::symlink_metadata(entry.join(TREE).join(path))
                .is_ok_and(|found| found.nlink() > *names)
        })
    }
}

/// An entry that is not removed until this is dropped.
#[derive(Debug)]
pub(in crate::runner) struct Held {
    key: Key,
    path: PathBuf,
    manifest: Manifest,
    _use: File,
}

impl Held {
    /// The entry `key` in the folder `path`, whose `use` is locked.
    pub(super) fn new(key: Key, path: PathBuf, manifest: Manifest, used: File) -> Self {
        Self { key, path, manifest, _use: used }
    }

    /// The name of the entry.
    pub(in crate::runner) fn key(&self) -> &Key {
        &self.key
    }

    /// The files that jobs share.
    pub(in crate::runner) fn tree(&self) -> PathBuf {
        self.path.join(TREE)
    }

    /// What the tree is.
    pub(in crate::runner) fn manifest(&self) -> &Manifest {
        &self.manifest
    }
}

/// Locks the entry in the folder `path` for use; `None` where it is being removed, or gone.
pub(super) fn lock_for_use(path: &Path) -> Option<File> {
    let file = File::open(path.join(USE)).ok()?;
    file.try_lock_shared().ok()?;
    // It may have been taken away before it was locked.
    let (locked, named) = (file.metadata().ok()?, fs::metadata(path.join(USE)).ok()?);
    (locked.ino() == named.ino() && locked.dev() == named.dev()).then_some(file)
}
