//! The note that the helper in a container leaves: that it began, what the kernel counted at
//! the end, and whether the lease ran out. The engine reports resource use only while a container
//! runs, which costs a request or two a second, and not every engine reports a child process that
//! ran out of memory.
//!
//! The helper and the code run as one user, so the code can overwrite the note. So the note alone
//! decides only about the run itself. The file's time stamp, which the kernel keeps, shows that the
//! helper began. A note that the lease ran out is checked against what the worker granted
//! (`lease::LeaseWatch`).

use std::time::Duration;

use crate::{Limits, ResourceUse};

/// The note's path in the job's directory. The code can write anything there. A file that cannot be
/// read as a note counts as no note, and a note can turn a failure only into another kind of
/// failure.
pub const EXIT_NOTE: &str = ".longshore/exit-note";

/// The line that the helper writes as soon as it runs.
pub const BEGUN: &str = "begun";

/// The line that the helper writes when the lease has run out.
pub const LEASE_EXPIRED: &str = "lease expired";

/// The line that the helper writes when somebody asks the program to end.
pub const TERMINATED: &str = "terminated";

/// What the line of a launcher begins with, before the sentence of the error that ended the program.
pub const SAID: &str = "said ";

/// The line that the helper writes last, once the program has ended.
pub const ENDED: &str = "ended";

/// What an ended container said about itself.
#[allow(clippy::struct_excessive_bools, reason = "each is a line of the note")]
#[derive(Debug, Default, PartialEq)]
pub struct ExitNote {
    /// Whether its helper ran.
    pub begun: bool,
    /// What it used. `None` if it could not say, for example after SIGKILL.
    pub used: Option<ResourceUse>,
    /// Whether the kernel killed something in it for lack of memory.
    pub oom_killed: bool,
    /// Whether the helper was asked to end: by the worker, or by somebody else.
    pub terminated: bool,
    /// Whether the helper saw the program's end. It did not where it was killed itself.
    pub ended: bool,
    /// Whether its own memory is known to have been short.
    pub was_short: bool,
    /// Whether it ended itself because its lease had run out.
    pub lease_expired: bool,
    /// The sentence of the error that ended the program: the last one, if there are several.
    pub said: Option<String>,
}

/// More processors than any host has, for jobs without a limit of their own.
const MOST_CPUS: f64 = 4096.0;

/// How much longer than the engine's figure a container may have used processors, because its own
/// start counts.
const CPU_MARGIN: Duration = Duration::from_secs(2);

impl ExitNote {
    /// Whether the kernel killed something in it although its own memory was never short: that of its host was.
    /// Some kernels count neither; then its own memory was.
    #[must_use]
    pub fn is_of_host_memory(&self, limits: &Limits) -> bool {
        let nearly_all = limits.memory_mb.saturating_mul(1 << 20) / 10 * 9;
        let peak = self.used.as_ref().and_then(|used| used.peak_memory_bytes);
        self.oom_killed && !self.was_short && peak.is_some_and(|peak| peak < nearly_all)
    }

    /// What was used, without figures that no container with these limits can reach. The code must
    /// have written those.
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

/// Reads a note: one line for each figure, with the control group's file and a line of that file.
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
    let oom_killed = figure("oom_kill ").is_some_and(|kills| kills > 0);
    ExitNote {
        used: (used != ResourceUse::default()).then_some(used),
        oom_killed,
        terminated: note.lines().any(|line| line == TERMINATED),
        ended: note.lines().any(|line| line == ENDED),
        was_short: figure("oom ").is_some_and(|times| times > 0),
        begun: note.lines().any(|line| line == BEGUN),
        lease_expired: note.lines().any(|line| line == LEASE_EXPIRED),
        said: note
            .lines()
            .filter_map(|line| line.strip_prefix(SAID))
            .next_back()
            .map(str::to_owned),
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
        // Its own memory was short, or that of its host.
        let limits = Limits { memory_mb: 64, cpu_shares: 512, cpus: None, pids: 8 };
        for (note, of_host) in [
            ("oom 1\noom_kill 1\nmemory.peak 1000000\n", false),
            ("oom 0\noom_kill 1\nmemory.peak 1000000\n", true),
            ("oom 0\noom_kill 0\nmemory.peak 1000000\n", false),
            ("oom_kill 1\nmemory/memory.max_usage_in_bytes 1000000\n", true),
            ("oom_kill 1\nmemory/memory.max_usage_in_bytes 67108864\n", false),
            ("oom_kill 1\n", false),
        ] {
            assert_eq!(parse(note).is_of_host_memory(&limits), of_host, "{note:?}");
        }
        let note = parse("begun\nterminated\nmemory.peak 5\nended\n");
        assert!(note.terminated && note.ended);
        let note = parse("begun\nsaid A: 1\nsaid B: ended\nended\n");
        assert_eq!(note.said.as_deref(), Some("B: ended"));
        let note = parse("begun\nlease expired\nmemory.peak 5\n");
        assert!(!note.terminated && !note.ended);
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
