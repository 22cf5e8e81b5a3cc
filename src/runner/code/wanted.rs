//! An object that a job needs, and what is made of it before jobs get it.

use std::fmt;
use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;

use super::caps::CodeCaps;
use crate::job::Job;
use crate::job::archive::{ArchiveError, extract, extract_any};
use crate::job::inputs::Input;
use crate::storage::Bucket;

/// The name that the file of an input has until it is in its place.
pub(super) const FILE: &str = "file";

/// An object as errors name it: by what it is for, and by its key.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ObjectName {
    pub(super) is_input: bool,
    pub(super) key: String,
}

impl ObjectName {
    /// The code with this key.
    pub(super) fn code(key: &str) -> Self {
        Self { is_input: false, key: key.to_owned() }
    }

    /// The bucket that it is in.
    pub(super) fn bucket(&self) -> Bucket {
        if self.is_input { Bucket::Inputs } else { Bucket::Code }
    }
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.is_input { "input" } else { "code" };
        write!(f, "the {kind} {:?}", self.key)
    }
}

/// What is made of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Form {
    /// The files of a job's code.
    Code,
    /// One file with the object's bytes.
    File,
    /// The files of an archive.
    Tree,
}

/// An object that a job needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) object: ObjectName,
    /// What it must be, if the message says that.
    pub(super) sha256: Option<String>,
    pub(super) form: Form,
}

impl Wanted {
    /// The code of a job.
    pub(super) fn code(job: &Job) -> Self {
        let (object, sha256) = (ObjectName::code(&job.code_key), job.code_sha256.clone());
        Self { object, sha256, form: Form::Code }
    }

    /// An input of a job.
    pub(super) fn input(input: &Input) -> Self {
        Self {
            object: ObjectName { is_input: true, key: input.key.clone() },
            sha256: input.sha256.clone(),
            form: if input.unpack { Form::Tree } else { Form::File },
        }
    }
}

impl Form {
    /// A part of the name of what is made: under other caps it may be refused.
    pub(super) fn variant(self, caps: &CodeCaps) -> String {
        match self {
            Self::Code => format!("code-{}", caps.variant()),
            Self::File => "file-1".to_owned(),
            Self::Tree => format!("tree-{}", caps.variant()),
        }
    }

    /// The most bytes that the object may have, and the setting that says so.
    pub(super) fn max_bytes(self, caps: &CodeCaps) -> (u64, &'static str) {
        match self {
            Self::Code | Self::Tree => (caps.max_archive_bytes, "CODE_MAX_ARCHIVE_MB"),
            Self::File => (caps.max_input_bytes, "BOT_INPUTS_MB"),
        }
    }

    /// Makes the new directory `tree` of an object, which is in the file `from`. Gives notes for the
    /// log. This blocks.
    pub(super) fn make(
        self,
        from: &Path,
        tree: &Path,
        caps: &CodeCaps,
    ) -> Result<Vec<String>, ArchiveError> {
        let failed =
            |source| ArchiveError::Io { action: format!("making {}", tree.display()), source };
        match self {
            Self::Code => Ok(extract(from, tree, caps.archive)?.notes),
            Self::Tree => Ok(extract_any(from, tree, caps.of_inputs())?.notes),
            Self::File => {
                DirBuilder::new().mode(0o755).create(tree).map_err(failed)?;
                fs::rename(from, tree.join(FILE)).map_err(failed)?;
                Ok(Vec::new())
            }
        }
    }
}
