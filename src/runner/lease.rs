//! The lease of a long-running container: a file that its worker renews while it can prove that it
//! owns the job. The helper in the bot's container (`longshore-init`) watches it, and ends the bot when
//! it runs out. So a bot whose worker is cut off has ended before another worker starts it elsewhere.
//!
//! A lease counts from its proof, in the kernel's time since boot, which is the same for every
//! process of a host. So it runs out at the same moment, however late it is written or seen. If the
//! container has another kernel, it counts from when the container sees it.

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

pub(super) use renewal::Renewals;
pub(super) use watch::LeaseWatch;

/// The lease's path in the job's directory.
const FOLDER: &str = RESERVED_DIRECTORY;

/// The lease.
const FILE: &str = "lease";

/// By how much the first lease is shorter than later ones, if it counts from when it is seen. A
/// container may start on an older proof than a renewal, and its first lease may be seen later. The
/// helper has the same number. A test next to the ages of proofs keeps it right.
pub(crate) const FIRST_IS_SHORTER_BY: Duration = Duration::from_secs(3);

/// Identifies one boot of a kernel.
static BOOT: LazyLock<Option<String>> = LazyLock::new(|| {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(id.trim().to_owned()).filter(|id| id.len() == 36)
});

/// A moment in the kernel's time since boot, including suspension.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Uptime(Duration);

impl Uptime {
    /// So long after the kernel's start.
    #[cfg(test)]
    pub(crate) fn since_boot(time: Duration) -> Self {
        Self(time)
    }

    /// How long that is after the kernel's start.
    #[cfg(test)]
    pub(crate) fn time(self) -> Duration {
        self.0
    }

    /// Now; `None` if the kernel does not say.
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
    /// Up to when, if that is known.
    pub(super) until: Option<Uptime>,
}

impl Grant {
    /// A lease of this length, from a proof or from when it is seen.
    pub(super) fn from(proven_at: Option<Uptime>, lifetime: Duration) -> Self {
        Self { lifetime, until: proven_at.map(|at| Uptime(at.0 + lifetime)) }
    }

    fn first(self) -> Self {
        Self { lifetime: self.lifetime.saturating_sub(FIRST_IS_SHORTER_BY), ..self }
    }
}

/// The text of a lease. Its stamp, which differs from the last one, is at both ends, so a
/// half-written lease is recognised. The text always has the same length.
fn text(stamp: &str, grant: Grant) -> String {
    let until = grant.until.zip(BOOT.as_deref());
    let (until, boot) =
        until.map_or(("-".to_owned(), "-"), |(until, boot)| (until.0.as_secs().to_string(), boot));
    let seconds = grant.lifetime.as_secs();
    format!("{stamp:<48} {seconds:<10}\n{until:<12} {boot:<36} {stamp:<48}\n")
}

/// Writes a lease.
///
/// An existing lease is overwritten in place, in one write of the same length. So this also works
/// on a full disk.
///
/// The code may have replaced the file or its folder by anything, so this follows no link and does
/// not wait on a pipe.
pub(super) fn write(root: &Path, stamp: &str, grant: Grant) -> io::Result<()> {
    let (no_link, readable) =
        (OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC, Mode::from_bits_truncate(0o644));
    let folder = open(&root.join(FOLDER), no_link | OFlag::O_DIRECTORY, Mode::empty())?;
    let flags = no_link | OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_NONBLOCK;
    let lease = File::from(openat(&folder, FILE, flags, readable)?);
    lease.write_all_at(text(stamp, grant).as_bytes(), 0)
}

/// The most that is read of a lease, in bytes. A whole one has fewer.
const MAX_BYTES: u64 = 256;

/// When the lease in the job's directory ends; `None` if there is none, or if it is not in this
/// kernel's time.
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

    use longshore_init::lease::Lease;

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
    fn what_is_written_is_what_the_helper_reads() {
        let proven_at = Some(Uptime(Duration::from_millis(100_900)));
        let boot = BOOT.as_deref().unwrap();
        let until = longshore_init::lease::Until { seconds: 115, boot: boot.to_owned() };
        for (proven_at, until) in [(proven_at, Some(until)), (None, None)] {
            let text = text("7.1", Grant::from(proven_at, Duration::from_secs(15)));
            let read = Lease::parse(&text).unwrap();
            assert_eq!(read, Lease { stamp: "7.1".to_owned(), seconds: 15, until });
        }
        assert_eq!((FOLDER, FILE), (longshore_init::OWN_FOLDER, longshore_init::lease::FILE));
        let shorter = Duration::from_secs(longshore_init::lease::FIRST_IS_SHORTER_BY_SECONDS);
        assert_eq!(FIRST_IS_SHORTER_BY, shorter);
    }

    #[test]
    fn the_first_lease_is_shorter_where_it_counts_from_when_it_is_seen_and_only_there() {
        let first =
            Grant::from(Some(Uptime(Duration::from_secs(100))), Duration::from_secs(15)).first();
        assert_eq!(first.lifetime, Duration::from_secs(12));
        assert_eq!(first.until, Some(Uptime(Duration::from_secs(115))));
    }
}
