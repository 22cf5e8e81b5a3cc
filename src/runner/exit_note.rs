//! The note that the entry script of a container leaves: that it began, what the kernel counted in the
//! end, and whether the lease ran out. The engine tells what was used only while a container runs, at the price of a request
//! or two a second, and not every engine tells of a child that ran out of memory.

use crate::job::ResourceUse;

use super::directory::{FoundFile, JobDirectory};

/// Where the note lies in the job's directory. The code could write anything there: what cannot be
/// read as a note is none, and no note makes of a failure more than another kind of failure.
pub(super) const EXIT_NOTE: &str = ".longshore/exit-note";

/// The line that the entry script writes as soon as it runs.
pub(super) const BEGUN: &str = "begun";

/// The line that the entry script writes when the lease has run out.
pub(super) const LEASE_EXPIRED: &str = "lease expired";

/// The largest note that is read, in bytes.
const MAX_NOTE_BYTES: u64 = 4096;

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

/// Reads the note of a container that has ended.
pub(super) async fn read(directory: &JobDirectory) -> ExitNote {
    match directory.read(EXIT_NOTE, MAX_NOTE_BYTES).await {
        Ok(FoundFile::Regular(note)) => std::str::from_utf8(&note).map(parse).unwrap_or_default(),
        Ok(FoundFile::Nothing | FoundFile::Unusable(_)) => ExitNote::default(),
        Err(error) => {
            tracing::debug!(%error, "read exit note of a container");
            ExitNote::default()
        }
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
