//! Files and folders under a bucket.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::storage::ETag;
use crate::storage::part_file::{PART_PREFIX, PART_SUFFIX};

/// The longest chain of folders that a listing follows: a key has at most 1,024 bytes.
const MAX_DEPTH: usize = 512;

/// The version of an object: a hash of what is in it.
pub(super) fn etag(bytes: &[u8]) -> ETag {
    etag_of(Sha256::new_with_prefix(bytes))
}

/// The version of an object whose bytes were hashed one piece after the other.
pub(super) fn etag_of(hash: Sha256) -> ETag {
    ETag(format!("\"{}\"", hex::encode(hash.finalize())))
}

/// Whether a file is missing, or a part of its path is a file instead of a folder.
pub(super) fn is_missing(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::IsADirectory)
}

/// Creates the folders above `path`.
pub(super) fn create_parents(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), fs::create_dir_all)
}

/// Removes a file, and then the folders above it, up to `bucket`, that are now empty. S3 knows no
/// folders, so none may stay behind.
pub(super) fn remove(path: &Path, bucket: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if !is_missing(&error) && !path.is_dir() => return Err(error),
        _ => {}
    }
    let above = path.ancestors().skip(1).take_while(|folder| *folder != bucket);
    for folder in above {
        if fs::remove_dir(folder).is_err() {
            break;
        }
    }
    Ok(())
}

/// The keys under `bucket` that begin with `prefix`, in ascending order.
pub(super) async fn list(bucket: PathBuf, prefix: String) -> io::Result<Vec<String>> {
    let walk = move || {
        let mut keys = Vec::new();
        collect(&bucket, "", &prefix, MAX_DEPTH, &mut keys)?;
        keys.sort_unstable();
        Ok(keys)
    };
    tokio::task::spawn_blocking(walk).await.map_err(io::Error::other)?
}

fn collect(
    folder: &Path,
    folder_key: &str,
    prefix: &str,
    depth: usize,
    keys: &mut Vec<String>,
) -> io::Result<()> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        // Removed by another process since it was seen.
        Err(error) if is_missing(&error) => return Ok(()),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        let key = format!("{folder_key}{name}");
        let kind = entry.file_type()?;
        if kind.is_dir() {
            let inside = format!("{key}/");
            let may_match = inside.starts_with(prefix) || prefix.starts_with(&inside);
            if may_match && depth > 0 {
                collect(&entry.path(), &inside, prefix, depth - 1, keys)?;
            }
        } else if key.starts_with(prefix) && !is_unfinished(&name) {
            keys.push(key);
        }
    }
    Ok(())
}

fn is_unfinished(name: &str) -> bool {
    name.starts_with(PART_PREFIX) && name.ends_with(PART_SUFFIX)
}
