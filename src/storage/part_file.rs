//! A file that is not there until it is whole.

use std::io;
use std::path::{Path, PathBuf};

use tempfile::TempPath;
use tokio::fs::File;
use tokio::io::AsyncWriteExt;

/// How the name of an unfinished file begins.
pub(super) const PART_PREFIX: &str = ".longshore-";

/// How it ends.
pub(super) const PART_SUFFIX: &str = ".part";

/// A file being written beside its target. Dropping it, at a failure or when the task is
/// cancelled, removes it.
///
/// Only the owner may read it, and so the finished file: it may be a user's code.
pub(super) struct PartFile {
    file: File,
    path: TempPath,
    target: PathBuf,
}

impl PartFile {
    /// Begins a file in the target's directory, so that finishing it is one rename.
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

    /// Gives the file its name, in the place of what was there.
    pub(super) async fn finish(mut self) -> io::Result<()> {
        self.file.flush().await?;
        // Not handed to a blocking thread: there it would still happen after a cancellation.
        self.path.persist(&self.target).map_err(|error| error.error)
    }
}
