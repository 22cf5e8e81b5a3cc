//! Opening a job's directory to whoever its container runs as.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::job::archive::RESERVED_DIRECTORY;

/// Nobody but its owner removes what is in such a folder.
const STICKY: u32 = 0o1000;

/// Gives everybody the rights to everything in `root`, as it was unpacked: the links in it lead to what is
/// in it as well.
pub(super) fn to_all(root: &Path) -> io::Result<()> {
    open(root, 0o777 | STICKY)?;
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let metadata = entry.metadata()?;
            if entry.file_name() == RESERVED_DIRECTORY {
                continue;
            }
            open(&entry.path(), 0o666 | metadata.permissions().mode() & 0o111)?;
            if metadata.is_dir() {
                folders.push(entry.path());
            }
        }
    }
    Ok(())
}

fn open(path: &Path, mode: u32) -> io::Result<()> {
    fs::set_permissions(path, Permissions::from_mode(mode))
}
