//! Where the time of one job goes, from what the worker itself counts.

use std::collections::BTreeMap;

use crate::bare::Bare;
use crate::code::Code;
use crate::contender::{Contender, all_at_once};
use crate::queued::{COLD, Queued, WARM};
use crate::report::{Report, Unit};

/// Single jobs in a round.
const JOBS: usize = 8;

/// How long nothing is asked after a single job.
const PAUSE: std::time::Duration = std::time::Duration::from_millis(600);

/// What is looked at: the stages of a run, and the requests to the engine on its way. Not the time in the queue:
/// a message's timestamp has whole seconds.
const STAGES: [&str; 8] =
    ["claim", "code", "image", "start", "run", "collect", "settle", "publish"];
const REQUESTS: [&str; 7] = ["image", "start", "copy", "rename", "inspect", "logs", "remove"];

pub(crate) async fn measure(rounds: usize, report: &mut Report) {
    let (mut cold, mut warm) = (Queued::new(COLD, 1).await, Queued::new(WARM, 1).await);
    let mut bare = Bare::new(1).await;
    for round in 0..=rounds {
        eprintln!("  round {round} of {rounds}");
        for queued in [&mut cold, &mut warm] {
            let before = sums(queued).await;
            let took = singles(queued).await;
            // The first one is not counted: connections, caches, the engine's first start.
            if round == 0 {
                continue;
            }
            let name = queued.name();
            report.add("one job at a time", name, Unit::Millis, took);
            let after = sums(queued).await;
            for (part, unit) in [("stage", STAGES.as_slice()), ("engine", &REQUESTS)] {
                for what in unit {
                    let key = format!("{part} {what}");
                    let of = |sums: &BTreeMap<String, f64>| sums.get(&key).copied().unwrap_or(0.0);
                    let a_job = (of(&after) - of(&before)) * 1e3 / crate::parts::count(JOBS);
                    report.add(&format!("{name}: {part}"), what, Unit::Millis, a_job);
                }
            }
        }
        let took = singles(&mut bare).await;
        if round > 0 {
            report.add("one job at a time", bare.name(), Unit::Millis, took);
        }
    }
    for queued in [cold, warm] {
        Box::new(queued).stop().await;
    }
}

/// The mean time of one job after the other, in milliseconds.
async fn singles(contender: &mut dyn Contender) -> f64 {
    let mut sum = 0.0;
    for _ in 0..JOBS {
        contender.prepare(&Code::trivial(), 1, false).await;
        tokio::time::sleep(PAUSE).await;
        sum += all_at_once(contender, 1).await.as_secs_f64() * 1e3;
        contender.rest().await;
    }
    sum / crate::parts::count(JOBS)
}

/// The sums of the worker's histograms of stages and of requests to the engine, in seconds.
async fn sums(queued: &Queued) -> BTreeMap<String, f64> {
    let address = queued.http();
    let text = reqwest::get(format!("http://{address}/metrics")).await.unwrap();
    let text = text.text().await.unwrap();
    let mut sums = BTreeMap::new();
    for (metric, part) in
        [("longshore_stage_seconds_sum{", "stage"), ("longshore_engine_seconds_sum{", "engine")]
    {
        for line in text.lines().filter_map(|line| line.strip_prefix(metric)) {
            let (labels, value) = line.rsplit_once("} ").unwrap();
            let label = labels.split('"').nth(1).unwrap();
            *sums.entry(format!("{part} {label}")).or_insert(0.0) += value.parse::<f64>().unwrap();
        }
    }
    sums
}
