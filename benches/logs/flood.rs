//! A container that writes as fast as it can.

use std::fs::File;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use jiff::Timestamp;
use longshore::storage::Bucket;
use serde_json::json;
use tokio::process::Command;
use tokio::time::{Instant, sleep};

use crate::{float, number, row};
use longshore_testing::process::Sample;
use longshore_testing::program::PYTHON_BOT;
use longshore_testing::scene::Scene;

/// Time between two shipments, in seconds.
const INTERVAL: u64 = 2;

const PATIENCE: Duration = Duration::from_mins(10);

/// Writes so many MB in lines of 100 bytes, and then one that says so.
const FLOOD: &str = r#"
import sys, time
def main(id, config):
    lines = ("%07d " + "x" * 91 + "\n") * 1000
    number = 0
    for _ in range(config["mb"] * 10):
        sys.stdout.write(lines % tuple(range(number, number + 1000)))
        number += 1000
    print("the flood is over", flush=True)
    while True:
        time.sleep(1)
"#;

/// The same without Longshore.
const BARE_FLOOD: &str = r#"
import sys, time
lines = ("%07d " + "x" * 91 + "\n") * 1000
number = 0
for _ in range(int(sys.argv[1]) * 10):
    sys.stdout.write(lines % tuple(range(number, number + 1000)))
    number += 1000
print("the flood is over", flush=True)
time.sleep(600)
"#;

const TICKER: &str = r#"
import time
def main(id, config):
    while True:
        print("tick", flush=True)
        time.sleep(0.5)
"#;

pub(crate) async fn measure() {
    let mb = number("BENCH_FLOOD_MB", 200);
    let scene = Scene::new().await;
    let interval = INTERVAL.to_string();
    // The engine keeps all of it, whoever reads it how fast.
    let settings = [
        ("LOG_INTERVAL_SECONDS", interval.as_str()),
        ("LOG_ENGINE_FILE_MB", "512"),
        ("LOG_LEVEL", "info"),
        ("BOT_MEMORY_LIMIT_MB", "512"),
    ];
    let worker = scene.worker_with(&settings).await;
    sleep(Duration::from_secs(3)).await;
    let idle = Sample::of(worker.pid().unwrap());
    let ticker = scene.id("ticker");
    scene.start(&scene.job("ticker", &PYTHON_BOT, TICKER).await).await;
    scene.logged(&ticker, "tick").await;

    let flood = scene.id("flood");
    let mut message = scene.job("flood", &PYTHON_BOT, FLOOD).await;
    message["config"] = json!({ "mb": mb });
    scene.start(&message).await;
    scene.events.wait_state(&flood, "running").await;
    let (slowest, took) = slowest_line(&scene, &ticker, &flood).await;
    let after = Sample::of(worker.pid().unwrap());
    for id in [&flood, &ticker] {
        scene.stop(&json!({ "id": id, "timeout_seconds": 1 })).await;
        scene.events.result_of(id).await.expect("stopped");
    }
    scene.is_tidy().await;
    let bare = docker_logs(&scene, mb).await;
    scene.finish([worker]).await;

    println!("\nA flood of {mb} MB in lines of 100 bytes\n");
    let rate = |took: Duration| format!("{:.1}", float(mb) / took.as_secs_f64());
    row("Longshore, until the last line is in the store", &[rate(took)], "MB/s");
    row("docker logs -f > file, until it is in the file", &[rate(bare)], "MB/s");
    let ratio = bare.as_secs_f64() / took.as_secs_f64();
    row("Longshore against docker logs", &[format!("{ratio:.2}")], "×");
    row("worker's resident memory, idle", &[format!("{:.1}", float(idle.rss_kib) / 1024.0)], "MiB");
    row(
        "worker's resident memory, peak",
        &[format!("{:.1}", float(after.peak_kib) / 1024.0)],
        "MiB",
    );
    let cpu = after.cpu.saturating_sub(idle.cpu).as_secs_f64();
    row("worker's CPU time", &[format!("{cpu:.1}")], "s");
    let late = slowest.as_secs_f64();
    row("another bot's slowest line, written to stored", &[format!("{late:.1}")], "s");
    println!("    (its interval is {INTERVAL} s)");
}

