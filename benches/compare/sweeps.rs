//! Sweeps through the queue, beside a bare loop of fork and wait in the same image.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::process::Command;

use crate::bare::IMAGE;
use crate::code::{Code, TRIVIAL_IN_NODE};
use crate::contender::Contender as _;
use crate::parts::{USUAL, rate};
use crate::queued::{Kind, Queued};
use crate::report::{Report, Unit};
use longshore_testing::archive::zip_of;
use longshore_testing::program::{NODE_BACKTEST, PYTHON_BACKTEST};

/// Configs of a sweep.
const TRIVIAL: usize = 1_000;
const PANDAS: usize = 2_000;

/// Forks and waits, so many at a time, and nothing else, with `--bare`.
const BARE: &str = include_str!("../sweeps/compare.py");

pub(crate) async fn measure(rounds: usize, report: &mut Report) {
    let kind = Kind { name: "sweep", warm: "0" };
    let mut queued = Queued::with(kind, USUAL, &[]).await;
    let trivial = queued.upload(Code::trivial().zip(0)).await;
    let pandas = queued.upload(Code::pandas().zip(0)).await;
    let node = zip_of(&[(NODE_BACKTEST.script, TRIVIAL_IN_NODE.to_owned())]);
    let node = queued.upload(node).await;
    for round in 1..=rounds {
        eprintln!("  round {round} of {rounds}");
        report.add("sweep of 1,000", "bare fork and wait", Unit::RowsPerSecond, bare().await);
        let message = PYTHON_BACKTEST.message(&queued.id(), &trivial);
        let took = sweep(&mut queued, message, TRIVIAL, "fork").await;
        report.add("sweep of 1,000", "Longshore", Unit::RowsPerSecond, rate(TRIVIAL, took));
        for isolation in ["isolate", "shared"] {
            let message = NODE_BACKTEST.message(&queued.id(), &node);
            let took = sweep(&mut queued, message, TRIVIAL, isolation).await;
            let rate = rate(TRIVIAL, took);
            report.add("sweep of 1,000, Node.js", isolation, Unit::RowsPerSecond, rate);
        }
        let message = PYTHON_BACKTEST.message(&queued.id(), &pandas);
        let took = sweep(&mut queued, message, PANDAS, "fork").await;
        report.add("sweep of 2,000, pandas", "Longshore", Unit::RowsPerSecond, rate(PANDAS, took));
    }
    Box::new(queued).stop().await;
}

/// From the start message to the result event.
async fn sweep(
    queued: &mut Queued,
    mut message: Value,
    configs: usize,
    isolation: &str,
) -> Duration {
    message["sweep"] = json!({
        "grid": { "n": { "from": 1, "to": configs, "step": 1 } },
        "parallel": USUAL,
        "isolation": isolation,
    });
    let begun = Instant::now();
    queued.publish(&message).await;
    let ended = tokio::time::timeout(Duration::from_mins(5), queued.ended()).await;
    assert_eq!(ended.expect("a sweep does not end"), message["id"].as_str().unwrap());
    let took = begun.elapsed();
    queued.rest().await;
    took
}

async fn bare() -> f64 {
    let numbers = [format!("--count={TRIVIAL}"), format!("--parallel={USUAL}")];
    let asked = Command::new("docker")
        .args(["run", "--rm", "--network=none", IMAGE, "python", "-c", BARE, "--bare"])
        .args(numbers)
        .output();
    let output = asked.await.unwrap();
    String::from_utf8_lossy(&output.stdout).trim().parse().unwrap()
}
