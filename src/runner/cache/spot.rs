//! From a tree to a spot among files that are there already, none of which it may replace.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::Path;

use super::directory::CacheError;
use super::manifest::Manifest;
use super::place::{How, Placing, make_folder};

/// Where the files of a tree go to, by a path relative to a directory. Its parts are plain names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::runner) enum Spot<'a> {
    /// The file `name`, which is all of the tree, gets this path.
    File {
        /// Its name in the tree.
        name: &'a str,
        /// Its path.
        path: &'a str,
    },
    /// Everything goes below this folder.
    Folder(&'a str),
}

/// Why the files of a tree are not in their places. Some may be.
#[derive(Debug, thiserror::Error)]
pub(in crate::runner) enum SpotError {
    /// Something else is there.
    #[error("something is at {path:?} already")]
    Taken {
        /// The place, relative to the directory.
        path: String,
    },
    /// This machine's disk failed us.
    #[error(transparent)]
    Cache(#[from] CacheError),
}

/// Puts the files of a tree into their places below `root`. Folders that are there are used; a link is
/// no folder, wherever it points to.
pub(in crate::runner) fn place_at(
    (tree, manifest): (&Path, &Manifest),
    root: &Path,
    spot: Spot<'_>,
    how: How,
) -> Result<(), SpotError> {
    let place_of = |name: &str| match spot {
        Spot::File { path, .. } => path.to_owned(),
        Spot::Folder(path) => format!("{path}/{name}"),
    };
    match spot {
        Spot::File { path, .. } => {
            if let Some((parent, _)) = path.rsplit_once('/') {
                make_folders(root, parent)?;
            }
        }
        Spot::Folder(path) => make_folders(root, path)?,
    }
    for folder in &manifest.folders {
        use_or_make(root, &place_of(folder))?;
    }
    let mut placing = Placing::new(how);
    for file in &manifest.files {
        let (from, path) = (tree.join(&file.path), place_of(&file.path));
        let to = free(root, &path)?;
        let found = fs::symlink_metadata(&from).map_err(CacheError::io("reading", &from))?;
        placing.file(&from, &found, &to)?;
    }
    for (link, target) in &manifest.links {
        let to = free(root, &place_of(link))?;
        symlink(target, &to).map_err(CacheError::io("writing", &to))?;
    }
    Ok(())
}

/// Makes a folder and those above it.
fn make_folders(root: &Path, path: &str) -> Result<(), SpotError> {
    for (end, _) in path.match_indices('/').chain([(path.len(), "")]) {
        use_or_make(root, &path[..end])?;
    }
    Ok(())
}

fn use_or_make(root: &Path, path: &str) -> Result<(), SpotError> {
    let place = root.join(path);
    match fs::symlink_metadata(&place) {
        Ok(found) if found.is_dir() => Ok(()),
        Ok(_) => Err(SpotError::Taken { path: path.to_owned() }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(make_folder(&place)?),
        Err(error) => Err(CacheError::io("reading", &place)(error).into()),
    }
}

/// A place where nothing is yet.
fn free(root: &Path, path: &str) -> Result<std::path::PathBuf, SpotError> {
    let place = root.join(path);
    match fs::symlink_metadata(&place) {
        Ok(_) => Err(SpotError::Taken { path: path.to_owned() }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(place),
        Err(error) => Err(CacheError::io("reading", &place)(error).into()),
    }
}
