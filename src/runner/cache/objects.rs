//! Which version of an object has which content.
//!
//! A version is believed for one key in one bucket of one store only: nothing says that two objects
//! with the same `ETag` are the same.

use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::directory::{CacheError, Directory, names_in};

/// Objects that are remembered. Of more, those that were noted first are forgotten.
const MAX_OBJECTS: usize = 20_000;

/// The longest note that is read, in bytes.
const MAX_NOTE_BYTES: u64 = 8192;

/// A version of an object whose content is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::runner) struct KnownObject {
    /// The version, as the store names it.
    pub(in crate::runner) etag: String,
    /// The SHA-256 of its content.
    pub(in crate::runner) sha256: String,
}

/// The notes about objects.
#[derive(Debug)]
pub(super) struct Objects {
    directory: Directory,
}

impl Objects {
    pub(super) fn of(directory: Directory) -> Self {
        Self { directory }
    }

    /// What is known of the object `key` of the bucket at `origin`.
    pub(super) fn find(&self, origin: &str, key: &str) -> Option<KnownObject> {
        let path = self.note(origin, Subject::Object(key));
        fs::metadata(&path).ok().filter(|found| found.len() <= MAX_NOTE_BYTES)?;
        let known: KnownObject = serde_json::from_slice(&fs::read(path).ok()?).ok()?;
        is_sha256(&known.sha256).then_some(known)
    }

    /// Whether a content came from the bucket at `origin` before.
    pub(super) fn knows(&self, origin: &str, sha256: &str) -> bool {
        self.note(origin, Subject::Content(sha256)).exists()
    }

    /// Remembers what the object `key` of the bucket at `origin` is.
    pub(super) fn remember(
        &self,
        origin: &str,
        key: &str,
        known: &KnownObject,
    ) -> Result<(), CacheError> {
        let text = serde_json::to_string(known)
            .map_err(|error| CacheError::other("noting an object", error.to_string()))?;
        for subject in [Subject::Object(key), Subject::Content(&known.sha256)] {
            let (path, folder) = (self.note(origin, subject), self.directory.objects());
            let written = tempfile::NamedTempFile::new_in(&folder).and_then(|mut file| {
                file.write_all(text.as_bytes())?;
                file.persist(&path).map_err(|error| error.error)
            });
            written.map_err(CacheError::io("writing", &path))?;
        }
        Ok(())
    }

    /// Forgets what is too much.
    pub(super) fn tidy(&self) -> Result<(), CacheError> {
        let folder = self.directory.objects();
        let names = names_in(&folder)?;
        if names.len() <= MAX_OBJECTS {
            return Ok(());
        }
        let noted_at = |name: &String| {
            let metadata = fs::metadata(folder.join(name)).and_then(|found| found.modified());
            metadata.unwrap_or(SystemTime::UNIX_EPOCH)
        };
        let mut notes: Vec<_> = names.into_iter().map(|name| (noted_at(&name), name)).collect();
        notes.sort_unstable();
        // Some more than needed, so that the next one finds room.
        let too_many = notes.len() - MAX_OBJECTS / 10 * 9;
        for (_, name) in notes.into_iter().take(too_many) {
            // Another process may do the same.
            let _gone = fs::remove_file(folder.join(name));
        }
        Ok(())
    }

    fn note(&self, origin: &str, subject: Subject<'_>) -> PathBuf {
        let (kind, name) = match subject {
            Subject::Object(key) => ("object", key),
            Subject::Content(sha256) => ("content", sha256),
        };
        let mut hash = Sha256::new();
        for part in [kind, origin, name] {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        self.directory.objects().join(hex::encode(hash.finalize()))
    }
}

/// What a note is about.
#[derive(Debug, Clone, Copy)]
enum Subject<'a> {
    /// An object, by its key.
    Object(&'a str),
    /// A content, by its SHA-256.
    Content(&'a str),
}

fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}
