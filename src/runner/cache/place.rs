//! From an entry into the directory of a job.

use std::collections::HashMap;
use std::fs::{self, DirBuilder, File, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use super::directory::CacheError;
use super::entry::Held;
use super::manifest::SharedFile;

/// How the files of an entry come into a job's directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::runner) enum How {
    /// As further names of the same files, where the file system can do that.
    Link,
    /// As files of the job's own.
    Copy,
}

/// Why the files of an entry are not in a job's directory.
#[derive(Debug, thiserror::Error)]
pub(in crate::runner) enum PlaceError {
    /// The entry is not what it was.
    #[error("{} is not what it was when it was made", path.display())]
    Changed {
        /// The file or folder that shows it.
        path: PathBuf,
    },
    /// This machine's disk failed us.
    #[error(transparent)]
    Cache(#[from] CacheError),
}

impl Held {
    /// Makes the new directory `into` with everything that is in the entry.
    pub(in crate::runner) fn place(&self, into: &Path, how: How) -> Result<(), PlaceError> {
        make_folder(into)?;
        for folder in &self.manifest().folders {
            make_folder(&into.join(folder))?;
        }
        let mut placing = Placing::new(how);
        for file in &self.manifest().files {
            let from = self.tree().join(&file.path);
            match fs::symlink_metadata(&from) {
                Ok(found) if file.is(&found) => {
                    placing.file(&from, &found, &into.join(&file.path))?;
                }
                _ => return Err(PlaceError::Changed { path: from }),
            }
        }
        for (path, target) in &self.manifest().links {
            let place = into.join(path);
            symlink(target, &place).map_err(CacheError::io("writing", &place))?;
        }
        Ok(())
    }
}

impl Held {
    /// A file that is not what it was when the entry was made, as far as that shows without reading it.
    pub(in crate::runner) fn changed(&self) -> Option<PathBuf> {
        let mut files = self.manifest().files.iter();
        let is_changed = |path: &Path, file: &SharedFile| {
            !fs::symlink_metadata(path).is_ok_and(|found| file.is(&found))
        };
        files.find_map(|file| {
            let path = self.tree().join(&file.path);
            is_changed(&path, file).then_some(path)
        })
    }

    /// Puts the files of the entry among those that are in `root`, as further names of the same files.
    /// A file that is in their place goes. Only folders whose parent is there are made; what would be
    /// anywhere else is left out.
    pub(in crate::runner) fn place_among(&self, root: &Path) -> Result<(), PlaceError> {
        for folder in &self.manifest().folders {
            let place = root.join(folder);
            if !place.exists() && place.parent().is_some_and(Path::is_dir) {
                make_folder(&place)?;
            }
        }
        let mut placing = Placing::new(How::Link);
        for file in &self.manifest().files {
            let (from, to) = (self.tree().join(&file.path), root.join(&file.path));
            let Ok(found) = fs::symlink_metadata(&from) else {
                return Err(PlaceError::Changed { path: from });
            };
            if !file.is(&found) {
                return Err(PlaceError::Changed { path: from });
            }
            if !to.parent().is_some_and(Path::is_dir) {
                continue;
            }
            match fs::remove_file(&to) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(CacheError::io("removing", &to)(error).into());
                }
                _ => placing.file(&from, &found, &to)?,
            }
        }
        Ok(())
    }
}

/// One placing of an entry.
pub(super) struct Placing {
    how: How,
    /// Where a file of several names was copied to, by its number.
    copies: HashMap<u64, PathBuf>,
}

impl Placing {
    pub(super) fn new(how: How) -> Self {
        Self { how, copies: HashMap::new() }
    }

    pub(super) fn file(
        &mut self,
        from: &Path,
        found: &fs::Metadata,
        to: &Path,
    ) -> Result<(), CacheError> {
        if self.how == How::Link {
            match fs::hard_link(from, to) {
                Ok(()) => return Ok(()),
                // Another file system: so it is for all of them.
                Err(error) if Errno::EXDEV as i32 == code(&error) => self.how = How::Copy,
                Err(error) if is_unlinkable(&error) => {}
                Err(error) => return Err(CacheError::io("linking", to)(error)),
            }
        }
        if let Some(copy) = self.copies.get(&found.ino()) {
            return fs::hard_link(copy, to).map_err(CacheError::io("linking", to));
        }
        let copied = fs::copy(from, to).and_then(|_| {
            let modified = found.modified()?;
            File::options().append(true).open(to)?.set_modified(modified)
        });
        copied.map_err(CacheError::io("writing", to))?;
        if found.nlink() > 1 {
            self.copies.insert(found.ino(), to.to_owned());
        }
        Ok(())
    }
}

fn code(error: &io::Error) -> i32 {
    error.raw_os_error().unwrap_or_default()
}

/// Whether a file cannot have one more name: it has as many as a file can have, or the system
/// allows none.
fn is_unlinkable(error: &io::Error) -> bool {
    [Errno::EMLINK, Errno::EPERM, Errno::EOPNOTSUPP].iter().any(|kind| *kind as i32 == code(error))
}

pub(super) fn make_folder(path: &Path) -> Result<(), CacheError> {
    let mode = 0o755;
    DirBuilder::new()
        .mode(mode)
        .create(path)
        // Once more, for the umask takes bits away.
        .and_then(|()| fs::set_permissions(path, Permissions::from_mode(mode)))
        .map_err(CacheError::io("creating the directory", path))
}
