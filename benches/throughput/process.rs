//! What the kernel says about a process, in /proc.

use std::time::Duration;

/// The unit of CPU times in /proc: the same on every Linux that Rust runs on.
const TICKS_PER_SECOND: u32 = 100;

/// CPU time and memory of a process at one moment.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Sample {
    /// CPU time so far, user and system.
    pub(crate) cpu: Duration,
    /// Resident memory, in KiB.
    pub(crate) rss_kib: u64,
    /// The most resident memory so far, in KiB.
    pub(crate) peak_kib: u64,
}

impl Sample {
    pub(crate) fn of(pid: u32) -> Self {
        let read = |file: &str| std::fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap();
        let status = read("status");
        let kib = |field: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
            line.trim_start_matches(':').trim().trim_end_matches(" kB").parse().unwrap()
        };
        Self { cpu: cpu(&read("stat")), rss_kib: kib("VmRSS"), peak_kib: kib("VmHWM") }
    }
}

/// Fields 14 and 15, counted after the program's name, which may hold anything.
fn cpu(stat: &str) -> Duration {
    let (_, after) = stat.rsplit_once(')').unwrap();
    let ticks =
        after.split_whitespace().skip(11).take(2).map(|field| field.parse::<u32>().unwrap());
    Duration::from_secs(1) * ticks.sum::<u32>() / TICKS_PER_SECOND
}
