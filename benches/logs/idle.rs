//! Bots that write nothing.

use std::time::Duration;

use longshore::storage::Bucket;
use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::{float, number, row};
use longshore_testing::process::Sample;
use longshore_testing::program::PYTHON_BOT;
use longshore_testing::proxy::Proxy;
use longshore_testing::s3;
use longshore_testing::scene::Scene;

const SILENT: &str = r"
import time
def main(id, config):
    while True:
        time.sleep(3600)
";

/// How long the worker is watched.
const WATCHED: Duration = Duration::from_mins(1);

const PATIENCE: Duration = Duration::from_mins(20);

pub(crate) async fn measure() {
    let bots = number("BENCH_IDLE_BOTS", 300);
    let scene = Scene::new().await;
    let store = Proxy::start(s3::addr().await).await;
    let (address, most) = (store.addr().to_string(), bots.to_string());
    let settings = [
        ("MINIO_ENDPOINT", address.as_str()),
        ("MAX_LONG_RUNNING", most.as_str()),
        ("LOG_INTERVAL_SECONDS", "2"),
        ("LOG_LEVEL", "info"),
        ("BOT_MEMORY_LIMIT_MB", "64"),
    ];
    let worker = scene.worker_with(&settings).await;
    let pid = worker.pid().unwrap();
    sleep(Duration::from_secs(5)).await;
    let alone = watch(pid).await;
    let key = scene.put_code("silent", &[(PYTHON_BOT.script, SILENT)]).await;
    let ids: Vec<_> = (0..bots).map(|number| scene.id(&format!("idle-{number}"))).collect();
    for id in &ids {
        scene.start(&PYTHON_BOT.message(id, &key)).await;
    }
    let begun = Instant::now();
    let is_running =
        |id: &String| scene.events.states_of(id).iter().any(|state| state == "running");
    while !ids.iter().all(is_running) {
        assert!(begun.elapsed() < PATIENCE, "not all bots run");
        sleep(Duration::from_secs(1)).await;
    }
    sleep(Duration::from_secs(5)).await;
    let idle = watch(pid).await;
    let memory = Sample::of(pid).rss_kib;
    let stored = scene.objects(Bucket::Logs, &format!("logs/{}", scene.id("idle-"))).await.len();
    for id in &ids {
        scene.stop(&json!({ "id": id, "timeout_seconds": 1 })).await;
    }
    while scene.events.all_results().len() < ids.len() {
        assert!(begun.elapsed() < PATIENCE, "not all bots have ended");
        sleep(Duration::from_secs(1)).await;
    }
    // Of the engine, so many removals take their time.
    while !scene.containers().await.is_empty() {
        sleep(Duration::from_secs(1)).await;
    }
    scene.finish([worker]).await;

    println!(
        "\n{bots} bots that write nothing, ticks of 2 s, watched for {} s\n",
        WATCHED.as_secs()
    );
    row("worker's CPU without bots", &[percent(alone)], "% of a core");
    row("worker's CPU with them", &[percent(idle)], "% of a core");
    row("worker's resident memory with them", &[format!("{:.1}", float(memory) / 1024.0)], "MiB");
    row("log objects that were put", &[stored.to_string()], "");
}

/// The CPU time that a process uses while it is watched.
async fn watch(pid: u32) -> Duration {
    let before = Sample::of(pid).cpu;
    sleep(WATCHED).await;
    Sample::of(pid).cpu.saturating_sub(before)
}

fn percent(cpu: Duration) -> String {
    format!("{:.2}", 100.0 * cpu.as_secs_f64() / WATCHED.as_secs_f64())
}
