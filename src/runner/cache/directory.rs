//! The directory of a cache: its folders, and the lock on it.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long a process waits for another one that puts an entry in its place or takes some away.
const PATIENCE: Duration = Duration::from_secs(10);

/// How often it looks.
const PAUSE: Duration = Duration::from_millis(2);

/// Why the cache cannot be used. Never the fault of a job: it runs without the cache.
#[derive(Debug, thiserror::Error)]
#[error("{action}: {source}")]
pub(in crate::runner) struct CacheError {
    action: String,
    source: io::Error,
}

impl CacheError {
    /// An error of the system, at `verb` the file or folder `path`.
    pub(in crate::runner) fn io(verb: &str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let action = format!("{verb} {}", path.display());
        move |source| Self { action, source }
    }

    /// A problem that is not the system's.
    pub(in crate::runner) fn other(action: &str, problem: impl Into<String>) -> Self {
        Self { action: action.to_owned(), source: io::Error::other(problem.into()) }
    }
}

/// Where everything is.
#[derive(Debug, Clone)]
pub(super) struct Directory {
    root: PathBuf,
}

impl Directory {
    /// The directory `root`, whose folders are made where they are missing.
    pub(super) fn open(root: PathBuf) -> Result<Self, CacheError> {
        let directory = Self { root };
        directory.make_folders()?;
        Ok(directory)
    }

    /// Makes the folders: also later, for somebody may have removed the whole cache.
    pub(super) fn make_folders(&self) -> Result<(), CacheError> {
        for folder in [self.entries(), self.making(), self.objects()] {
            // Others pass only as far as the root lets them, see `temp_dir::close`.
            let made = DirBuilder::new().recursive(true).mode(0o711).create(&folder);
            made.map_err(CacheError::io("creating the directory", &folder))?;
        }
        Ok(())
    }

    pub(super) fn entries(&self) -> PathBuf {
        self.root.join("entries")
    }

    pub(super) fn making(&self) -> PathBuf {
        self.root.join("making")
    }

    pub(super) fn objects(&self) -> PathBuf {
        self.root.join("objects")
    }

    /// Keeps every other process from changing what entries there are, for as long as the file is
    /// open.
    pub(super) fn lock(&self) -> Result<File, CacheError> {
        let path = self.root.join("lock");
        let failed = || CacheError::io("locking", &path);
        let file = OpenOptions::new().create(true).append(true).open(&path).map_err(failed())?;
        let begun = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(file),
                Err(TryLockError::Error(error)) => return Err(failed()(error)),
                Err(TryLockError::WouldBlock) if begun.elapsed() > PATIENCE => {
                    return Err(failed()(io::ErrorKind::TimedOut.into()));
                }
                // On a thread for what blocks.
                #[expect(clippy::disallowed_methods, reason = "this thread is there to block")]
                Err(TryLockError::WouldBlock) => std::thread::sleep(PAUSE),
            }
        }
    }
}

/// What is in a folder; nothing where there is none.
pub(super) fn names_in(folder: &Path) -> Result<Vec<String>, CacheError> {
    let reading = || CacheError::io("reading the directory", folder);
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(reading())?,
    };
    let mut names = Vec::new();
    for entry in entries {
        // Ours are all ASCII.
        names.extend(entry.map_err(reading())?.file_name().into_string());
    }
    Ok(names)
}

/// Removes a folder and all that is in it. That there is none is not an error.
pub(super) fn remove_tree(path: &Path) -> Result<(), CacheError> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(CacheError::io("removing", path)(error))
        }
        _ => Ok(()),
    }
}
