//! The lease of a long-running container: a file that its worker writes anew for as long as it can
//! show that the job is its own. The entry script watches it, and ends the bot when it runs out: so a bot
//! whose worker was cut off has ended before another worker starts it elsewhere.
//!
//! A lease counts from its proof, in the time that the kernel counts since it started, which every
//! process of a host reads alike: however late it is written or seen, it runs out at the same moment.
//! Where the container has another kernel, it counts from when it is seen.

pub(super) mod renewal;
mod watch;

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::LazyLock;
use std::time::Duration;

use nix::fcntl::{OFlag, open, openat};
use nix::sys::stat::Mode;
use nix::time::{ClockId, clock_gettime};

use crate::job::archive::RESERVED_DIRECTORY;

pub(super) use watch::LeaseWatch;

/// Where the lease lies, in the job's directory.
const FOLDER: &str = RESERVED_DIRECTORY;

/// The lease.
const FILE: &str = "lease";

/// By how much the first lease is shorter than those that follow, where it counts from when it is seen: a
/// container may start on a proof that is older than the one a lease is renewed on, whose lease is seen
/// later in turn. The entry script knows the number. A test beside the ages of proofs keeps it right.
pub(crate) const FIRST_IS_SHORTER_BY: Duration = Duration::from_secs(3);

/// What tells one start of a kernel from another.
static BOOT: LazyLock<Option<String>> = LazyLock::new(|| {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(id.trim().to_owned()).filter(|id| id.len() == 36)
});

/// A moment as the kernel counts since it started, suspension included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Uptime(Duration);

impl Uptime {
    /// Now; none where the kernel does not say.
    #[must_use]
    pub fn now() -> Option<Self> {
        clock_gettime(ClockId::CLOCK_BOOTTIME).ok().map(|time| Self(time.into()))
    }
}

/// How long a bot may run on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Grant {
    /// From when the lease is seen.
    pub(super) lifetime: Duration,
    /// Up to when, where that is known.
    pub(super) until: Option<Uptime>,
}

impl Grant {
    /// A lease of this length from a proof on, or from when it is seen.
    pub(super) fn from(proven_at: Option<Uptime>, lifetime: Duration) -> Self {
        Self { lifetime, until: proven_at.map(|at| Uptime(at.0 + lifetime)) }
    }

    fn first(self) -> Self {
        Self { lifetime: self.lifetime.saturating_sub(FIRST_IS_SHORTER_BY), ..self }
    }
}

/// The text of a lease. Its stamp, which differs from the last one, stands at both ends, so that one which is
/// being written is not taken for whole; and it is always of the same length.
fn text(stamp: &str, grant: Grant) -> String {
    let until = grant.until.zip(BOOT.as_deref());
    let (until, boot) =
        until.map_or(("-".to_owned(), "-"), |(until, boot)| (until.0.as_secs().to_string(), boot));
    let seconds = grant.lifetime.as_secs();
    format!("{stamp:<48} {seconds:<10}\n{until:<12} {boot:<36} {stamp:<48}\n")
}

/// Writes a lease.
///
/// A lease that is there is written over in place, in one write of the same length: a disk that is full
/// meanwhile takes it all the same.
///
/// The code may have put anything in its place, or in its folder's: no link is followed, and nobody at
/// the other end of a pipe is waited for.
pub(super) fn write(root: &Path, stamp: &str, grant: Grant) -> io::Result<()> {
    let (no_link, readable) =
        (OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC, Mode::from_bits_truncate(0o644));
    let folder = open(&root.join(FOLDER), no_link | OFlag::O_DIRECTORY, Mode::empty())?;
    let flags = no_link | OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_NONBLOCK;
    let lease = File::from(openat(&folder, FILE, flags, readable)?);
    lease.write_all_at(text(stamp, grant).as_bytes(), 0)
}

/// The most of a lease that is read, in bytes: a whole one has fewer.
const MAX_BYTES: u64 = 256;

/// When the lease that lies in the job's directory ends; `None` where there is none, or it does not say that
/// in the time of this kernel.
fn left_at(root: &Path) -> Option<Uptime> {
    let no_link = OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK;
    let folder = open(&root.join(FOLDER), no_link | OFlag::O_DIRECTORY, Mode::empty()).ok()?;
    let lease = File::from(openat(&folder, FILE, no_link, Mode::empty()).ok()?);
    let mut text = String::new();
    lease.take(MAX_BYTES).read_to_string(&mut text).ok()?;
    let words: Vec<_> = text.split_whitespace().collect();
    let [stamp, _, until, boot, again] = words[..] else { return None };
    let is_whole_and_ours = stamp == again && Some(boot) == BOOT.as_deref();
    let seconds = is_whole_and_ours.then(|| until.parse().ok()).flatten()?;
    Some(Uptime(Duration::from_secs(seconds)))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    fn granted(seconds: u64) -> Grant {
        Grant::from(Uptime::now(), Duration::from_secs(seconds))
    }

    #[test]
    fn a_link_that_the_code_has_put_in_its_place_is_not_followed() {
        let root = tempfile::tempdir().unwrap();
        let (job, elsewhere) = (root.path().join("job"), root.path().join("elsewhere"));
        fs::create_dir_all(job.join(FOLDER)).unwrap();
        fs::create_dir(&elsewhere).unwrap();
        let file = elsewhere.join("file");
        fs::write(&file, "untouched").unwrap();
        symlink(&file, job.join(FOLDER).join(FILE)).unwrap();
        assert!(write(&job, "1.1", granted(15)).is_err());
        assert_eq!(fs::read_to_string(&file).unwrap(), "untouched");
        fs::remove_dir_all(job.join(FOLDER)).unwrap();
        symlink(&elsewhere, job.join(FOLDER)).unwrap();
        assert!(write(&job, "1.2", granted(15)).is_err());
        assert_eq!(fs::read_dir(&elsewhere).unwrap().count(), 1);
    }

    #[test]
    fn a_lease_says_its_stamp_at_both_ends_and_is_replaced_whole() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join(FOLDER)).unwrap();
        let boot = BOOT.as_deref().unwrap();
        for (stamp, proven_at, until, of) in [
            ("1.1", Some(Uptime(Duration::from_millis(100_900))), "115", boot),
            ("1.2", None, "-", "-"),
        ] {
            write(root.path(), stamp, Grant::from(proven_at, Duration::from_secs(15))).unwrap();
            let text = fs::read_to_string(root.path().join(FOLDER).join(FILE)).unwrap();
            let lines: Vec<Vec<_>> =
                text.lines().map(|line| line.split_whitespace().collect()).collect();
            assert_eq!(lines, [vec![stamp, "15"], vec![until, of, stamp]]);
            assert_eq!(text.len(), 159);
        }
        assert_eq!(fs::read_dir(root.path().join(FOLDER)).unwrap().count(), 1);
    }

    #[test]
    fn the_first_lease_is_shorter_where_it_counts_from_when_it_is_seen_and_only_there() {
        let first =
            Grant::from(Some(Uptime(Duration::from_secs(100))), Duration::from_secs(15)).first();
        assert_eq!(first.lifetime, Duration::from_secs(12));
        assert_eq!(first.until, Some(Uptime(Duration::from_secs(115))));
    }
}
