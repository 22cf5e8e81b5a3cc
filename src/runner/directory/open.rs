//! Opens a job's directory to the user of its container.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::job::archive::RESERVED_DIRECTORY;

/// In such a folder, only the owner of a file can remove it.
const STICKY: u32 = 0o1000;

/// Gives everybody the rights to everything in `root`, as it was unpacked. Links in it lead to
/// files in it.
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
