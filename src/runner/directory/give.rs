//! Gives a job's directory to the user of its container. Then only that user, root and the worker
//! can use it.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{PermissionsExt, lchown};
use std::path::Path;

use crate::settings::User;

/// A file that its user and the worker's group may read and write, and nobody else.
const SHARED: u32 = 0o660;

/// A file that every user may read and write who can reach it.
const OPEN: u32 = 0o666;

/// Gives `root` and the files `writes` in it to `user`; `is_writable`: the user may make files in
/// `root`, too. Returns whether that worked: a worker that is not root cannot give files away. Then
/// everything stays as it is, and only the namespace's directory keeps others out.
pub(super) fn to(root: &Path, user: User, writes: &[&str], is_writable: bool) -> io::Result<bool> {
    for name in writes {
        if !give_file(&root.join(name), user.uid)? {
            return Ok(false);
        }
    }
    match lchown(root, None, Some(user.gid)) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Ok(false),
        given => given?,
    }
    let mode = if is_writable { 0o1770 } else { 0o750 };
    fs::set_permissions(root, Permissions::from_mode(mode))?;
    Ok(true)
}

fn give_file(path: &Path, uid: u32) -> io::Result<bool> {
    // Once it belongs to another user, we may not be allowed to change its mode.
    if fs::symlink_metadata(path)?.permissions().mode() & 0o777 != SHARED {
        fs::set_permissions(path, Permissions::from_mode(SHARED))?;
    }
    match lchown(path, Some(uid), None) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            fs::set_permissions(path, Permissions::from_mode(OPEN))?;
            Ok(false)
        }
        given => given.map(|()| true),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use nix::unistd::geteuid;

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn what_a_program_writes_can_be_written_by_its_user_alone_and_another_can_follow() {
        if !geteuid().is_root() {
            return; // Only root can give files away.
        }
        let root = tempfile::tempdir().unwrap();
        let (result, code) = (root.path().join("result.json"), root.path().join("main.py"));
        for file in [&result, &code] {
            fs::write(file, "").unwrap();
        }
        let before = (mode(&code), fs::metadata(&code).unwrap().uid());
        for uid in [70_001, 70_002] {
            assert!(to(root.path(), User { uid, gid: uid }, &["result.json"], false).unwrap());
            let (directory, file) =
                (fs::metadata(root.path()).unwrap(), fs::metadata(&result).unwrap());
            assert_eq!((directory.uid(), directory.gid(), mode(root.path())), (0, uid, 0o750));
            assert_eq!((file.uid(), mode(&result)), (uid, 0o660));
        }
        assert_eq!((mode(&code), fs::metadata(&code).unwrap().uid()), before);
        assert!(to(root.path(), User { uid: 70_003, gid: 70_003 }, &[], true).unwrap());
        assert_eq!(mode(root.path()), 0o1770);
    }
}
