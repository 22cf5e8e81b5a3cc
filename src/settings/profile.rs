//! What every container may do, whatever its message says.

use super::seccomp::SeccompProfile;
use super::users::Users;

/// What every container may do, whatever its message says. The defaults are the strictest.
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
