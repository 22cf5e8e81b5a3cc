//! A file that appears only when it is complete.

use std::io;
use std::path::{Path, PathBuf};

use tempfile::TempPath;
use tokio::fs::File;
use tokio::io::AsyncWriteExt;

/// How the name of an unfinished file begins.
pub(super) const PART_PREFIX: &str = ".longshore-";

/// How it ends.
pub(super) const PART_SUFFIX: &str = ".part";

/// An unfinished file next to its target. Dropping it, after a failure or when the task is
/// cancelled, removes it.
///
/// Only the owner may read it, and later the finished file, because it may be a user's code.
pub(super) struct PartFile {
    file: File,
    path: TempPath,
    target: PathBuf,
}

impl PartFile {
    /// Begins a file in the target's directory. So one rename finishes it.
    pub(super) fn create(target: &Path) -> io::Result<Self> {
        let directory = match target.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let (file, path) = tempfile::Builder::new()
            .prefix(PART_PREFIX)
            .suffix(PART_SUFFIX)
            .tempfile_in(directory)?
            .into_parts();
        Ok(Self { file: File::from_std(file), path, target: target.to_owned() })
    }

    /// Appends bytes.
    pub(super) async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes).await
    }

    /// Gives the file its name. It replaces an existing file.
    pub(super) async fn finish(mut self) -> io::Result<()> {
        self.file.flush().await?;
        // Not on a blocking thread: there it would still happen after a cancellation.
        self.path.persist(&self.target).map_err(|error| error.error)
    }
}
