//! What the tree of an entry must be.

use std::fs::{self, Metadata, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::directory::CacheError;
use crate::runner::hash::sha256_of;

/// The mode of a file that jobs share, and of one that can be executed.
const MODES: [u32; 2] = [0o644, 0o755];

/// The size of a manifest that is not read, in bytes: about a million files.
const MAX_BYTES: u64 = 256 * 1024 * 1024;

/// What a disk gives out at least, in bytes: what a small file takes.
const BLOCK_BYTES: u64 = 4096;

/// What the tree of an entry must be, and what its maker wants to know again.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::runner) struct Manifest {
    /// Sentences that its maker noted.
    pub(in crate::runner) notes: Vec<String>,
    /// Folders, parents first.
    pub(in crate::runner) folders: Vec<String>,
    /// Regular files.
    pub(in crate::runner) files: Vec<SharedFile>,
    /// Symbolic links, and what they say.
    pub(in crate::runner) links: Vec<(String, String)>,
}

/// A file of a tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::runner) struct SharedFile {
    /// Relative to the tree.
    pub(in crate::runner) path: String,
    /// Its size.
    pub(in crate::runner) bytes: u64,
    sha256: String,
    /// Its time of change, in seconds and nanoseconds.
    modified: (i64, i64),
    is_executable: bool,
    /// How many names it has in the tree.
    pub(super) names: u64,
}

impl SharedFile {
    /// Whether a file is what this says, as far as that shows without reading it.
    pub(super) fn is(&self, metadata: &Metadata) -> bool {
        metadata.is_file()
            && metadata.len() == self.bytes
            && (metadata.mtime(), metadata.mtime_nsec()) == self.modified
            && metadata.permissions().mode() & 0o777 == MODES[usize::from(self.is_executable)]
    }
}

impl Manifest {
    /// Reads the tree `root`, and gives every file the mode that a shared one has.
    pub(in crate::runner) fn of(root: &Path, notes: Vec<String>) -> Result<Self, CacheError> {
        let mut manifest = Self { notes, ..Self::default() };
        let mut to_do = vec![String::new()];
        while let Some(folder) = to_do.pop() {
            let place = root.join(&folder);
            let reading = || CacheError::io("reading", &place);
            for found in fs::read_dir(&place).map_err(reading())? {
                let found = found.map_err(reading())?;
                let Ok(name) = found.file_name().into_string() else {
                    return Err(CacheError::other("reading a tree", "a name is not UTF-8"));
                };
                let path = if folder.is_empty() { name } else { format!("{folder}/{name}") };
                manifest.add(root, path, &mut to_do)?;
            }
            if !folder.is_empty() {
                manifest.folders.push(folder);
            }
        }
        manifest.folders.sort_unstable();
        manifest.files.sort_unstable_by(|one, other| one.path.cmp(&other.path));
        manifest.links.sort_unstable();
        Ok(manifest)
    }

    fn add(
        &mut self,
        root: &Path,
        path: String,
        to_do: &mut Vec<String>,
    ) -> Result<(), CacheError> {
        let place = root.join(&path);
        let reading = || CacheError::io("reading", &place);
        let metadata = fs::symlink_metadata(&place).map_err(reading())?;
        if metadata.is_dir() {
            to_do.push(path);
        } else if metadata.is_symlink() {
            let target = fs::read_link(&place).map_err(reading())?;
            self.links.push((path, target.to_string_lossy().into_owned()));
        } else if metadata.is_file() {
            let is_executable = metadata.permissions().mode() & 0o111 != 0;
            let mode = Permissions::from_mode(MODES[usize::from(is_executable)]);
            fs::set_permissions(&place, mode).map_err(reading())?;
            self.files.push(SharedFile {
                path,
                bytes: metadata.len(),
                sha256: sha256_of(&place).map_err(reading())?,
                modified: (metadata.mtime(), metadata.mtime_nsec()),
                is_executable,
                names: metadata.nlink(),
            });
        } else {
            return Err(CacheError::other("reading a tree", format!("{path:?} is no file")));
        }
        Ok(())
    }

    /// Whether the tree `root` still is what this says; every file is read.
    pub(super) fn holds(&self, root: &Path) -> bool {
        let metadata = |path: &str| fs::symlink_metadata(root.join(path));
        self.folders.iter().all(|path| metadata(path).is_ok_and(|found| found.is_dir()))
            && self.links.iter().all(|(path, target)| {
                fs::read_link(root.join(path)).is_ok_and(|found| found == Path::new(target))
            })
            && self.files.iter().all(|file| {
                metadata(&file.path).is_ok_and(|found| file.is(&found))
                    && sha256_of(&root.join(&file.path)).is_ok_and(|found| found == file.sha256)
            })
    }

    /// The bytes of all files together.
    pub(in crate::runner) fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).fold(0, u64::saturating_add)
    }

    /// What it takes of the disk, in bytes: whole blocks, with one for each folder and link.
    pub(in crate::runner) fn disk_bytes(&self) -> u64 {
        let blocks = |bytes: u64| bytes.div_ceil(BLOCK_BYTES).max(1);
        let files: u64 = self.files.iter().map(|file| blocks(file.bytes)).sum();
        let others = self.folders.len() + self.links.len() + self.files.len() / 16 + 2;
        (files + others as u64) * BLOCK_BYTES
    }

    /// Writes it, with its own hash before it.
    pub(super) fn write(&self, path: &Path) -> Result<(), CacheError> {
        let text = serde_json::to_string(self)
            .map_err(|error| CacheError::other("writing a manifest", error.to_string()))?;
        let whole = format!("{}\n{text}", hex::encode(Sha256::digest(&text)));
        fs::write(path, whole).map_err(CacheError::io("writing", path))
    }

    /// Reads one; `None` where it is not what was written.
    pub(super) fn read(path: &Path) -> Option<Self> {
        if fs::metadata(path).ok()?.len() > MAX_BYTES {
            return None;
        }
        let whole = fs::read_to_string(path).ok()?;
        let (hash, text) = whole.split_once('\n')?;
        if hash != hex::encode(Sha256::digest(text)) {
            return None;
        }
        serde_json::from_str(text).ok()
    }
}
