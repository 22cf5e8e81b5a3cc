//! The job's directory on the host: one for each attempt, never used twice.
//!
//! It is bound into the container, so its files may belong to root, be read-only, or be made to
//! trap the clean-up.

mod error;
mod give;
mod open;
mod read;
mod remove;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use tokio::sync::{Mutex, OwnedMutexGuard};

pub use self::error::DirectoryError;
pub use self::read::FoundFile;
use crate::job::archive::staging_of;
use crate::job::{JobId, RunId};
use crate::settings::User;

/// What the name of the file beside a directory ends with, see [`JobDirectory::handover`].
pub(super) const HANDOVER: &str = ".handover";

/// How often the parents are made again if the end of another attempt removes them.
const MAX_CREATE_TRIES: u32 = 8;

/// The directory of one attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundDirectory {
    /// The job.
    pub id: JobId,
    /// The run.
    pub run_id: RunId,
    /// The attempt; the first is 1.
    pub attempt: u32,
}

/// One attempt's directory on the host, whether it exists or not.
///
/// Blocking work goes on when the future that waits for it is dropped, as on a stop. So clones take
/// turns: removing the directory waits for work in it.
#[derive(Debug, Clone)]
pub struct JobDirectory {
    root: PathBuf,
    turn: Arc<Mutex<()>>,
}

impl JobDirectory {
    /// `{temp_dir}/{namespace}/{job}/{attempt}-{run}`.
    ///
    /// `namespace` is the worker's own setting, one plain part of a path; the ids are safe by their
    /// type.
    #[must_use]
    pub fn new(temp_dir: &Path, namespace: &str, job: &JobId, run: &RunId, attempt: u32) -> Self {
        let root =
            temp_dir.join(namespace).join(job.as_str()).join(format!("{attempt}-{}", run.as_str()));
        Self { root, turn: Arc::default() }
    }

    /// Waits for its turn to work in the directory. The work itself holds the turn, not the waiting
    /// caller.
    pub(super) async fn turn(&self) -> OwnedMutexGuard<()> {
        Arc::clone(&self.turn).lock_owned().await
    }

    /// The attempts of a run that have left something on this host, in order. A folder that cannot
    /// be read has none.
    #[must_use]
    pub fn attempts(temp_dir: &Path, namespace: &str, job: &JobId, run: &RunId) -> BTreeSet<u32> {
        let read = fs::read_dir(temp_dir.join(namespace).join(job.as_str()));
        let names = read.into_iter().flatten().flatten().map(|entry| entry.file_name());
        names.filter_map(|name| attempt_of(name.to_str()?, run)).collect()
    }

    /// The directories of all attempts in a namespace. Folders of jobs without attempts are
    /// removed: a removal was interrupted before that.
    #[must_use]
    pub fn list(temp_dir: &Path, namespace: &str) -> Vec<FoundDirectory> {
        let mut found = Vec::new();
        for folder in fs::read_dir(temp_dir.join(namespace)).into_iter().flatten().flatten() {
            let Some(id) = folder.file_name().to_str().and_then(|name| name.parse::<JobId>().ok())
            else {
                continue;
            };
            let entries: Vec<_> =
                fs::read_dir(folder.path()).into_iter().flatten().flatten().collect();
            if entries.is_empty() {
                remove_job_folder(&folder.path());
            }
            for entry in entries {
                if let Some((run_id, attempt)) = entry.file_name().to_str().and_then(parse_name) {
                    found.push(FoundDirectory { id: id.clone(), run_id, attempt });
                }
            }
        }
        found.dedup();
        found
    }

    /// Removes a job's folder if it has no attempt.
    ///
    /// # Errors
    ///
    /// The system's errors, except that there is none, or that it is in use.
    pub async fn remove_empty_folder(
        temp_dir: &Path,
        namespace: &str,
        job: &JobId,
    ) -> Result<(), DirectoryError> {
        let folder = temp_dir.join(namespace).join(job.as_str());
        match tokio::fs::remove_dir(&folder).await {
            Err(error) if !is_in_use_or_gone(&error) => {
                Err(DirectoryError::io("removing the folder", &folder)(error))
            }
            _ => Ok(()),
        }
    }

    /// What is bound into the container.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where the zip is while it is unpacked: next to the directory, so the code never sees it, and
    /// in a separate folder, so the rest of an interrupted download is found, too.
    #[must_use]
    pub fn archive(&self) -> PathBuf {
        self.incoming().join("code.zip")
    }

    /// The directory `root`, which is another than that of an attempt.
    pub(super) fn at(root: PathBuf) -> Self {
        Self { root, turn: Arc::default() }
    }

    /// A file beside the directory that says which container the attempt was handed over to, if that
    /// was started before.
    #[must_use]
    pub fn handover(&self) -> PathBuf {
        self.beside(HANDOVER)
    }

    /// The folder for what is being fetched.
    pub(super) fn incoming(&self) -> PathBuf {
        self.beside(".incoming")
    }

    /// Makes the directory, empty and with the mode 0755, the place for its zip, and missing
    /// parents.
    ///
    /// # Errors
    ///
    /// [`DirectoryError::Taken`] if it exists already. It belongs to a crashed attempt or a running
    /// one; only the caller knows which.
    pub async fn create(&self) -> Result<(), DirectoryError> {
        self.blocking(Self::create_blocking).await
    }

