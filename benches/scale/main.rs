//! `cargo bench --bench scale`: how many jobs a second one broker and one store carry, and what a job costs each part.
//!
//! Trivial backtests go through 1, 2, 4 and 8 workers, in interleaved rounds. Each worker has a folder and an engine
//! of its own, as on a host of its own. The engines cost nothing: no container runs, and each ends at once. What is
//! left is the work of the workers, the broker and the store. They share this machine, so where its processors are
//! busy, the jobs a second are what this machine does, and the CPU times a job are the figures to take elsewhere.
//!
//! Needs the local stack, and leaves nothing behind. `BENCH_ROUNDS` (3), `BENCH_JOBS` (400) and `BENCH_WORKERS`
//! (`1,2,4,8`) say how much is run, `BENCH_QUEUED` (20000) how many starts are put into a queue that nobody reads.

#![allow(clippy::unwrap_used, reason = "a measurement that cannot go on says so by panicking")]

mod fleet;
mod queue;
mod report;
mod servers;

use longshore_testing::variable;

use self::fleet::Fleet;
use self::report::Report;
use self::servers::Servers;

/// What is run.
struct Plan {
    rounds: usize,
    jobs: usize,
    queued: usize,
    sizes: Vec<usize>,
}

impl Plan {
    fn from_environment() -> Self {
        let number = |name: &str, text: &str| match text.parse() {
            Ok(number) if number > 0 => number,
            _ => panic!("{name} has {text:?}, not a number above 0"),
        };
        let read =
            |name: &str, default: usize| variable(name).map_or(default, |text| number(name, &text));
        let sizes = variable("BENCH_WORKERS").unwrap_or_else(|| "1,2,4,8".to_owned());
        Self {
            rounds: read("BENCH_ROUNDS", 3),
            jobs: read("BENCH_JOBS", 400),
            queued: read("BENCH_QUEUED", 20_000),
            sizes: sizes.split(',').map(|size| number("BENCH_WORKERS", size)).collect(),
        }
    }
}

#[tokio::main]
async fn main() {
    let plan = Plan::from_environment();
    let servers = Servers::find().await;
    let mut report = Report::new(plan.jobs);
    for round in 0..plan.rounds {
        for turn in 0..plan.sizes.len() {
            // Each size has each place in a round.
            let size = plan.sizes[(turn + round) % plan.sizes.len()];
            eprintln!("round {} of {}: {size} workers", round + 1, plan.rounds);
            servers.settle().await;
            let mut fleet = Fleet::start(size).await;
            report.add(size, fleet.measure(plan.jobs, &servers).await);
            report.kept = Some(fleet.finish().await);
        }
    }
    eprintln!("{} starts in a queue", plan.queued);
    servers.settle().await;
    report.queue = Some(queue::measure(plan.queued, &servers).await);
    report.print();
    report.write();
}
