//! What every container may do, whatever its message says.

use std::fmt;
use std::str::FromStr;

use super::kind;
use super::seccomp::SeccompProfile;
use super::users::Users;

/// What every container may do, whatever its message says. The defaults keep the most away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    /// `BOT_USER` (65536-99999): as whom programs run.
    pub users: Users,
    /// `BOT_SECCOMP_PROFILE` (the engine's): which system calls they may make.
    pub seccomp: Option<SeccompProfile>,
    /// `BOT_READ_ONLY_ROOT` (true): nothing of the image's file system can be written, and `/tmp`
    /// is memory.
    pub read_only_root: bool,
    /// `BOT_READ_ONLY_CODE` (true): of the job's directory only `result.json` can be written.
    pub read_only_code: bool,
    /// `BOT_TMP_MB` (64): the size of `/tmp`, in MiB.
    pub tmp_mb: u64,
    /// `BOT_OPEN_FILES_LIMIT` (4096): open files of one process.
    pub open_files: u64,
    /// `BOT_FILE_SIZE_LIMIT_MB` (128): the largest file that a program may write, in bytes here.
    pub max_file_bytes: u64,
    /// `BOT_INIT` (true): whether the engine's init is process 1.
    pub init: bool,
    /// `BOT_OCI_RUNTIME` (the engine's default).
    pub oci_runtime: Option<String>,
}

/// A user and a group by number; the image need not know them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct User {
    /// The user.
    pub uid: u32,
    /// The group.
    pub gid: u32,
}

impl User {
    /// The user that may do everything its container allows.
    pub const ROOT: Self = Self { uid: 0, gid: 0 };
}

/// As the engine takes it, `uid:gid`.
impl fmt::Display for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.uid, self.gid)
    }
}

/// Why a text is no user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a user by number")]
pub struct NoUser;

/// `uid`, whose group has the same number, or `uid:gid`.
impl FromStr for User {
    type Err = NoUser;

    fn from_str(text: &str) -> Result<Self, NoUser> {
        let number = |digits| {
            kind::whole(digits).and_then(|number| u32::try_from(number).ok()).ok_or(NoUser)
        };
        let (uid, gid) = text.split_once(':').unwrap_or((text, text));
        Ok(Self { uid: number(uid)?, gid: number(gid)? })
    }
}
