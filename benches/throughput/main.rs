//! `cargo bench --bench throughput`: how fast is Longshore, measured beside the bare engine.
//!
//! The same trivial Python backtests run through a worker (a process of its own, fed through the
//! broker), through one with waiting containers, and by the engine's API alone, in alternating rounds, for what a busy machine does to
//! one it does to the other. The ratio of the two is the figure to look at; the absolute ones
//! belong to the machine.
//!
//! Needs the local stack, as the integration tests do, and leaves nothing behind. `BENCH_ROUNDS`
//! (2), `BENCH_JOBS` (60) and `BENCH_SINGLES` (10) say how much is run.

#![allow(clippy::unwrap_used, reason = "a measurement that cannot go on says so by panicking")]

mod bare;
mod queued;
mod report;

use std::time::Duration;

use self::bare::Bare;
use self::queued::Queued;
use self::report::Report;
use longshore_testing::process::{Machine, Sample};
use longshore_testing::scene::Scene;
use longshore_testing::variable;

/// Jobs at a time, on both sides.
const CONCURRENCY: usize = 4;

/// Jobs of each side before anything is measured: connections, caches, the engine's first start.
const WARM_UP: usize = 4;

/// Containers of each runtime that wait for jobs, in the worker that has some.
const WARM_CONTAINERS: &str = "2";

/// How long nothing is asked after a single job.
const PAUSE: Duration = Duration::from_millis(600);

/// How long a worker rests before its idle memory is read.
const REST: Duration = Duration::from_secs(2);

/// What is run.
struct Plan {
    rounds: usize,
    jobs: usize,
    singles: usize,
}

impl Plan {
    fn from_environment() -> Self {
        let number = |name: &str, default: usize| match variable(name) {
            None => default,
            Some(text) => match text.parse() {
                Ok(number) if number > 0 => number,
                _ => panic!("{name} is {text:?}, not a number above 0"),
            },
        };
        Self {
            rounds: number("BENCH_ROUNDS", 2),
            jobs: number("BENCH_JOBS", 60),
            singles: number("BENCH_SINGLES", 10),
        }
    }
}

#[tokio::main]
async fn main() {
    let plan = Plan::from_environment();
    let scene = Scene::new().await;
    let mut queued = Queued::new(&scene, "0").await;
    let warm_scene = Scene::new().await;
    let mut warm = Queued::new(&warm_scene, WARM_CONTAINERS).await;
    let bare = Bare::new(&scene).await;

    queued.run(WARM_UP).await;
    warm.run(WARM_UP).await;
    bare.run(&bare.prepare(WARM_UP).await, CONCURRENCY).await;
    tokio::time::sleep(REST).await;
    let idle = Sample::of(queued.pid());
    let mut report = Report::new(plan.jobs, CONCURRENCY, idle);

    for round in 1..=plan.rounds {
        eprintln!("round {round} of {}", plan.rounds);
        let (before, machine) = (Sample::of(queued.pid()), Machine::now());
        report.queued.push(queued.run(plan.jobs).await);
        report.queued_machine.push(Machine::now().since(machine));
        scene.is_tidy().await;
        report.cpu.push(Sample::of(queued.pid()).cpu.saturating_sub(before.cpu));

        report.warm.push(warm.run(plan.jobs).await);
        warm_scene.is_tidy().await;
        tokio::time::sleep(REST).await;

        let prepared = bare.prepare(plan.jobs).await;
        let machine = Machine::now();
        report.bare.push(bare.run(&prepared, CONCURRENCY).await);
        report.bare_machine.push(Machine::now().since(machine));
    }
    eprintln!("{} single jobs of each", plan.singles);
    for _ in 0..plan.singles {
        report.queued_single.push(queued.run(1).await);
        scene.is_tidy().await;
        report.warm_single.push(warm.run(1).await);
        warm_scene.is_tidy().await;
        // A new container takes the place of the one that was used.
        tokio::time::sleep(PAUSE).await;
        let prepared = bare.prepare(1).await;
        report.bare_single.push(bare.run(&prepared, 1).await);
    }
    report.after = Sample::of(queued.pid());
    scene.finish([queued.into_worker()]).await;
    warm_scene.finish([warm.into_worker()]).await;
    report.print();
}
