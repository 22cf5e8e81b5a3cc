//! Writing a job's scripts, and why that may fail.

use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

/// Why a job's scripts could not be written; never the job's fault.
#[derive(Debug, thiserror::Error)]
#[error("{action}: {source}")]
pub struct ScriptError {
    pub(super) action: String,
    pub(super) source: io::Error,
}

impl ScriptError {
    pub(super) fn io(verb: &str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let action = format!("{verb} {}", path.display());
        move |source| Self { action, source }
    }
}

/// Writes a file that must not be there yet.
pub(super) fn write_new(path: &Path, content: &[u8], mode: u32) -> Result<(), ScriptError> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)
        .and_then(|mut file| file.write_all(content))
        // Set it again, because the umask removes bits.
        .and_then(|()| fs::set_permissions(path, Permissions::from_mode(mode)))
        .map_err(ScriptError::io("writing", path))
}
