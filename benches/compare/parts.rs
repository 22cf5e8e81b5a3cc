//! Throughput, latency, and programs that import much.

use std::time::{Duration, Instant};

use crate::bare::Bare;
use crate::celery::Celery;
use crate::code::Code;
use crate::contender::{Contender, all_at_once, cpu, memory, one_by_one};
use crate::docker_run::DockerRun;
use crate::queued::{COLD, Queued, WARM};
use crate::report::{Report, Unit};

/// Runs at a time.
const CONCURRENCIES: [usize; 4] = [1, 2, 4, 8];

/// What the tables call the usual case.
pub(crate) const USUAL: usize = 4;

/// Jobs of each contender in a round.
const JOBS: usize = 24;

/// Of those that import pandas.
const PANDAS_JOBS: usize = 8;

/// Arrivals in a round, at one a second on average.
const ARRIVALS: usize = 20;

/// Jobs before anything is measured: connections, caches, the engine's first start.
const WARM_UP: usize = 4;

/// How long nothing is asked before a turn: containers that wait are there again.
const PAUSE: Duration = Duration::from_secs(2);

async fn all(concurrency: usize) -> Vec<Box<dyn Contender>> {
    let mut all = queues(concurrency).await;
    all.push(Box::new(DockerRun::new(concurrency)));
    all.push(Box::new(Bare::new(concurrency).await));
    all
}

/// Those with a queue.
async fn queues(concurrency: usize) -> Vec<Box<dyn Contender>> {
    vec![
        Box::new(Queued::new(COLD, concurrency).await),
        Box::new(Queued::new(WARM, concurrency).await),
        Box::new(Celery::new(concurrency).await),
    ]
}

async fn warm_up(contenders: &mut [Box<dyn Contender>], code: &Code) {
    for contender in contenders {
        contender.prepare(code, WARM_UP, false).await;
        all_at_once(&mut **contender, WARM_UP).await;
        contender.rest().await;
    }
}

async fn stop(contenders: Vec<Box<dyn Contender>>) {
    for contender in contenders {
        contender.stop().await;
    }
}

/// Jobs a second, processor time and memory, at each number of runs at a time.
pub(crate) async fn throughput(rounds: usize, report: &mut Report) {
    for concurrency in CONCURRENCIES {
        let mut contenders = all(concurrency).await;
        warm_up(&mut contenders, &Code::trivial()).await;
        for round in 1..=rounds {
            eprintln!("  {concurrency} at a time, round {round} of {rounds}");
            for contender in &mut contenders {
                contender.prepare(&Code::trivial(), JOBS, false).await;
                tokio::time::sleep(PAUSE).await;
                let before = cpu(&**contender);
                let took = all_at_once(&mut **contender, JOBS).await;
                contender.rest().await;
                let part = format!("throughput, {concurrency} at a time");
                report.add(&part, contender.name(), Unit::JobsPerSecond, rate(JOBS, took));
                if concurrency == USUAL && !contender.processes().is_empty() {
                    let used = cpu(&**contender).saturating_sub(before);
                    let a_job = used.as_secs_f64() * 1e3 / count(JOBS);
                    report.add("processor time a job", contender.name(), Unit::Millis, a_job);
                    let mib = memory(&**contender);
                    report.add("memory of the worker", contender.name(), Unit::Mebibytes, mib);
                }
            }
        }
        stop(contenders).await;
    }
}

/// How long one job takes from its message to its result, where jobs arrive at random, each with code of its own.
pub(crate) async fn latency(rounds: usize, report: &mut Report) {
    let mut contenders = queues(USUAL).await;
    warm_up(&mut contenders, &Code::trivial()).await;
    let mut chance = fastrand::Rng::with_seed(7);
    for round in 1..=rounds {
        eprintln!("  round {round} of {rounds}");
        // The gaps between arrivals of a Poisson process; the same ones for all.
        let pauses: Vec<_> =
            (0..ARRIVALS).map(|_| Duration::from_secs_f64(-(1.0 - chance.f64()).ln())).collect();
        for contender in &mut contenders {
            contender.prepare(&Code::trivial(), ARRIVALS, true).await;
            tokio::time::sleep(PAUSE).await;
            for took in one_by_one(&mut **contender, &pauses).await {
                let millis = took.as_secs_f64() * 1e3;
                report.add("message to result", contender.name(), Unit::Millis, millis);
            }
            contender.rest().await;
        }
    }
    stop(contenders).await;
}

/// Jobs a second of a program that imports pandas, which its zip has.
pub(crate) async fn pandas(rounds: usize, report: &mut Report) {
    let mut contenders = queues(USUAL).await;
    let code = Code::pandas();
    warm_up(&mut contenders, &code).await;
    for round in 1..=rounds {
        eprintln!("  round {round} of {rounds}");
        for contender in &mut contenders {
            contender.prepare(&code, PANDAS_JOBS, false).await;
            tokio::time::sleep(PAUSE).await;
            let begun = Instant::now();
            all_at_once(&mut **contender, PANDAS_JOBS).await;
            let took = begun.elapsed();
            contender.rest().await;
            let rate = rate(PANDAS_JOBS, took);
            report.add("pandas, 4 at a time", contender.name(), Unit::JobsPerSecond, rate);
        }
    }
    stop(contenders).await;
}

pub(crate) fn rate(jobs: usize, took: Duration) -> f64 {
    count(jobs) / took.as_secs_f64()
}

pub(crate) fn count(number: usize) -> f64 {
    f64::from(u32::try_from(number).unwrap())
}
