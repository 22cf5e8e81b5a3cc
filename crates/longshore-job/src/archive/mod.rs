//! Archives: zips, and tars of inputs. They are unpacked as if their authors wanted to harm us. Zips
//! are packed for `longshore run DIR`.
//!
//! Everything here blocks; callers use `spawn_blocking`. [`extract`] checks every entry before it
//! writes the first one of a zip (`plan`), counts the bytes that really come out, and leaves nothing behind
//! when it fails. Not in here: where archives come from, and whether their hash is right
//! (`CodeManager`).

mod any;
mod budget;
mod extract;
mod headers;
mod links;
mod names;
mod pack;
mod plan;
mod sniff;
mod tar;
#[cfg(test)]
mod tests;

use std::io;
use std::time::Duration;

pub use any::extract_any;
pub use extract::extract;
pub use extract::staging_of;
pub use names::{composed, is_plain_name};
pub use pack::{Packed, Tree, zip_directory, zip_trees};

/// Our folder in a job's directory: configuration, launcher, lease. No archive may write there.
pub const RESERVED_DIRECTORY: &str = ".longshore";

/// Where the code leaves its result, at the root of the job's directory.
pub const RESULT_FILE: &str = "result.json";

/// How much an archive may ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ArchiveCaps {
    /// Files, including those that replace links; and the same number of folders.
    pub max_entries: usize,
    /// Bytes of all files together, unpacked.
    pub max_extracted_bytes: u64,
    /// Parts of one name.
    pub max_depth: usize,
    /// Bytes of one whole name.
    pub max_name_bytes: usize,
    /// How many times its own size it may unpack to.
    pub max_ratio: u64,
    /// How long unpacking may take.
    pub max_time: Duration,
    /// Whether it is unpacked where Longshore has files of its own, whose names it must not use.
    pub keeps_ours: bool,
}

impl ArchiveCaps {
    /// Parts of one name, by default: deeper than any `node_modules` that works.
    pub const DEFAULT_DEPTH: usize = 64;
    /// Bytes of one name, by default.
    pub const DEFAULT_NAME_BYTES: usize = 1024;
    /// How many times its own size, by default. Deflate reaches about a thousand times, and code
    /// about ten times.
    pub const DEFAULT_RATIO: u64 = 200;
    /// How long unpacking may take, by default.
    pub const DEFAULT_TIME: Duration = Duration::from_mins(2);

    /// Limits with these two, and the defaults of the others.
    #[must_use]
    pub fn new(max_entries: usize, max_extracted_bytes: u64) -> Self {
        Self {
            max_entries,
            max_extracted_bytes,
            max_depth: Self::DEFAULT_DEPTH,
            max_name_bytes: Self::DEFAULT_NAME_BYTES,
            max_ratio: Self::DEFAULT_RATIO,
            max_time: Self::DEFAULT_TIME,
            keeps_ours: true,
        }
    }
}

/// What was unpacked from an archive.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Extracted {
    /// Files written.
    pub files: usize,
    /// Bytes written.
    pub bytes: u64,
    /// Entries that were left out on purpose, one sentence each, for the job's log.
    pub notes: Vec<String>,
}

/// Why an archive could not be unpacked or packed.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// It cannot be read as a zip at all.
    #[error("the archive is not a usable zip: {reason}")]
    NotAZip {
        /// What is wrong.
        reason: String,
    },
    /// It cannot be read as a tar to its end.
    #[error("the archive is not a usable tar: {reason}")]
    NotATar {
        /// What is wrong.
        reason: String,
    },
    /// It is no archive that an input may be.
    #[error(
        "it is neither a zip nor a tar, as it is or packed with gzip or Zstandard{}",
        reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default()
    )]
    NotAnArchive {
        /// What it is, if that is known.
        reason: Option<String>,
    },
    /// It has more entries than allowed.
    #[error(
        "the archive has more than the {max_entries} files or folders allowed (CODE_MAX_ENTRIES)"
    )]
    TooManyEntries {
        /// The most that is allowed.
        max_entries: usize,
    },
    /// It holds more than allowed.
    #[error(
        "the archive holds more than the {max_bytes} bytes allowed, as seen at {entry} \
         (CODE_MAX_EXTRACTED_MB)"
    )]
    TooLarge {
        /// The entry with which it became too much, quoted.
        entry: String,
        /// The most that is allowed.
        max_bytes: u64,
    },
    /// It unpacks to too many times its own size.
    #[error(
        "the archive unpacks to more than {max_ratio} times its own size, as seen at {entry} \
         (CODE_MAX_RATIO)"
    )]
    OutOfProportion {
        /// The entry with which it became too much, quoted.
        entry: String,
        /// The most that is allowed.
        max_ratio: u64,
    },
    /// It keeps the machine busy for longer than allowed.
    #[error(
        "the archive was not unpacked within the {} s allowed (CODE_UNPACK_TIMEOUT_SECONDS)",
        max_time.as_secs()
    )]
    TooSlow {
        /// The longest that is allowed.
        max_time: Duration,
    },
    /// One entry is refused.
    #[error("the archive's entry {entry} {problem}")]
    BadEntry {
        /// Its name, quoted, shortened where it is long.
        entry: String,
        /// What is wrong with it, as the end of a sentence.
        problem: String,
    },
    /// This machine's disk failed. The archive is not at fault.
    #[error("{action}: {source}")]
    Io {
        /// What we tried, with the path.
        action: String,
        /// Why it failed.
        source: io::Error,
    },
}

impl ArchiveError {
    /// Whether the archive itself is at fault, so that trying again cannot help.
    #[must_use]
    pub fn is_rejection(&self) -> bool {
        !matches!(self, Self::Io { .. })
    }

    fn bad(name: &str, problem: impl Into<String>) -> Self {
        Self::BadEntry { entry: quoted(name), problem: problem.into() }
    }

    fn io(action: String) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { action, source }
    }

    fn too_many(caps: &ArchiveCaps) -> Self {
        Self::TooManyEntries { max_entries: caps.max_entries }
    }

    fn not_a_tar(reason: impl Into<String>) -> Self {
        Self::NotATar { reason: reason.into() }
    }

    fn not_a_zip(reason: impl Into<String>) -> Self {
        Self::NotAZip { reason: reason.into() }
    }
}

/// A name as messages show it: short, and on one line.
fn quoted(name: &str) -> String {
    const SHOWN_CHARS: usize = 160;
    match name.char_indices().nth(SHOWN_CHARS) {
        Some((end, _)) => format!("{:?}…", &name[..end]),
        None => format!("{name:?}"),
    }
}
