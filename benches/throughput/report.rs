//! One aligned table.

use std::time::Duration;

use longshore_testing::figures::spread;
use longshore_testing::process::{Machine, Sample};

/// Everything that was measured.
pub(crate) struct Report {
    jobs: usize,
    concurrency: usize,
    /// Rounds of all jobs.
    pub(crate) queued: Vec<Duration>,
    pub(crate) warm: Vec<Duration>,
    pub(crate) bare: Vec<Duration>,
    /// One job at a time.
    pub(crate) queued_single: Vec<Duration>,
    pub(crate) warm_single: Vec<Duration>,
    pub(crate) bare_single: Vec<Duration>,
    /// CPU time of the machine in each of these rounds.
    pub(crate) queued_machine: Vec<Machine>,
    pub(crate) bare_machine: Vec<Machine>,
    /// The worker's CPU time in each.
    pub(crate) cpu: Vec<Duration>,
    idle: Sample,
    pub(crate) after: Sample,
}

impl Report {
    pub(crate) fn new(jobs: usize, concurrency: usize, idle: Sample) -> Self {
        Self {
            jobs,
            concurrency,
            queued: Vec::new(),
            warm: Vec::new(),
            bare: Vec::new(),
            queued_single: Vec::new(),
            warm_single: Vec::new(),
            bare_single: Vec::new(),
            queued_machine: Vec::new(),
            bare_machine: Vec::new(),
            cpu: Vec::new(),
            idle,
            after: Sample::default(),
        }
    }

    #[allow(clippy::print_stdout, reason = "the table is what the program is for")]
    pub(crate) fn print(&self) {
        let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
        let load = load.split(' ').take(3).collect::<Vec<_>>().join(" ");
        let cores = std::thread::available_parallelism().map_or(0, usize::from);
        println!(
            "{} trivial Python backtests, {} at a time; {} rounds of each, in turns; \
             {cores} cores, load {load}\n",
            self.jobs,
            self.concurrency,
            self.queued.len()
        );
        println!("{:<34}{:>10}{:>10}{:>10}  unit", "", "median", "min", "max");
        let per_second = |took: &Duration| count(self.jobs) / took.as_secs_f64();
        let millis = |took: &Duration| took.as_secs_f64() * 1e3;
        let queued = line("throughput, Longshore", self.queued.iter().map(per_second), "jobs/s");
        line("throughput, Longshore, warm", self.warm.iter().map(per_second), "jobs/s");
        let bare = line("throughput, bare engine", self.bare.iter().map(per_second), "jobs/s");
        let one = line("one job, message to result", self.queued_single.iter().map(millis), "ms");
        line("one job, warm, message to result", self.warm_single.iter().map(millis), "ms");
        percentiles("one job, cold", &self.queued_single);
        percentiles("one job, warm", &self.warm_single);
        let other = line("one job, bare engine", self.bare_single.iter().map(millis), "ms");
        self.print_cpu();
        let memory = [
            ("worker's resident memory, idle", self.idle.rss_kib),
            ("worker's resident memory, after", self.after.rss_kib),
            ("worker's resident memory, peak", self.after.peak_kib),
        ];
        for (name, kib) in memory {
            println!("{name:<34}{:>10.1}{:>10}{:>10}  MiB", mib(kib), "", "");
        }
        println!(
            "{:<34}{:>10.2}{:>10}{:>10}  ×",
            "throughput against bare engine",
            queued / bare,
            "",
            ""
        );
        println!(
            "{:<34}{:>10.0}{:>10}{:>10}  ms",
            "one job, more than bare engine",
            one - other,
            "",
            ""
        );
    }
}

impl Report {
    /// Where the machine's time goes: store and broker run on it too, and the bare engine needs neither.
    fn print_cpu(&self) {
        let a_job = |cpu: Duration| cpu.as_secs_f64() * 1e3 / count(self.jobs);
        let (ours, bare) = (&self.queued_machine, &self.bare_machine);
        let all = |of: &Machine| a_job(of.all);
        line("CPU time a job, Longshore, all", ours.iter().map(all), "ms");
        line("  of it the worker", self.cpu.iter().map(|cpu| a_job(*cpu)), "ms");
        line("  of it the store", ours.iter().map(|of| a_job(of.store)), "ms");
        line("  of it the broker", ours.iter().map(|of| a_job(of.broker)), "ms");
        line("  of it published ports", ours.iter().map(|of| a_job(of.ports)), "ms");
        line("CPU time a job, bare engine, all", bare.iter().map(all), "ms");
    }
}

/// Prints a line of the table; gives the median.
#[allow(clippy::print_stdout, reason = "the table is what the program is for")]
fn line(name: &str, values: impl Iterator<Item = f64>, unit: &str) -> f64 {
    let [least, median, most] = spread(values);
    let decimals = if most < 100.0 { 2 } else { 0 };
    println!("{name:<34}{median:>10.decimals$}{least:>10.decimals$}{most:>10.decimals$}  {unit}");
    median
}

#[allow(clippy::print_stdout, reason = "the table is what the program is for")]
fn percentiles(name: &str, took: &[Duration]) {
    let mut took = took.to_vec();
    took.sort();
    let at =
        |percent: usize| took[(took.len() * percent).div_ceil(100).max(1) - 1].as_secs_f64() * 1e3;
    println!("{name:<34}p50 {:.1}, p95 {:.1}, p99 {:.1} ms", at(50), at(95), at(99));
}

fn count(number: usize) -> f64 {
    f64::from(u32::try_from(number).unwrap())
}

fn mib(kib: u64) -> f64 {
    f64::from(u32::try_from(kib).unwrap()) / 1024.0
}
