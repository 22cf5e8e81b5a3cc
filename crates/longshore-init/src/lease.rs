//! The lease of a bot: a file that its worker writes anew for as long as it can show that the bot is its own.
//!
//! A lease says when it ends in the time of the worker's kernel. Where this is another kernel, or shows another
//! time, the lease counts from when it is seen. A lease with the stamp of the last one is no new one: it runs out
//! however the clock is set.

use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::fcntl::OFlag;
use nix::time::{ClockId, clock_gettime};

use crate::OWN_FOLDER;

/// The name of the lease, in the own folder of the job's directory.
pub const FILE: &str = "lease";

/// How often the lease is looked at. It is also what a bot has between SIGTERM and SIGKILL.
pub const LOOK_EVERY: Duration = Duration::from_secs(2);

/// By how many seconds a bot is ended before the end of its lease.
pub const ENDS_EARLY_SECONDS: u64 = 3;

/// By how many seconds the first lease is shorter than those that follow, where it counts from when it is seen.
pub const FIRST_IS_SHORTER_BY_SECONDS: u64 = 3;

/// The most of a lease that is read, in bytes: a whole one has fewer.
const MAX_BYTES: u64 = 256;

/// What a lease says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// Differs from that of the lease before.
    pub stamp: String,
    /// How long it lasts from when it is seen, in seconds.
    pub seconds: u64,
    /// When it ends, where the worker knows.
    pub until: Option<Until>,
}

/// When a lease ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Until {
    /// In seconds since the kernel started.
    pub seconds: u64,
    /// Which start of which kernel that is.
    pub boot: String,
}

impl Lease {
    /// Reads a lease. `None` where it is not whole: it may just be being written.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (first, rest) = text.split_once('\n')?;
        let (second, _) = rest.split_once('\n')?;
        let (first, second) = (words(first), words(second));
        let (&[stamp, seconds], &[until, boot, again]) = (&first[..], &second[..]) else {
            return None;
        };
        if stamp != again {
            return None;
        }
        let until = until.parse().ok().map(|seconds| Until { seconds, boot: boot.to_owned() });
        Some(Self { stamp: stamp.to_owned(), seconds: seconds.parse().ok()?, until })
    }
}

fn words(line: &str) -> Vec<&str> {
    line.split_ascii_whitespace().collect()
}

/// The place of a lease. The program may have put anything there.
#[derive(Debug)]
pub struct LeaseFile(PathBuf);

impl LeaseFile {
    /// The lease of the job with this directory.
    #[must_use]
    pub fn of(root: &Path) -> Self {
        Self(root.join(OWN_FOLDER).join(FILE))
    }

    /// Whether there is one. A job without a lease is not watched.
    #[must_use]
    pub fn is_there(&self) -> bool {
        self.0.exists()
    }

    /// What it says; `None` where it cannot be read.
    #[must_use]
    pub fn read(&self) -> Option<Lease> {
        // No link is followed, and nobody at the other end of a pipe is waited for.
        let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
        let file = File::options().read(true).custom_flags(flags.bits()).open(&self.0).ok()?;
        let mut text = String::new();
        file.take(MAX_BYTES).read_to_string(&mut text).ok()?;
        Lease::parse(&text)
    }
}

/// The clock by which a lease is watched.
#[derive(Debug)]
pub struct Clock {
    boot: Option<String>,
    id: ClockId,
}

impl Clock {
    /// The kernel's time since it started, suspension included; where it does not tell that, without suspension.
    #[must_use]
    pub fn of_kernel() -> Self {
        if clock_gettime(ClockId::CLOCK_BOOTTIME).is_err() {
            return Self { boot: None, id: ClockId::CLOCK_MONOTONIC };
        }
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok();
        let boot = boot.map(|id| id.trim().to_owned()).filter(|id| !id.is_empty());
        Self { boot, id: ClockId::CLOCK_BOOTTIME }
    }

    /// Which start of which kernel it is, where that is known.
    #[must_use]
    pub fn boot(&self) -> Option<String> {
        self.boot.clone()
    }

    /// Now, in whole seconds. Should the kernel not tell, the end of all times: nobody could end the bot in time.
    #[must_use]
    pub fn now(&self) -> u64 {
        let time = clock_gettime(self.id).ok();
        time.and_then(|time| u64::try_from(time.tv_sec()).ok()).unwrap_or(u64::MAX)
    }
}

/// Watches a lease. Pure.
#[derive(Debug)]
pub struct Watch {
    boot: Option<String>,
    /// The stamp of the last lease that was seen, and when that lease ends.
    seen: Option<(String, u64)>,
}

impl Watch {
    /// By the clock of this start of the kernel, where it is known which one it is.
    #[must_use]
    pub fn new(boot: Option<String>) -> Self {
        Self { boot, seen: None }
    }

    /// A look at the lease at `now`, in seconds. Gives whether it is time to end the bot. A bot whose first lease
    /// was never seen whole runs on.
    pub fn look(&mut self, now: u64, lease: Option<&Lease>) -> bool {
        if let Some(lease) = lease
            && self.seen.as_ref().is_none_or(|(stamp, _)| *stamp != lease.stamp)
        {
            let ends = self.end_of(now, lease);
            self.seen = Some((lease.stamp.clone(), ends));
        }
        self.seen.as_ref().is_some_and(|(_, ends)| now >= ends.saturating_sub(ENDS_EARLY_SECONDS))
    }

    /// The end that a lease tells counts where it is told in our time. Where a container is made to look like a
    /// machine, our time may differ all the same: then that end would be far away.
    fn end_of(&self, now: u64, lease: &Lease) -> u64 {
        let counted = now.saturating_add(lease.seconds);
        let latest = counted.saturating_add(FIRST_IS_SHORTER_BY_SECONDS);
        let told = lease.until.as_ref();
        let told =
            told.filter(|until| self.boot.as_ref() == Some(&until.boot) && until.seconds <= latest);
        told.map_or(counted, |until| until.seconds)
    }
}

#[cfg(test)]
mod tests;