    /// Removes the directory with everything in it, the files next to it, and the job's folder if
    /// that was its last attempt. Symbolic links are removed, never followed. A missing directory
    /// is not an error, so this can be called again after any failure.
    ///
    /// # Errors
    ///
    /// [`DirectoryError::NeedsRoot`] if the container left files that this process may not remove.
    pub async fn remove(&self) -> Result<(), DirectoryError> {
        self.blocking(|directory| {
            remove::remove(&directory.root, &directory.beside(".removing"))?;
            remove::remove(&staging_of(&directory.root), &directory.beside(".removing"))?;
            remove::remove(&directory.incoming(), &directory.beside(".removing"))?;
            remove::remove(&directory.handover(), &directory.beside(".removing"))?;
            match directory.root.parent().map(fs::remove_dir) {
                Some(Err(error)) if !is_in_use_or_gone(&error) => {
                    Err(DirectoryError::io("removing the parent of", &directory.root)(error))
                }
                _ => Ok(()),
            }
        })
        .await
    }

    /// Reads the regular file `name`, of `max_bytes` at most, as the container left it.
    ///
    /// # Errors
    ///
    /// What the system says, such as that we may not read it.
    pub async fn read(
        &self,
        name: &'static str,
        max_bytes: u64,
    ) -> Result<FoundFile, DirectoryError> {
        self.blocking(move |directory| {
            let path = directory.root.join(name);
            read::read(&path, max_bytes).map_err(DirectoryError::io("reading", &path))
        })
        .await
    }

    /// When the kernel last saw the file `name` change, including its owner and mode. A writer
    /// cannot set that time back. `None` if it is unknown.
    pub async fn changed_at(&self, name: &'static str) -> Option<Timestamp> {
        let changed_at = self.blocking(move |directory| {
            let path = directory.root.join(name);
            read::changed_at(&path).map_err(DirectoryError::io("looking at", &path))
        });
        changed_at.await.ok().flatten()
    }

    /// Gives the directory, and the files `writes` in it, to the user of the container that is about to
    /// start, as far as this process may.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub async fn give_to(
        &self,
        user: User,
        writes: Vec<&'static str>,
        is_writable: bool,
    ) -> Result<(), DirectoryError> {
        self.blocking(move |directory| {
            let root = &directory.root;
            let given = give::to(root, user, &writes, is_writable);
            given.map(drop).map_err(DirectoryError::io("giving its user", root))
        })
        .await
    }

    /// Lets every user write to the code, for a container that may. Longshore's own folder stays as
    /// it is, and our files cannot be removed.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub async fn open_to_all(&self) -> Result<(), DirectoryError> {
        self.blocking(|directory| {
            let root = &directory.root;
            open::to_all(root).map_err(DirectoryError::io("opening", root))
        })
        .await
    }

    fn create_blocking(&self) -> Result<(), DirectoryError> {
        let mode = 0o755;
        let creating = || DirectoryError::io("creating the directory", &self.root);
        let mut tries = 1..=MAX_CREATE_TRIES;
        loop {
            if let Some(parent) = self.root.parent() {
                // Others may pass through, for an engine whose root is not the host's, but cannot
                // list it.
                DirBuilder::new()
                    .recursive(true)
                    .mode(0o711)
                    .create(parent)
                    .map_err(DirectoryError::io("creating the directory", parent))?;
            }
            match DirBuilder::new().mode(mode).create(&self.root) {
                Ok(()) => break,
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    return Err(DirectoryError::Taken { path: self.root.clone() });
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound && tries.next().is_some() => {
                }
                Err(error) => return Err(creating()(error)),
            }
        }
        // Set it again, because the umask removes bits.
        fs::set_permissions(&self.root, Permissions::from_mode(mode)).map_err(creating())?;
        let incoming = self.incoming();
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&incoming)
            .map_err(DirectoryError::io("creating the directory", &incoming))
    }

    fn beside(&self, suffix: &str) -> PathBuf {
        let mut name = self.root.as_os_str().to_owned();
        name.push(suffix);
        PathBuf::from(name)
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Self) -> Result<T, DirectoryError> + Send + 'static,
    ) -> Result<T, DirectoryError> {
        let (directory, turn) = (self.clone(), self.turn().await);
        let working = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            work(&directory)
        });
        working
            .await
            .unwrap_or_else(|_| Err(DirectoryError::Interrupted { path: self.root.clone() }))
    }
}

/// Removes the folder of a job if it is empty.
fn remove_job_folder(folder: &Path) {
    match fs::remove_dir(folder) {
        Err(error) if !is_in_use_or_gone(&error) => {
            tracing::warn!(folder = %folder.display(), %error, "could not remove a job's folder");
        }
        _ => {}
    }
}

/// The run and the attempt that an entry of a job's folder belongs to.
fn parse_name(name: &str) -> Option<(RunId, u32)> {
    let (attempt, rest) = name.split_once('-')?;
    let run = rest.split('.').next()?;
    Some((run.parse().ok()?, attempt.parse().ok()?))
}

/// The attempt of `run` to which an entry of a job's folder belongs: its directory, or a file next
/// to it, whose name goes on with a dot, which no id has.
fn attempt_of(name: &str, run: &RunId) -> Option<u32> {
    let (found, attempt) = parse_name(name)?;
    (found == *run).then_some(attempt)
}

fn is_in_use_or_gone(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::NotFound)
}
