//! What a container used: the kernel's account of it, which `entrypoint.sh` leaves at its end.
//!
//! The engine tells as much only while a container runs, at the price of a request or two a second.

use crate::job::ResourceUse;

use super::directory::{FoundFile, JobDirectory};

/// Where the account lies in the job's directory. The container could write anything there: what
/// cannot be read as an account is none.
const ACCOUNT: &str = ".longshore/usage";

/// The largest account that is read, in bytes.
const MAX_ACCOUNT_BYTES: u64 = 1024;

/// Reads the account of a container that has ended. `None` where it left none, as after SIGKILL.
pub(super) async fn collect(directory: &JobDirectory) -> Option<ResourceUse> {
    match directory.read(ACCOUNT, MAX_ACCOUNT_BYTES).await {
        Ok(FoundFile::Regular(account)) => parse(std::str::from_utf8(&account).ok()?),
        Ok(FoundFile::Nothing | FoundFile::Unusable(_)) => None,
        Err(error) => {
            tracing::debug!(%error, "read account of a container");
            None
        }
    }
}

/// Reads an account: one line a figure, the file of the control group that it stands in, and that file's first line.
#[must_use]
pub fn parse(account: &str) -> Option<ResourceUse> {
    let figure =
        |file: &str| account.lines().find_map(|line| line.strip_prefix(file)?.parse().ok());
    let micros = figure("cpu.stat usage_usec ");
    let nanos = figure("cpuacct/cpuacct.usage ");
    let used = ResourceUse {
        cpu_seconds: micros.map(|us| seconds(us, 1e6)).or(nanos.map(|ns| seconds(ns, 1e9))),
        peak_memory_bytes: figure("memory.peak ")
            .or_else(|| figure("memory/memory.max_usage_in_bytes ")),
    };
    (used != ResourceUse::default()).then_some(used)
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
        assert_eq!(parse(first), Some(used(0.039_535_267, Some(4_337_664))));
        let second = "cpu.stat usage_usec 1500000\nmemory.peak 5000000\n";
        assert_eq!(parse(second), Some(used(1.5, Some(5_000_000))));
        // Kernels before 5.19 keep no peak.
        assert_eq!(parse("cpu.stat usage_usec 2000000\n"), Some(used(2.0, None)));
    }

    #[test]
    fn what_is_no_account_is_none() {
        for text in
            ["", "\n", "memory.peak", "memory.peak x\ncpu.stat usage_usec -1\n", "root:x:0:0"]
        {
            assert_eq!(parse(text), None, "{text:?}");
        }
    }
}
