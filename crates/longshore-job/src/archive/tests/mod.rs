mod good;
mod hostile;
mod pack;
mod tars;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use longshore_testing::hostile::archives;

use super::{ArchiveCaps, ArchiveError, Extracted, extract};

const CAPS: ArchiveCaps = ArchiveCaps {
    max_entries: archives::MAX_ENTRIES,
    max_extracted_bytes: archives::MAX_BYTES,
    max_depth: archives::MAX_DEPTH,
    max_name_bytes: archives::MAX_NAME_BYTES,
    max_ratio: archives::MAX_RATIO,
    max_time: Duration::from_secs(60),
    keeps_ours: true,
};

/// A place for one archive and what comes out of it.
struct Bench {
    dir: tempfile::TempDir,
}

impl Bench {
    fn new(zip: &[u8]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("code.zip"), zip).unwrap();
        Self { dir }
    }

    fn zip(&self) -> PathBuf {
        self.dir.path().join("code.zip")
    }

    fn out(&self) -> PathBuf {
        self.dir.path().join("out")
    }

    fn extract(&self, caps: ArchiveCaps) -> Result<Extracted, ArchiveError> {
        extract(&self.zip(), &self.out(), caps)
    }

    /// All that lies beside the archive.
    fn rest(&self) -> Vec<String> {
        let mut all = tree(self.dir.path());
        all.retain(|path| path != "code.zip");
        all
    }
}

/// Every path below `root`, folders with a `/` at their end, in order.
fn tree(root: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let mut shown = entry.path().strip_prefix(root).unwrap().to_string_lossy().into_owned();
            if entry.file_type().unwrap().is_dir() {
                folders.push(entry.path());
                shown.push('/');
            }
            found.push(shown);
        }
    }
    found.sort();
    found
}
