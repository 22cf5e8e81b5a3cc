//! `TEMP_DIR`: who owns it, and who may pass through it. For the other directories: who owns them.
//!
//! The jobs' directories contain secrets, code and results. So the directory of a namespace is
//! closed to all other users of the host, and only root and the worker may own the directories
//! above it: the owner of a directory can replace what is in it.

use std::fs::{self, DirBuilder, File, Metadata, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::libc::{O_NOFOLLOW, O_NONBLOCK};
use nix::unistd::geteuid;

/// Others may write to such a directory, but not remove or rename files of other owners.
const STICKY: u32 = 0o1000;

/// Group and others may write.
const OTHERS_WRITE: u32 = 0o022;

/// Why `TEMP_DIR`, or another directory of the settings, cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TempDirError {
    /// Another user owns it, or a part of it.
    #[error(
        "{setting}: {} belongs to the user {owner}, and this process is the user {me}: its owner could \
         exchange and read what jobs keep there. Set {setting} to a directory of this user's own, or \
         give it this one (chown {me} {})",
        path.display(), path.display()
    )]
    Foreign {
        /// The setting that names it.
        setting: &'static str,
        /// What.
        path: PathBuf,
        /// Its owner.
        owner: u32,
        /// Our user.
        me: u32,
    },
    /// Others may write to it.
    #[error(
        "{setting}: other users may write to {} (its mode is {mode:o}), and could exchange what jobs keep there: \
         take that from them (chmod go-w {}), or set {setting} to another directory",
        path.display(), path.display()
    )]
    Open {
        /// The setting that names it.
        setting: &'static str,
        /// Where.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// It is no directory, or cannot be made or inspected.
    #[error("{setting}: {} cannot be used: {source}", path.display())]
    Io {
        /// The setting that names it.
        setting: &'static str,
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl TempDirError {
    fn io(setting: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { setting, path, source }
    }
}

/// Whether other users of the host may pass through a namespace's directory, which some engines
/// need.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Passage {
    /// Only we and root.
    Closed,
    /// Everybody who knows a path, but nobody can list the directory.
    Open,
}

impl Passage {
    fn mode(self) -> u32 {
        match self {
            Self::Closed => 0o700,
            Self::Open => 0o711,
        }
    }
}

/// The setting that is meant if no other is named.
pub const TEMP_DIR: &str = "TEMP_DIR";

/// The setting of the cache of unpacked code.
pub const CODE_CACHE_DIR: &str = "CODE_CACHE_DIR";

/// Makes the directory of a setting if it is missing, and makes sure that no other user can replace
/// what is in it.
///
/// # Errors
/// [`TempDirError`], which says what to do.
pub fn check(setting: &'static str, temp_dir: &Path) -> Result<(), TempDirError> {
    let failed = || TempDirError::io(setting, temp_dir);
    let mode = Passage::Open.mode();
    let created = DirBuilder::new().recursive(true).mode(mode).create(temp_dir);
    created.map_err(failed())?;
    // The link, too, if it is one: its owner could point it elsewhere.
    let link = fs::symlink_metadata(temp_dir).map_err(failed())?;
    let directory = fs::metadata(temp_dir).map_err(failed())?;
    for found in [&link, &directory] {
        refuse_foreign(setting, temp_dir, found, true)?;
    }
    let mode = directory.permissions().mode() & 0o7777;
    if mode & OTHERS_WRITE != 0 && mode & STICKY == 0 {
        return Err(TempDirError::Open { setting, path: temp_dir.to_owned(), mode });
    }
    Ok(())
}

/// Keeps programs that remove old files, such as systemd-tmpfiles, out of a directory as long as
/// the file is open: they skip a locked directory and everything below it. A bot may run for months
/// without a change to its files.
///
/// # Errors
/// If the directory cannot be opened or locked.
pub fn keep_from_cleaners(directory: &Path) -> io::Result<File> {
    let locked = File::open(directory)?;
    // Several workers may share it.
    locked.try_lock_shared()?;
    Ok(locked)
}

/// Opens a lock file of our own, and creates it if it is missing. It follows no link, and accepts
/// nothing that another user put there.
///
/// # Errors
/// If the file cannot be opened, or is not ours.
pub fn open_own(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.create(true).truncate(false).write(true).mode(0o600);
    let file = options.custom_flags(O_NOFOLLOW | O_NONBLOCK).open(path)?;
    let found = file.metadata()?;
    if !found.is_file() || found.uid() != geteuid().as_raw() {
        let problem = format!("{} is not a file of this worker's own", path.display());
        return Err(io::Error::other(problem));
    }
    Ok(file)
}

/// Makes a namespace's directory if it is missing, and sets its mode. Checks `TEMP_DIR` again,
/// because another user may have removed it and made a new one.
///
/// # Errors
/// [`TempDirError`], which says what to do.
pub fn close_namespace(
    temp_dir: &Path,
    namespace: &str,
    passage: Passage,
) -> Result<(), TempDirError> {
    check(TEMP_DIR, temp_dir)?;
    close(TEMP_DIR, &temp_dir.join(namespace), passage)
}

/// Makes the directory `path` where it is missing, and gives it the mode that it must have. The directory
/// above it must be safe, see [`check`].
///
/// # Errors
/// [`TempDirError`], which says what to do.
pub fn close(setting: &'static str, path: &Path, passage: Passage) -> Result<(), TempDirError> {
    let failed = || TempDirError::io(setting, path);
    let created = DirBuilder::new().mode(passage.mode()).create(path);
    if let Err(error) = created
        && error.kind() != io::ErrorKind::AlreadyExists
    {
        return Err(failed()(error));
    }
    let found = fs::symlink_metadata(path).map_err(failed())?;
    refuse_foreign(setting, path, &found, false)?;
    if !found.is_dir() {
        return Err(failed()(io::ErrorKind::NotADirectory.into()));
    }
    if found.permissions().mode() & 0o7777 != passage.mode() {
        let mode = Permissions::from_mode(passage.mode());
        fs::set_permissions(path, mode).map_err(failed())?;
    }
    Ok(())
}

fn refuse_foreign(
    setting: &'static str,
    path: &Path,
    found: &Metadata,
    root_is_fine: bool,
) -> Result<(), TempDirError> {
    let (owner, me) = (found.uid(), geteuid().as_raw());
    if owner == me || (root_is_fine && owner == 0) {
        return Ok(());
    }
    Err(TempDirError::Foreign { setting, path: path.to_owned(), owner, me })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{lchown, symlink};

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn a_cleaner_that_asks_for_the_lock_is_kept_out_while_any_worker_runs() {
        let root = tempfile::tempdir().unwrap();
        let may_clean = || File::open(root.path()).unwrap().try_lock().is_ok();
        let (one, other) = [(), ()].map(|()| keep_from_cleaners(root.path()).unwrap()).into();
        assert!(!may_clean());
        drop(one);
        assert!(!may_clean());
        drop(other);
        assert!(may_clean());
    }

    #[test]
    fn a_directory_of_our_own_is_made_and_taken() {
        let root = tempfile::tempdir().unwrap();
        let temp_dir = root.path().join("a/b");
        check(TEMP_DIR, &temp_dir).unwrap();
        check(TEMP_DIR, &temp_dir).unwrap();
        let link = root.path().join("link");
        symlink(&temp_dir, &link).unwrap();
        check(TEMP_DIR, &link).unwrap();
    }

    #[test]
    fn a_directory_in_which_others_may_exchange_things_is_refused() {
        let root = tempfile::tempdir().unwrap();
        for (given, is_fine) in [(0o777, false), (0o775, false), (0o1777, true), (0o755, true)] {
            fs::set_permissions(root.path(), Permissions::from_mode(given)).unwrap();
            let checked = check(TEMP_DIR, root.path());
            assert_eq!(checked.is_ok(), is_fine, "{given:o}: {checked:?}");
        }
    }

    #[test]
    fn what_belongs_to_another_user_is_refused_with_both_of_them() {
        if !geteuid().is_root() {
            return; // Only root can give files away.
        }
        let root = tempfile::tempdir().unwrap();
        let temp_dir = root.path().join("jobs");
        check(TEMP_DIR, &temp_dir).unwrap();
        close_namespace(&temp_dir, "ns", Passage::Closed).unwrap();
        lchown(temp_dir.join("ns"), Some(12_345), None).unwrap();
        let refused = close_namespace(&temp_dir, "ns", Passage::Closed).unwrap_err().to_string();
        assert!(refused.contains("jobs/ns belongs to the user 12345"), "{refused}");
        lchown(&temp_dir, Some(12_345), None).unwrap();
        let refused = check(TEMP_DIR, &temp_dir).unwrap_err().to_string();
        assert!(refused.contains("user 12345") && refused.contains("is the user 0"), "{refused}");
        // Also a link of another user to a directory of our own.
        let link = root.path().join("link");
        symlink(root.path(), &link).unwrap();
        lchown(&link, Some(12_345), None).unwrap();
        assert!(matches!(check(TEMP_DIR, &link), Err(TempDirError::Foreign { .. })));
    }

    #[test]
    fn a_namespaces_directory_is_closed_to_others_also_one_that_was_open_before() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("ns");
        close_namespace(root.path(), "ns", Passage::Open).unwrap();
        assert_eq!(mode(&path), 0o711);
        close_namespace(root.path(), "ns", Passage::Closed).unwrap();
        assert_eq!(mode(&path), 0o700);
        fs::remove_dir(&path).unwrap();
        symlink(root.path(), &path).unwrap();
        assert!(close_namespace(root.path(), "ns", Passage::Closed).is_err());
    }
}
