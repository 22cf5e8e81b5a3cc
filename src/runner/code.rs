//! `CodeManager`: from the code bucket into the job's directory.

#[cfg(test)]
pub(super) mod tests;

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;

use super::directory::{DirectoryError, JobDirectory};
use crate::job::Job;
use crate::job::archive::{ArchiveCaps, ArchiveError, Extracted, composed, extract};
use crate::settings::RunnerSettings;
use crate::storage::{Bucket, ObjectStore, StoreError};

/// How many of an archive's files a message names.
const SHOWN_FILES: usize = 5;

/// Archives that are unpacked at a time: each can take some 50 MB of memory for its names, and one
/// keeps a processor busy.
const MAX_UNPACKING: usize = 2;

/// How much code one job may bring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CodeCaps {
    /// Bytes of the zip.
    pub max_archive_bytes: u64,
    /// What it may unpack to.
    pub archive: ArchiveCaps,
}

impl From<&RunnerSettings> for CodeCaps {
    fn from(settings: &RunnerSettings) -> Self {
        Self {
            max_archive_bytes: settings.max_archive_bytes,
            archive: ArchiveCaps {
                max_entries: settings.max_entries,
                max_extracted_bytes: settings.max_extracted_bytes,
                max_depth: settings.max_depth,
                max_name_bytes: settings.max_name_bytes,
                max_ratio: settings.max_ratio,
                max_time: settings.unpack_timeout,
            },
        }
    }
}

/// Why a job's code is not in its directory.
#[derive(Debug, thiserror::Error)]
pub enum CodeError {
    /// The zip could not be fetched.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The zip is larger than allowed.
    #[error("the code {key:?} is larger than the {max_bytes} bytes allowed (CODE_MAX_ARCHIVE_MB)")]
    TooLarge {
        /// Its key in the code bucket.
        key: String,
        /// The most that is allowed.
        max_bytes: u64,
    },
    /// The zip could not be unpacked.
    #[error("the code {key:?} cannot be unpacked: {source}")]
    Archive {
        /// Its key in the code bucket.
        key: String,
        /// Why.
        source: ArchiveError,
    },
    /// It is not the zip that the start message means.
    #[error("the code {key:?} has the SHA-256 {actual}, not {expected}")]
    Checksum {
        /// Its key in the code bucket.
        key: String,
        /// What the start message says.
        expected: String,
        /// What it is.
        actual: String,
    },
    /// The zip is fine, but does not hold the script.
    #[error("{script:?} is not a file in the code {key:?}; {}", those_there(found))]
    ScriptMissing {
        /// Its key in the code bucket.
        key: String,
        /// The script.
        script: String,
        /// A few files that are there, the likeliest first, quoted.
        found: Vec<String>,
    },
    /// The job's directory could not be made.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// The zip could not be read again, or the work was interrupted.
    #[error("{action}: {source}")]
    Io {
        /// What was tried, with the path.
        action: String,
        /// Why it failed.
        source: io::Error,
    },
}

impl CodeError {
    /// Whether the job itself is at fault, so that trying again cannot help. A bucket that is
    /// missing and credentials that are refused are not its fault.
    #[must_use]
    pub fn is_rejection(&self) -> bool {
        match self {
            Self::Store(error) => {
                matches!(error, StoreError::NotFound { .. } | StoreError::InvalidKey { .. })
            }
            Self::Archive { source, .. } => source.is_rejection(),
            Self::TooLarge { .. } | Self::Checksum { .. } | Self::ScriptMissing { .. } => true,
            Self::Directory(_) | Self::Io { .. } => false,
        }
    }
}

/// Fetches and unpacks code.
pub struct CodeManager {
    store: Arc<dyn ObjectStore>,
    caps: CodeCaps,
    unpacking: Arc<Semaphore>,
}

impl CodeManager {
    /// One for all jobs.
    #[must_use]
    pub fn new(store: Arc<dyn ObjectStore>, caps: CodeCaps) -> Self {
        Self { store, caps, unpacking: Arc::new(Semaphore::new(MAX_UNPACKING)) }
    }

    /// Makes the job's directory and puts its code there. After an error nothing is there.
    ///
    /// Whoever drops this future half-way calls [`JobDirectory::remove`], which clears up what it
    /// left.
    ///
    /// # Errors
    ///
    /// [`CodeError`]; one about a directory that is [`DirectoryError::Taken`] leaves it as it is.
    pub async fn fetch_and_extract(
        &self,
        job: &Job,
        directory: &JobDirectory,
    ) -> Result<Extracted, CodeError> {
        directory.create().await?;
        let outcome = self.fill(job, directory).await;
        if outcome.is_err()
            && let Err(error) = directory.remove().await
        {
            let path = directory.root().display();
            tracing::warn!(job.id = %job.id, %path, %error, "could not remove the job's directory");
        }
        outcome
    }

