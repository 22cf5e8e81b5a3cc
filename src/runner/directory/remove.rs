//! Removes a tree that a stranger wrote.
//!
//! A program can nest folders deeper than a path, a stack or the open files of this process can
//! reach. So the removal never descends: it moves every folder into one flat heap, and empties it
//! there.

use std::fs::{self, DirEntry, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::error::DirectoryError;

/// Removes `tree` by way of the folder `heap`, which must be on the same file system. Goes on where
/// an earlier attempt stopped. Neither has to exist.
pub(super) fn remove(tree: &Path, heap: &Path) -> Result<(), DirectoryError> {
    remove_by_heap(tree, heap).map_err(|error| judge(error, tree, heap))
}

/// Root can do what failed for lack of rights, and nothing else.
pub(super) fn judge(source: io::Error, tree: &Path, heap: &Path) -> DirectoryError {
    if source.kind() == io::ErrorKind::PermissionDenied {
        let path = if heap.exists() { heap } else { tree };
        return DirectoryError::NeedsRoot { path: path.to_owned(), source };
    }
    DirectoryError::io("removing the directory", tree)(source)
}

fn remove_by_heap(tree: &Path, heap: &Path) -> io::Result<()> {
    let is_directory = match fs::symlink_metadata(tree) {
        Ok(metadata) => metadata.is_dir(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => false,
        Err(error) => return Err(error),
    };
    if !is_directory {
        unlink(tree)?;
    }
    if is_directory && !heap.try_exists()? {
        fs::create_dir(heap)?;
    }
    let mut moved = Heap { place: heap, next: 0, to_empty: Vec::new() };
    moved.take_stock()?;
    if is_directory {
        moved.take(tree)?;
    }
    while let Some(folder) = moved.to_empty.pop() {
        moved.empty(&folder)?;
    }
    match fs::remove_dir(heap) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

struct Heap<'a> {
    place: &'a Path,
    /// No folder of this number or a higher one is in the heap.
    next: u64,
    to_empty: Vec<PathBuf>,
}

impl Heap<'_> {
    /// Finds what an earlier attempt left.
    fn take_stock(&mut self) -> io::Result<()> {
        for entry in entries(self.place)? {
            let path = entry?.path();
            let number = path.file_name().and_then(|name| name.to_str()?.parse::<u64>().ok());
            self.next = self.next.max(number.map_or(0, |number| number + 1));
            self.to_empty.push(path);
        }
        Ok(())
    }

    /// Moves a folder onto the heap.
    fn take(&mut self, folder: &Path) -> io::Result<()> {
        let to = self.place.join(self.next.to_string());
        let moved = fs::rename(folder, &to).or_else(|error| {
            // Moving a folder changes its `..`, which needs the right to write to it.
            open_up(folder, error)?;
            fs::rename(folder, &to)
        });
        moved?;
        self.next += 1;
        self.to_empty.push(to);
        Ok(())
    }

    /// Removes a folder of the heap, and moves those within it onto the heap.
    fn empty(&mut self, folder: &Path) -> io::Result<()> {
        if let Err(error) = self.clear(folder) {
            open_up(folder, error)?;
            self.clear(folder)?;
        }
        fs::remove_dir(folder)
    }

    fn clear(&mut self, folder: &Path) -> io::Result<()> {
        for entry in entries(folder)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                self.take(&entry.path())?;
            } else {
                unlink(&entry.path())?;
            }
        }
        Ok(())
    }
}

/// What is in a folder; nothing if there is none.
fn entries(folder: &Path) -> io::Result<Box<dyn Iterator<Item = io::Result<DirEntry>>>> {
    match fs::read_dir(folder) {
        Ok(found) => Ok(Box::new(found)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Box::new(std::iter::empty())),
        Err(error) => Err(error),
    }
}

/// Gives us every right to a folder, if we own it and lacked rights.
fn open_up(folder: &Path, error: io::Error) -> io::Result<()> {
    let is_folder = || fs::symlink_metadata(folder).is_ok_and(|metadata| metadata.is_dir());
    if error.kind() != io::ErrorKind::PermissionDenied || !is_folder() {
        return Err(error);
    }
    // The reason why this fails says less than the reason why it was needed.
    fs::set_permissions(folder, Permissions::from_mode(0o700)).map_err(|_| error)
}

fn unlink(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
