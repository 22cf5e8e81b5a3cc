//! The tables, and the same as JSON.

use std::collections::BTreeMap;

use longshore_testing::figures::spread;
use longshore_testing::measured;
use serde_json::{Value, json};

use crate::fleet::Kept;
use crate::queue::Queue;

/// What one round of one fleet gave. Times are CPU times: of a job, or of an idle worker and a second.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Figures {
    pub(crate) jobs_per_second: f64,
    pub(crate) worker_ms: f64,
    pub(crate) broker_ms: f64,
    pub(crate) store_ms: f64,
    pub(crate) ports_ms: f64,
    pub(crate) bench_ms: f64,
    /// How busy all processors were, with whatever.
    pub(crate) busy_percent: f64,
    pub(crate) idle_worker_ms: f64,
    pub(crate) idle_broker_ms: f64,
    pub(crate) idle_store_ms: f64,
    /// Of the worker with the fewest and of the one with the most.
    pub(crate) fewest_jobs: f64,
    pub(crate) most_jobs: f64,
}

type Field = (&'static str, fn(&Figures) -> f64);

const FIELDS: [Field; 12] = [
    ("jobs_per_second", |of| of.jobs_per_second),
    ("worker_ms", |of| of.worker_ms),
    ("broker_ms", |of| of.broker_ms),
    ("store_ms", |of| of.store_ms),
    ("ports_ms", |of| of.ports_ms),
    ("bench_ms", |of| of.bench_ms),
    ("busy_percent", |of| of.busy_percent),
    ("idle_worker_ms", |of| of.idle_worker_ms),
    ("idle_broker_ms", |of| of.idle_broker_ms),
    ("idle_store_ms", |of| of.idle_store_ms),
    ("fewest_jobs", |of| of.fewest_jobs),
    ("most_jobs", |of| of.most_jobs),
];

/// Everything that was measured.
pub(crate) struct Report {
    jobs: usize,
    rounds: BTreeMap<usize, Vec<Figures>>,
    pub(crate) kept: Option<Kept>,
    pub(crate) queue: Option<Queue>,
    load_before: String,
}

impl Report {
    pub(crate) fn new(jobs: usize) -> Self {
        Self { jobs, rounds: BTreeMap::new(), kept: None, queue: None, load_before: load() }
    }

    pub(crate) fn add(&mut self, workers: usize, figures: Figures) {
        self.rounds.entry(workers).or_default().push(figures);
    }

    #[allow(clippy::print_stdout, reason = "the tables are what the program is for")]
    pub(crate) fn print(&self) {
        let rounds = self.rounds.values().map(Vec::len).max().unwrap_or_default();
        println!("{} trivial backtests a round, {rounds} interleaved rounds, medians", self.jobs);
        println!("{} cores, load {} before, {} after\n", cores(), self.load_before, load());
        println!("{:<30}CPU time a job, ms", "");
        println!(
            "{:>7}{:>8}{:>14}{:>8}{:>8}{:>8}{:>8}{:>8}{:>7}",
            "workers", "jobs/s", "", "worker", "broker", "store", "ports", "bench", "busy"
        );
        for (workers, figures) in &self.rounds {
            let middle = |of: fn(&Figures) -> f64| spread(figures.iter().map(of))[1];
            let [least, median, most] = spread(figures.iter().map(|of| of.jobs_per_second));
            println!(
                "{workers:>7}{median:>8.1}{:>14}{:>8.2}{:>8.2}{:>8.2}{:>8.2}{:>8.2}{:>6.0}%",
                format!("({least:.1}-{most:.1})"),
                middle(|of| of.worker_ms),
                middle(|of| of.broker_ms),
                middle(|of| of.store_ms),
                middle(|of| of.ports_ms),
                middle(|of| of.bench_ms),
                middle(|of| of.busy_percent),
            );
        }
        println!("\nCPU time of an idle worker and second, ms, and jobs of a worker in a round");
        println!("{:>7}{:>8}{:>8}{:>8}{:>16}", "workers", "worker", "broker", "store", "jobs");
        for (workers, figures) in &self.rounds {
            let middle = |of: fn(&Figures) -> f64| spread(figures.iter().map(of))[1];
            println!(
                "{workers:>7}{:>8.2}{:>8.2}{:>8.2}{:>16}",
                middle(|of| of.idle_worker_ms),
                middle(|of| of.idle_broker_ms),
                middle(|of| of.idle_store_ms),
                format!("{:.0}-{:.0}", middle(|of| of.fewest_jobs), middle(|of| of.most_jobs)),
            );
        }
        if let Some(Kept { objects, bytes }) = self.kept {
            println!("\na job leaves {objects} objects of {bytes} bytes in the store");
        }
        if let Some(queue) = &self.queue {
            println!(
                "\n{} starts of {} bytes in a queue, each confirmed: {:.0} a second,\n\
                 {:.2} ms of the broker's CPU time each; its memory {:.0} MiB, then {:.0} MiB",
                queue.starts,
                queue.bytes,
                queue.per_second,
                queue.broker_ms,
                queue.memory_mib[0],
                queue.memory_mib[1],
            );
        }
    }

    /// Writes `target/bench/scale.json`.
    pub(crate) fn write(&self) {
        let fleets = self.rounds.iter().map(|(workers, figures)| {
            let mut fleet = json!({ "workers": workers });
            for (name, of) in FIELDS {
                let [least, median, most] = spread(figures.iter().map(of));
                fleet[name] = json!({ "median": median, "min": least, "max": most });
            }
            fleet
        });
        let queue = self.queue.as_ref().map(|queue| {
            json!({
                "starts": queue.starts, "bytes": queue.bytes, "per_second": queue.per_second,
                "broker_ms": queue.broker_ms, "broker_memory_mib": queue.memory_mib,
            })
        });
        let all = json!({
            "jobs": self.jobs,
            "cores": cores(),
            "load": [self.load_before, load()],
            "kept": self.kept.map(|kept| json!({ "objects": kept.objects, "bytes": kept.bytes })),
            "fleets": fleets.collect::<Vec<Value>>(),
            "queue": queue,
        });
        let path = measured().join("scale.json");
        std::fs::create_dir_all(measured()).unwrap();
        std::fs::write(&path, serde_json::to_string_pretty(&all).unwrap()).unwrap();
        eprintln!("written to {}", path.display());
    }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(0, usize::from)
}

/// The load of the last minute.
fn load() -> String {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    load.split(' ').next().unwrap_or_default().to_owned()
}
