//! What is compared, and how it is timed: the same for all.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use async_trait::async_trait;

use crate::code::Code;
use longshore_testing::process::Sample;

/// The longest wait for the next end.
const PATIENCE: Duration = Duration::from_mins(3);

/// Something that runs backtests.
#[async_trait(?Send)]
pub(crate) trait Contender {
    fn name(&self) -> &'static str;

    /// Makes ready for so many jobs, each with a zip of its own or all with the same. Not measured.
    async fn prepare(&mut self, code: &Code, jobs: usize, are_distinct: bool);

    /// Submits the next job that was made ready.
    async fn submit(&mut self) -> String;

    /// The next job that has ended well.
    async fn ended(&mut self) -> String;

    /// Its worker's processes, if it has any.
    fn processes(&self) -> Vec<u32> {
        Vec::new()
    }

    /// Waits until nothing of ended jobs is left.
    async fn rest(&mut self) {}

    async fn stop(self: Box<Self>);
}

/// Submits jobs that were made ready, all at once; gives the time until all have ended.
pub(crate) async fn all_at_once(contender: &mut dyn Contender, jobs: usize) -> Duration {
    let begun = Instant::now();
    for _ in 0..jobs {
        contender.submit().await;
    }
    for _ in 0..jobs {
        next(contender).await;
    }
    begun.elapsed()
}

/// Submits a job after each of these pauses; gives how long each took from its message to its result.
pub(crate) async fn one_by_one(
    contender: &mut dyn Contender,
    pauses: &[Duration],
) -> Vec<Duration> {
    let (mut open, mut took) = (HashMap::new(), Vec::new());
    let mut due = Instant::now();
    for pause in pauses {
        due += *pause;
        while Instant::now() < due {
            let waits = due.saturating_duration_since(Instant::now());
            if let Ok(id) = tokio::time::timeout(waits, contender.ended()).await {
                took.push(open.remove(&id).map(|at: Instant| at.elapsed()).unwrap());
            }
        }
        let at = Instant::now();
        open.insert(contender.submit().await, at);
    }
    while !open.is_empty() {
        let id = next(contender).await;
        took.push(open.remove(&id).unwrap().elapsed());
    }
    took
}

async fn next(contender: &mut dyn Contender) -> String {
    let ended = tokio::time::timeout(PATIENCE, contender.ended()).await;
    ended.unwrap_or_else(|_| panic!("{}: a job does not end", contender.name()))
}

/// CPU time of a contender's processes so far.
pub(crate) fn cpu(contender: &dyn Contender) -> Duration {
    contender.processes().iter().map(|pid| Sample::of(*pid).cpu).sum()
}

/// Memory of a contender's processes, in MiB: what they share counts once.
pub(crate) fn memory(contender: &dyn Contender) -> f64 {
    contender.processes().iter().map(|pid| proportional(*pid)).sum::<f64>() / 1024.0
}

/// The proportional set size of a process, in KiB.
fn proportional(pid: u32) -> f64 {
    let rollup = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
    let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}
