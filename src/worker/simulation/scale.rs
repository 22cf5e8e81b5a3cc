//! What a job costs when very many jobs wait, and there are very many segments.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::directed::{seconds, start};
use super::on_a_stage_with;
use super::plan::Plan;
use super::play::Stage;
use super::worker::Capacity;

/// How long a backtest takes.
const TAKES: Duration = Duration::from_secs(1);

/// How long a fleet needs until each worker has its segment and nothing more to find out, in seconds.
const SETTLES: u64 = 120;

/// Within how much of each other two costs are the same: what a fleet does beside the jobs is not quite steady.
const TOLERANCE: f64 = 0.1;

/// A fleet, and what waits for it.
#[derive(Debug, Clone, Copy)]
struct Size {
    /// Each worker has a segment.
    workers: usize,
    queued: usize,
    /// How many jobs are run before the figures are read.
    jobs: usize,
}

/// What one job costs, beyond what the fleet does without jobs.
#[derive(Debug, Clone, Copy)]
struct Cost {
    store_requests: f64,
    broker_requests: f64,
    /// Of the machine that simulates all of it, in microseconds.
    micros: f64,
}

#[derive(Debug, Clone, Copy)]
struct Reading {
    store_requests: u64,
    broker_requests: u64,
    /// Seconds since the beginning.
    at: f64,
}

fn reading(stage: &Stage) -> Reading {
    Reading {
        store_requests: stage.world.ledger.lock().requests.all(),
        broker_requests: stage.servers.broker.asked.load(Ordering::Relaxed),
        at: stage.world.elapsed().as_secs_f64(),
    }
}

#[allow(clippy::cast_precision_loss, reason = "counts of a test are far below 2^53")]
fn cost(size: Size) -> Cost {
    let capacity = Capacity { terminating: 10, long_running: 0 };
    let workers = vec![(0, capacity); size.workers];
    let plan = Plan { sites: 1, workers, happenings: Vec::new() };
    on_a_stage_with(None, plan, async |stage: Arc<Stage>| {
        seconds(SETTLES).await;
        let before = reading(&stage);
        seconds(SETTLES).await;
        let idle = reading(&stage);
        assert_eq!(stage.servers.broker.contents().locked().len(), size.workers);
        for number in 0..size.queued {
            stage.publish_start(&start(format!("test-{number}"), Some(TAKES)));
        }
        let (from, begun) = (reading(&stage), Instant::now());
        let results = || stage.world.ledger.lock().results.len();
        while results() < size.jobs {
            seconds(1).await;
        }
        let (to, took, jobs) = (reading(&stage), begun.elapsed(), results() as f64);
        let share = (to.at - from.at) / (idle.at - before.at);
        let beyond = |idle: u64, busy: u64| (busy as f64 - idle as f64 * share) / jobs;
        Cost {
            store_requests: beyond(
                idle.store_requests - before.store_requests,
                to.store_requests - from.store_requests,
            ),
            broker_requests: beyond(
                idle.broker_requests - before.broker_requests,
                to.broker_requests - from.broker_requests,
            ),
            micros: took.as_secs_f64() * 1e6 / jobs,
        }
    })
}

fn expect_flat(sizes: &[Size]) {
    let costs: Vec<_> = sizes.iter().map(|size| (size, cost(*size))).collect();
    println!(
        "{:>8} {:>9} {:>14} {:>15} {:>12}",
        "workers", "queued", "store/job", "broker/job", "µs/job"
    );
    for (Size { workers, queued, .. }, cost) in &costs {
        let Cost { store_requests, broker_requests, micros } = cost;
        println!(
            "{workers:>8} {queued:>9} {store_requests:>14.2} {broker_requests:>15.2} {micros:>12.0}"
        );
    }
    let first = costs[0].1;
    for (size, cost) in &costs[1..] {
        for (one, other) in [
            (first.store_requests, cost.store_requests),
            (first.broker_requests, cost.broker_requests),
        ] {
            let ratio = other / one;
            assert!((1.0 - TOLERANCE..1.0 + TOLERANCE).contains(&ratio), "{ratio:.3} at {size:?}");
        }
    }
}

#[test]
fn a_job_costs_the_same_however_many_wait_and_however_many_segments_there_are() {
    expect_flat(&[
        Size { workers: 1, queued: 200, jobs: 100 },
        Size { workers: 1, queued: 10_000, jobs: 100 },
        Size { workers: 10, queued: 10_000, jobs: 1_000 },
    ]);
}

/// By hand: `make simulate-scale`.
#[test]
#[ignore = "a million messages take some minutes and gigabytes"]
fn a_job_costs_the_same_with_a_million_waiting_and_a_hundred_segments() {
    expect_flat(&[
        Size { workers: 1, queued: 1_000, jobs: 500 },
        Size { workers: 1, queued: 1_000_000, jobs: 500 },
        Size { workers: 100, queued: 100_000, jobs: 20_000 },
        Size { workers: 100, queued: 1_000_000, jobs: 20_000 },
    ]);
}
