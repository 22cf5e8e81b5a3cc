//! The note that the entry script of a container leaves: that it began, what the kernel counted in the
//! end, and whether the lease ran out. The engine tells what was used only while a container runs, at the price of a request
//! or two a second, and not every engine tells of a child that ran out of memory.
//!
//! The script and the code are one user, so the code can write the note anew. Nothing in it is believed
//! where it would decide about more than the run itself: that the script began is seen from the file's own
//! time stamp, which the kernel keeps, and whether the lease ran out is checked against what the worker
//! granted (`lease::LeaseWatch`).

use std::time::Duration;

use crate::{Limits, ResourceUse};

/// Where the note lies in the job's directory. The code can write anything there: what cannot be
/// read as a note is none, and no note makes of a failure more than another kind of failure.
pub const EXIT_NOTE: &str = ".longshore/exit-note";

/// The line that the entry script writes as soon as it runs.
pub const BEGUN: &str = "begun";

/// The line that the entry script writes when the lease has run out.
pub const LEASE_EXPIRED: &str = "lease expired";

/// What a container that has ended said of itself.
#[derive(Debug, Default, PartialEq)]
pub struct ExitNote {
    /// Whether its entry script ran.
    pub begun: bool,
    /// What it used. `None` where it could not say, as after SIGKILL.
    pub used: Option<ResourceUse>,
    /// Whether the kernel killed something in it for lack of memory.
    pub oom_killed: bool,
    /// Whether it ended itself, for its lease had run out.
    pub lease_expired: bool,
}

/// More processors than any host has, where a job has no limit of its own.
const MOST_CPUS: f64 = 4096.0;

/// How much longer than the engine says a container may have used processors: its own start counts.
const CPU_MARGIN: Duration = Duration::from_secs(2);

impl ExitNote {
    /// What was used, without figures that no container with these limits can reach: the code wrote them.
    #[must_use]
    pub fn used_within(&self, limits: &Limits, ran: Duration) -> Option<ResourceUse> {
        let most_seconds = limits.cpus.unwrap_or(MOST_CPUS) * (ran + CPU_MARGIN).as_secs_f64();
        // Kernels count in batches, and may pass the limit by a little.
        let most_bytes = limits.memory_mb.saturating_mul(9) / 8 * (1 << 20);
        let used = self.used.as_ref()?;
        let believed = ResourceUse {
            cpu_seconds: used.cpu_seconds.filter(|seconds| *seconds <= most_seconds),
            peak_memory_bytes: used.peak_memory_bytes.filter(|bytes| *bytes <= most_bytes),
        };
        (believed != ResourceUse::default()).then_some(believed)
    }
}

/// Reads a note: one line a figure, the file of the control group that it stands in and a line of it.
#[must_use]
pub fn parse(note: &str) -> ExitNote {
    let figure = |file: &str| note.lines().find_map(|line| line.strip_prefix(file)?.parse().ok());
    let micros = figure("cpu.stat usage_usec ");
    let nanos = figure("cpuacct/cpuacct.usage ");
    let used = ResourceUse {
        cpu_seconds: micros.map(|us| seconds(us, 1e6)).or(nanos.map(|ns| seconds(ns, 1e9))),
        peak_memory_bytes: figure("memory.peak ")
            .or_else(|| figure("memory/memory.max_usage_in_bytes ")),
    };
    ExitNote {
        used: (used != ResourceUse::default()).then_some(used),
        oom_killed: figure("oom_kill ").is_some_and(|kills| kills > 0),
        begun: note.lines().any(|line| line == BEGUN),
        lease_expired: note.lines().any(|line| line == LEASE_EXPIRED),
    }
}

#[allow(clippy::cast_precision_loss, reason = "beyond 2^53 nobody counts nanoseconds")]
fn seconds(count: u64, per_second: f64) -> f64 {
    count as f64 / per_second
}

#[cfg(test)]
mod tests {
    use super::*;

    fn used(cpu_seconds: f64, peak_memory_bytes: Option<u64>) -> ResourceUse {
        ResourceUse { cpu_seconds: Some(cpu_seconds), peak_memory_bytes }
    }

    #[test]
    fn both_versions_of_control_groups_are_understood() {
        let first = "cpuacct/cpuacct.usage 39535267\nmemory/memory.max_usage_in_bytes 4337664\n";
        assert_eq!(parse(first).used, Some(used(0.039_535_267, Some(4_337_664))));
        let second = "cpu.stat usage_usec 1500000\nmemory.peak 5000000\n";
        assert_eq!(parse(second).used, Some(used(1.5, Some(5_000_000))));
        // Kernels before 5.19 keep no peak.
        assert_eq!(parse("cpu.stat usage_usec 2000000\n").used, Some(used(2.0, None)));
    }

    #[test]
    fn a_kill_for_memory_and_a_lease_that_ran_out_are_read() {
        assert!(parse("oom_kill 2\n").oom_killed);
        assert!(!parse("oom_kill 0\n").oom_killed);
        let note = parse("begun\nlease expired\nmemory.peak 5\n");
        assert!(note.begun && note.lease_expired && !note.oom_killed);
    }

    #[test]
    fn figures_that_no_container_can_reach_are_left_out() {
        let limits = Limits { memory_mb: 64, cpu_shares: 512, cpus: Some(2.0), pids: 8 };
        let used = |note: &str| parse(note).used_within(&limits, Duration::from_secs(5));
        let honest = "memory.peak 67108864\ncpu.stat usage_usec 9500000\n";
        assert_eq!(used(honest), Some(super::tests::used(9.5, Some(67_108_864))));
        let forged = "memory.peak 99999999999999\ncpu.stat usage_usec 18446744073709551615\n";
        assert_eq!(used(forged), None);
        let half = "memory.peak 99999999999999\ncpu.stat usage_usec 1000000\n";
        assert_eq!(used(half), Some(super::tests::used(1.0, None)));
    }

    #[test]
    fn what_is_no_note_says_nothing() {
        for text in [
            "",
            "\n",
            "memory.peak",
            "memory.peak x\ncpu.stat usage_usec -1\n",
            "root:x:0:0",
            "no lease expired",
        ] {
            assert_eq!(parse(text), ExitNote::default(), "{text:?}");
        }
    }
}