/// From the first line to the last of the flood in the store.
async fn until_stored(scene: &Scene, id: &str) -> Duration {
    let begun = Instant::now();
    let mut newest = String::new();
    while begun.elapsed() < PATIENCE {
        sleep(Duration::from_millis(100)).await;
        let keys = scene.objects(Bucket::Logs, &format!("logs/{id}/")).await;
        let Some(last) = keys.last().filter(|last| **last != newest) else { continue };
        newest.clone_from(last);
        if scene.read_object(Bucket::Logs, last).await.contains("the flood is over") {
            let done = Timestamp::now();
            let first = scene.read_object(Bucket::Logs, &keys[0]).await;
            let stamp: Timestamp = first.split(' ').next().unwrap().parse().unwrap();
            return done.duration_since(stamp).try_into().unwrap();
        }
    }
    panic!("the flood did not end in time");
}

/// How long the slowest line of another bot took to reach the store while the flood went on, and
/// how long the flood took.
async fn slowest_line(scene: &Scene, id: &str, flood: &str) -> (Duration, Duration) {
    let over = until_stored(scene, flood);
    tokio::pin!(over);
    let (mut slowest, mut seen) = (Duration::ZERO, String::new());
    loop {
        tokio::select! {
            took = &mut over => return (slowest, took),
            () = sleep(Duration::from_millis(100)) => {
                let keys = scene.objects(Bucket::Logs, &format!("logs/{id}/")).await;
                let now = Timestamp::now();
                for key in keys.iter().filter(|key| **key > seen) {
                    let chunk = scene.read_object(Bucket::Logs, key).await;
                    let stamp: Timestamp = chunk.split(' ').next().unwrap().parse().unwrap();
                    slowest = slowest.max(now.duration_since(stamp).try_into().unwrap_or_default());
                }
                seen = keys.last().cloned().unwrap_or(seen);
            }
        }
    }
}

/// The same flood, read by the engine's own client into a file.
async fn docker_logs(scene: &Scene, mb: u64) -> Duration {
    let name = format!("{}-bare", scene.namespace);
    let label = format!("runtime.namespace={}", scene.namespace);
    let size = mb.to_string();
    let run = [
        "run",
        "-d",
        "--name",
        &name,
        "--label",
        &label,
        "--network",
        "host",
        "--memory",
        "512m",
        "--cpu-shares",
        "512",
        "--log-driver",
        "local",
        "--log-opt",
        "max-size=512m",
        "--log-opt",
        "max-file=2",
        "python:3.11-slim",
        "python",
        "-c",
        BARE_FLOOD,
        &size,
    ];
    docker(&run).await;
    let path = scene.folder().join("docker-logs");
    let mut follower = Command::new("docker")
        .args(["logs", "-f", "-t", &name])
        .stdout(File::create(&path).unwrap())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let begun = Instant::now();
    while !ends_with(&path, b"the flood is over\n") {
        assert!(begun.elapsed() < PATIENCE, "docker logs did not come to the end");
        sleep(Duration::from_millis(20)).await;
    }
    let done = Timestamp::now();
    let mut start = [0; 30];
    std::io::Read::read_exact(&mut File::open(&path).unwrap(), &mut start).unwrap();
    let stamp: Timestamp = std::str::from_utf8(&start).unwrap().trim().parse().unwrap();
    follower.kill().await.unwrap();
    docker(&["rm", "-f", &name]).await;
    std::fs::remove_file(&path).unwrap();
    done.duration_since(stamp).try_into().unwrap()
}

fn ends_with(path: &Path, end: &[u8]) -> bool {
    use std::io::{Read as _, Seek as _, SeekFrom};
    let mut file = File::open(path).unwrap();
    let mut last = vec![0; end.len()];
    let back = -i64::try_from(end.len()).unwrap();
    file.seek(SeekFrom::End(back)).is_ok() && file.read_exact(&mut last).is_ok() && last == end
}

async fn docker(arguments: &[&str]) {
    let output = Command::new("docker").args(arguments).output().await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
