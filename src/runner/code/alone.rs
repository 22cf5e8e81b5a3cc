//! Code for one run alone: fetched and unpacked straight into the job's directory.

use std::fs;
use std::path::PathBuf;

use super::error::{CodeError, io_error, verify};
use super::script;
use super::wanted::ObjectName;
use crate::job::archive::{ArchiveCaps, Extracted, extract};

/// A zip that is to be unpacked into a job's directory.
pub(super) struct Unpacking {
    pub(super) key: String,
    pub(super) sha256: Option<String>,
    pub(super) script: String,
    pub(super) zip: PathBuf,
    pub(super) root: PathBuf,
    pub(super) caps: ArchiveCaps,
}

impl Unpacking {
    /// Checks and unpacks it. This blocks.
    pub(super) fn run(self) -> Result<Extracted, CodeError> {
        let object = ObjectName::code(&self.key);
        verify(&self.zip, &object, self.sha256.as_deref())?;
        let extracted = extract(&self.zip, &self.root, self.caps)
            .map_err(|source| CodeError::Archive { object, source })?;
        // The file that was made only for it.
        let incoming = self.zip.parent().unwrap_or(&self.zip);
        fs::remove_dir_all(incoming).map_err(io_error("removing", incoming))?;
        script::find(&self.root, &self.key, &self.script)?;
        Ok(extracted)
    }
}
