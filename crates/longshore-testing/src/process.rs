//! What the kernel says about a process, and about the whole machine, in /proc.

use std::time::Duration;

/// The unit of CPU times in /proc: the same on every Linux that Rust runs on.
const TICKS_PER_SECOND: u32 = 100;

/// CPU time and memory of a process at one moment.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sample {
    /// CPU time so far, user and system.
    pub cpu: Duration,
    /// Resident memory, in KiB.
    pub rss_kib: u64,
    /// The most resident memory so far, in KiB.
    pub peak_kib: u64,
}

impl Sample {
    pub fn of(pid: u32) -> Self {
        let read = |file: &str| std::fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap();
        let status = read("status");
        let kib = |field: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
            line.trim_start_matches(':').trim().trim_end_matches(" kB").parse().unwrap()
        };
        Self { cpu: cpu(&read("stat")), rss_kib: kib("VmRSS"), peak_kib: kib("VmHWM") }
    }
}

/// CPU time of the whole machine so far, and of those parts of it that a job costs beside its container.
#[derive(Debug, Clone, Copy, Default)]
pub struct Machine {
    pub all: Duration,
    pub store: Duration,
    pub broker: Duration,
    /// What the engine puts between a service's published port and its container.
    pub ports: Duration,
}

impl Machine {
    pub fn now() -> Self {
        let stat = std::fs::read_to_string("/proc/stat").unwrap();
        Self {
            all: busy(&stat),
            store: of_all("weed"),
            broker: of_all("beam.smp"),
            ports: of_all("docker-proxy"),
        }
    }

    pub fn since(self, before: Self) -> Self {
        Self {
            all: self.all.saturating_sub(before.all),
            store: self.store.saturating_sub(before.store),
            broker: self.broker.saturating_sub(before.broker),
            ports: self.ports.saturating_sub(before.ports),
        }
    }
}

/// Some processes, such as those of a server.
#[derive(Debug, Clone, Default)]
pub struct Processes(Vec<u32>);

impl Processes {
    pub fn of(pids: Vec<u32>) -> Self {
        Self(pids)
    }

    /// What an engine puts between published ports of this machine and their containers.
    pub fn publishing(ports: &[u16]) -> Self {
        let folders = std::fs::read_dir("/proc").unwrap().flatten();
        let publishes = |pid: &u32| {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let words: Vec<_> =
                line.split(|byte| *byte == 0).map(String::from_utf8_lossy).collect();
            let port = words.windows(2).find(|pair| pair[0] == "-host-port").map(|pair| &pair[1]);
            words[0].ends_with("docker-proxy")
                && port.is_some_and(|port| ports.iter().any(|one| *port == one.to_string()))
        };
        let pids = folders.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        Self(pids.filter(publishes).collect())
    }

    /// CPU time so far. Those that have ended are left out.
    pub fn cpu(&self) -> Duration {
        let stat = |pid| std::fs::read_to_string(format!("/proc/{pid}/stat")).ok();
        self.0.iter().filter_map(stat).map(|stat| cpu(&stat)).sum()
    }

    /// Resident memory, in KiB.
    pub fn rss_kib(&self) -> u64 {
        self.0.iter().map(|pid| Sample::of(*pid).rss_kib).sum()
    }
}

/// User, nice, system, and interrupts of both kinds: neither idle, nor waiting, nor another machine's.
fn busy(stat: &str) -> Duration {
    let line = stat.lines().next().unwrap();
    let fields = line.split_whitespace().skip(1).map(|field| field.parse::<u32>().unwrap());
    let fields: Vec<_> = fields.collect();
    let ticks = [0, 1, 2, 5, 6].map(|field: usize| fields[field]);
    Duration::from_secs(1) * ticks.iter().sum::<u32>() / TICKS_PER_SECOND
}

/// CPU time of all processes with a name. A process that ends during the count is left out.
fn of_all(name: &str) -> Duration {
    let folders = std::fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path());
    let stats = folders.filter_map(|folder| std::fs::read_to_string(folder.join("stat")).ok());
    stats.filter(|stat| stat.contains(&format!("({name})"))).map(|stat| cpu(&stat)).sum()
}

/// Fields 14 and 15, counted after the program's name, which may hold anything.
fn cpu(stat: &str) -> Duration {
    let (_, after) = stat.rsplit_once(')').unwrap();
    let ticks =
        after.split_whitespace().skip(11).take(2).map(|field| field.parse::<u32>().unwrap());
    Duration::from_secs(1) * ticks.sum::<u32>() / TICKS_PER_SECOND
}