    async fn fill(&self, job: &Job, directory: &JobDirectory) -> Result<Extracted, CodeError> {
        let zip = directory.archive();
        let max_bytes = self.caps.max_archive_bytes;
        let downloaded = self.store.download(Bucket::Code, &job.code_key, &zip, max_bytes).await;
        downloaded.map_err(|error| match error {
            StoreError::TooLarge { key, max_bytes, .. } => CodeError::TooLarge { key, max_bytes },
            error => error.into(),
        })?;
        let unpacking = Unpacking {
            key: job.code_key.clone(),
            sha256: job.code_sha256.clone(),
            script: job.script.clone(),
            zip,
            root: directory.root().to_owned(),
            caps: self.caps.archive,
        };
        // Nobody closes it; without a permit it would be unpacked all the same.
        let permit = Arc::clone(&self.unpacking).acquire_owned().await;
        let turn = directory.turn().await;
        let working = tokio::task::spawn_blocking(move || {
            let (_permit, _turn) = (permit, turn);
            unpacking.run()
        });
        working.await.unwrap_or_else(|error| {
            let action = "unpacking the code was interrupted".to_owned();
            Err(CodeError::Io { action, source: io::Error::other(error) })
        })
    }
}

/// The part that blocks.
struct Unpacking {
    key: String,
    sha256: Option<String>,
    script: String,
    zip: PathBuf,
    root: PathBuf,
    caps: ArchiveCaps,
}

impl Unpacking {
    fn run(self) -> Result<Extracted, CodeError> {
        self.verify()?;
        let extracted = extract(&self.zip, &self.root, self.caps)
            .map_err(|source| CodeError::Archive { key: self.key.clone(), source })?;
        // What was made for it alone.
        let incoming = self.zip.parent().unwrap_or(&self.zip);
        fs::remove_dir_all(incoming).map_err(io_error("removing", incoming))?;
        self.find_script()?;
        Ok(extracted)
    }

    fn verify(&self) -> Result<(), CodeError> {
        let Some(expected) = &self.sha256 else {
            return Ok(());
        };
        let actual = sha256_of(&self.zip).map_err(io_error("reading", &self.zip))?;
        if &actual == expected {
            return Ok(());
        }
        Err(CodeError::Checksum { key: self.key.clone(), expected: expected.clone(), actual })
    }

    fn find_script(&self) -> Result<(), CodeError> {
        respell(&self.root, &self.script).map_err(io_error("reading", &self.root))?;
        let path = self.root.join(&self.script);
        if fs::symlink_metadata(&path).is_ok_and(|metadata| metadata.is_file()) {
            return Ok(());
        }
        let found =
            some_files(&self.root, &self.script).map_err(io_error("reading", &self.root))?;
        Err(CodeError::ScriptMissing { key: self.key.clone(), script: self.script.clone(), found })
    }
}

/// Names the script and the folders above it as the message does, where the zip writes their accents
/// in the other form, as zips from macOS do: `é` in two characters.
fn respell(root: &Path, script: &str) -> io::Result<()> {
    let mut place = root.to_owned();
    for part in script.split('/') {
        let wanted = place.join(part);
        if !part.is_ascii() && fs::symlink_metadata(&wanted).is_err() {
            for entry in fs::read_dir(&place)? {
                let entry = entry?;
                let name = entry.file_name();
                if name.to_str().is_some_and(|name| composed(name) == composed(part)) {
                    fs::rename(entry.path(), &wanted)?;
                    break;
                }
            }
        }
        if !fs::symlink_metadata(&wanted).is_ok_and(|metadata| metadata.is_dir()) {
            break;
        }
        place = wanted;
    }
    Ok(())
}

/// A file's SHA-256 in lower-case hexadecimal, without the file in memory.
fn sha256_of(path: &Path) -> io::Result<String> {
    let mut reader = BufReader::with_capacity(64 * 1024, File::open(path)?);
    let mut hash = Sha256::new();
    loop {
        let bytes = reader.fill_buf()?;
        if bytes.is_empty() {
            return Ok(hex::encode(hash.finalize()));
        }
        hash.update(bytes);
        let count = bytes.len();
        reader.consume(count);
    }
}

fn io_error(verb: &str, path: &Path) -> impl FnOnce(io::Error) -> CodeError {
    let action = format!("{verb} {}", path.display());
    move |source| CodeError::Io { action, source }
}

fn those_there(found: &[String]) -> String {
    if found.is_empty() {
        "there are none".to_owned()
    } else {
        format!("there are {}", found.join(", "))
    }
}

/// A few files below `root`, quoted: those named as the script is first, for they tell of a folder
/// that was packed instead of its content; then those nearest to the root.
fn some_files(root: &Path, script: &str) -> io::Result<Vec<String>> {
    let wanted = Path::new(script).file_name();
    let mut found = Vec::new();
    let mut folders = VecDeque::from([root.to_owned()]);
    while let Some(folder) = folders.pop_front() {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                folders.push_back(entry.path());
            } else if let Ok(path) = entry.path().strip_prefix(root) {
                let is_other = path.file_name() != wanted;
                found.push((is_other, path.components().count(), path.to_owned()));
            }
        }
    }
    found.sort_unstable();
    found.truncate(SHOWN_FILES);
    Ok(found.into_iter().map(|(_, _, path)| format!("{:?}", path.to_string_lossy())).collect())
}
