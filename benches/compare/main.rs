//! `make bench`: Longshore beside what it would replace, in one sitting.
//!
//! The same programs run through a worker (cold, and with containers that wait), through Celery with docker-py,
//! through `docker run` and by bare calls to the engine, all with the same profile of the container. They take turns,
//! so what a busy machine does to one it does to all. The ratios are the figures to look at; the others belong to the
//! machine.
//!
//! Needs the local stack, and for Celery what `scripts/bench.sh` installs. `BENCH_ROUNDS` (7) says how many rounds,
//! `BENCH_ONLY` which parts, by name: throughput, latency, stages,
//! pandas, sweeps, bots.

#![allow(clippy::unwrap_used, reason = "a measurement that cannot go on says so by panicking")]
#![allow(clippy::print_stdout, reason = "the table is what the program is for")]

mod bare;
mod bots;
mod celery;
mod code;
mod contender;
mod docker_run;
mod parts;
mod queued;
mod report;
mod stages;
mod sweeps;

use self::report::Report;
use longshore_testing::variable;

/// What is run.
pub(crate) struct Plan {
    rounds: usize,
    only: Option<String>,
}

impl Plan {
    fn from_environment() -> Self {
        let rounds = variable("BENCH_ROUNDS").map_or(7, |text| match text.parse() {
            Ok(rounds) if rounds > 0 => rounds,
            _ => panic!("BENCH_ROUNDS is {text:?}, not a number above 0"),
        });
        let only = variable("BENCH_ONLY");
        for part in only.iter().flat_map(|only| only.split(',')) {
            assert!(PARTS.contains(&part), "BENCH_ONLY has {part:?}, which is none of {PARTS:?}");
        }
        Self { rounds, only }
    }

    fn has(&self, part: &str) -> bool {
        self.only.as_ref().is_none_or(|only| only.split(',').any(|one| one == part))
    }
}

/// The parts, in their order.
const PARTS: [&str; 6] = ["throughput", "latency", "stages", "pandas", "sweeps", "bots"];

#[tokio::main]
async fn main() {
    let plan = Plan::from_environment();
    let mut report = Report::new(plan.rounds);
    for part in PARTS.into_iter().filter(|part| plan.has(part)) {
        eprintln!("{part}");
        match part {
            "throughput" => parts::throughput(plan.rounds, &mut report).await,
            "latency" => parts::latency(plan.rounds, &mut report).await,
            "stages" => stages::measure(plan.rounds, &mut report).await,
            "pandas" => parts::pandas(plan.rounds, &mut report).await,
            "sweeps" => sweeps::measure(plan.rounds, &mut report).await,
            _ => bots::measure(&mut report).await,
        }
    }
    report.print();
    report.keep();
}
