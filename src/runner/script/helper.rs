//! `longshore-init`, the static program that stands between a container's process 1 and the job's program.
//!
//! It is a part of this program (build.rs) and is put into `TEMP_DIR` once, from where every container has it,
//! read-only. Its name says its content, so that workers of several versions may share a `TEMP_DIR`.

use std::fs::{self, Metadata, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::Duration;

use nix::unistd::geteuid;

use super::write::ScriptError;

/// Where it appears, in the job's directory.
pub const HELPER: &str = ".longshore/init";

static PROGRAM: &[u8] = include_bytes!(env!("LONGSHORE_INIT"));

/// Whoever runs it, nobody changes it.
const MODE: u32 = 0o555;

/// For how long those of other versions are kept: another worker may just be about to start a container with one.
const KEEP_OTHERS: Duration = Duration::from_hours(1);

/// What all names begin with. Users who share a `TEMP_DIR` have one each.
fn prefix() -> String {
    format!(".longshore-init-{}-", geteuid())
}

static NAME: LazyLock<String> = LazyLock::new(|| prefix() + env!("LONGSHORE_INIT_HASH"));

/// The place of the program in this `TEMP_DIR`. Puts it there where it is missing.
pub(super) fn install(temp_dir: &Path) -> Result<PathBuf, ScriptError> {
    let path = temp_dir.join(&*NAME);
    let found = path.symlink_metadata();
    if found.is_ok_and(|found| is_ours_and_whole(&found)) {
        return Ok(path);
    }
    write_whole(&path, temp_dir).map_err(ScriptError::io("installing longshore-init as", &path))?;
    remove_others(temp_dir);
    Ok(path)
}

/// Nobody else can have put it there, and it was put there at once.
fn is_ours_and_whole(found: &Metadata) -> bool {
    found.is_file()
        && found.uid() == geteuid().as_raw()
        && found.permissions().mode() & 0o7777 == MODE
        && found.len() == PROGRAM.len() as u64
}

fn write_whole(path: &Path, temp_dir: &Path) -> io::Result<()> {
    let mut part = tempfile::Builder::new().prefix(&prefix()).tempfile_in(temp_dir)?;
    part.write_all(PROGRAM)?;
    part.as_file().set_permissions(Permissions::from_mode(MODE))?;
    // Or it may be found empty after a crash of the host.
    part.as_file().sync_all()?;
    part.persist(path)?;
    Ok(())
}

/// Removes those of other versions. They run on where they run already.
fn remove_others(temp_dir: &Path) {
    for entry in fs::read_dir(temp_dir).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let is_other =
            name.to_str().is_some_and(|name| name.starts_with(&prefix()) && name != *NAME);
        let is_old = || entry.metadata().ok()?.modified().ok()?.elapsed().ok();
        if is_other
            && is_old().is_some_and(|age| age > KEEP_OTHERS)
            && let Err(error) = fs::remove_file(entry.path())
        {
            tracing::debug!(path = %entry.path().display(), %error, "could not remove the helper of another version");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::time::SystemTime;

    use super::*;

    fn names(temp_dir: &Path) -> Vec<String> {
        let entries = fs::read_dir(temp_dir).unwrap().flatten();
        let mut names: Vec<_> =
            entries.map(|entry| entry.file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn it_is_a_static_program() {
        // The magic of ELF; a program that needs a loader of the image names it.
        assert!(PROGRAM.starts_with(b"\x7fELF"));
        let needs_loader = PROGRAM.windows(6).any(|bytes| bytes == b"/ld-li" || bytes == b"/ld-mu");
        assert!(!needs_loader);
    }

    #[test]
    fn it_is_put_there_once_and_again_when_somebody_has_removed_it() {
        let temp = tempfile::tempdir().unwrap();
        let path = install(temp.path()).unwrap();
        let inode = fs::metadata(&path).unwrap().ino();
        assert_eq!(install(temp.path()).unwrap(), path);
        assert_eq!(fs::metadata(&path).unwrap().ino(), inode);
        fs::remove_file(&path).unwrap();
        install(temp.path()).unwrap();
        assert_eq!(fs::read(&path).unwrap(), PROGRAM);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o555);
        assert_eq!(names(temp.path()), [NAME.as_str()]);
    }

    #[test]
    fn what_is_not_whole_or_not_ours_is_replaced() {
        let temp = tempfile::tempdir().unwrap();
        let elsewhere = tempfile::NamedTempFile::new().unwrap();
        fs::write(&elsewhere, PROGRAM).unwrap();
        fs::set_permissions(&elsewhere, Permissions::from_mode(MODE)).unwrap();
        let spoils: [fn(&Path, &Path); 3] = [
            |path, _| fs::write(path, &PROGRAM[1..]).unwrap(),
            |path, _| fs::set_permissions(path, Permissions::from_mode(0o777)).unwrap(),
            |path, elsewhere| {
                fs::remove_file(path).unwrap();
                symlink(elsewhere, path).unwrap();
            },
        ];
        for spoil in spoils {
            let path = install(temp.path()).unwrap();
            fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
            spoil(&path, elsewhere.path());
            install(temp.path()).unwrap();
            let found = path.symlink_metadata().unwrap();
            assert!(is_ours_and_whole(&found) && fs::read(&path).unwrap() == PROGRAM);
        }
    }

    #[test]
    fn old_ones_of_other_versions_are_removed_and_nothing_else() {
        let temp = tempfile::tempdir().unwrap();
        let long_ago = SystemTime::now() - KEEP_OTHERS * 2;
        for (name, is_old) in [("old", true), ("new", false)] {
            let file = fs::File::create(temp.path().join(prefix() + name)).unwrap();
            if is_old {
                file.set_modified(long_ago).unwrap();
            }
        }
        let other = fs::File::create(temp.path().join("namespace")).unwrap();
        other.set_modified(long_ago).unwrap();
        install(temp.path()).unwrap();
        let mut expected = vec![prefix() + "new", NAME.clone(), "namespace".to_owned()];
        expected.sort();
        assert_eq!(names(temp.path()), expected);
        // Its own age does not matter.
        let file = fs::File::open(temp.path().join(&*NAME)).unwrap();
        file.set_modified(long_ago).unwrap();
        remove_others(temp.path());
        assert!(names(temp.path()).contains(&NAME));
    }
}
