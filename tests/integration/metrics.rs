//! `/metrics`: what a worker counts while it works.

mod prometheus;

use std::net::SocketAddr;
use std::time::Duration;

use lapin::BasicProperties;
use longshore::metrics::doc;
use longshore_testing::events::PATIENCE;
use longshore_testing::program::{NODE_BACKTEST, PYTHON_BACKTEST, PYTHON_BOT, PYTHON_TICKER};
use longshore_testing::scene::Scene;
use longshore_testing::worker::Worker;
use serde_json::json;
use tokio::time::{Instant, sleep};

#[test]
fn the_documentation_is_what_the_table_says() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/metrics.md");
    let page = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        page == doc::page(),
        "docs/metrics.md is not what src/metrics/table.rs says; fix it with: \
         cargo run -- schema --metrics-doc > docs/metrics.md"
    );
}

/// The text of a worker's metrics.
async fn text(address: SocketAddr, token: Option<&str>) -> String {
    let request = reqwest::Client::new().get(format!("http://{address}/metrics"));
    let request = match token {
        Some(token) => request.bearer_auth(token),
        None => request,
    };
    let answer = request.send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let kind = answer.headers().get("content-type").unwrap().to_str().unwrap().to_owned();
    assert_eq!(kind, "text/plain; version=0.0.4");
    answer.text().await.unwrap()
}

/// The value of one series, as `name{labels}`.
fn value(text: &str, series: &str) -> Option<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '))?;
    line.parse().ok()
}

/// Waits until every series has its value.
pub(crate) async fn shows(worker: &Worker, expected: &[(&str, f64)]) -> String {
    let begun = Instant::now();
    loop {
        let text = text(worker.http(), None).await;
        let mut wrong = expected.iter().filter(|(series, is)| value(&text, series) != Some(*is));
        let Some((series, is)) = wrong.next() else { return text };
        assert!(begun.elapsed() < PATIENCE, "{series} is not {is}:\n{text}");
        sleep(Duration::from_millis(200)).await;
    }
}

#[tokio::test]
async fn a_worker_counts_its_runs_their_stages_and_its_requests_to_servers() {
    let scene = Scene::new().await;
    let worker = scene.worker_with(&[("MAX_TERMINATING", "3"), ("MAX_LONG_RUNNING", "2")]).await;
    let good = scene.job("good", &PYTHON_BACKTEST, "def main(id, config):\n    return 1\n").await;
    let bad = scene.job("bad", &NODE_BACKTEST, "throw new Error('no prices')").await;
    let bot = scene.job("bot", &PYTHON_BOT, PYTHON_TICKER).await;
    let now = u64::try_from(jiff::Timestamp::now().as_second()).unwrap();
    let dated =
        |id: &str| BasicProperties::default().with_timestamp(now - 100).with_message_id(id.into());
    scene.start_with(&good, dated("m1")).await;
    scene.events.result_of(good["id"].as_str().unwrap()).await.expect("succeeded");
    scene.run(&bad).await.expect("failed");
    scene.publish("start.terminating", b"{}", BasicProperties::default()).await;
    scene.start(&bot).await;
    scene.events.wait_state(bot["id"].as_str().unwrap(), "running").await;

    let runs = |verdict: &str, runtime: &str, kind: &str| {
        format!(
            "longshore_runs_total{{kind=\"{kind}\",runtime=\"{runtime}\",verdict=\"{verdict}\"}}"
        )
    };
    let queue =
        |name: &str| format!("longshore_queue_messages{{queue=\"{}.{name}\"}}", scene.namespace);
    let text = shows(
        &worker,
        &[
            (&runs("succeeded", "python3.11", "terminating"), 1.0),
            (&runs("failed", "nodejs20", "terminating"), 1.0),
            (&runs("rejected", "none", "none"), 1.0),
            ("longshore_slots{kind=\"terminating\",state=\"busy\"}", 0.0),
            ("longshore_slots{kind=\"terminating\",state=\"free\"}", 3.0),
            ("longshore_slots{kind=\"long_running\",state=\"busy\"}", 1.0),
            ("longshore_slots{kind=\"long_running\",state=\"free\"}", 1.0),
            ("longshore_takes_jobs", 1.0),
            ("longshore_segments{state=\"held\"}", 1.0),
            ("longshore_segments{state=\"unproven\"}", 0.0),
            ("longshore_connected{server=\"rabbitmq\"}", 1.0),
            ("longshore_results_unconfirmed", 0.0),
            ("longshore_log_spool_bytes", 0.0),
            (&queue("start.terminating"), 0.0),
            (&queue("dead"), 1.0),
            ("longshore_stage_seconds_count{stage=\"settle\"}", 2.0),
            ("longshore_stage_seconds_count{stage=\"publish\"}", 2.0),
            ("longshore_stage_seconds_count{stage=\"run\"}", 2.0),
            ("longshore_stage_seconds_count{stage=\"collect\"}", 2.0),
            ("longshore_stage_seconds_count{stage=\"claim\"}", 3.0),
            ("longshore_stage_seconds_count{stage=\"code\"}", 3.0),
            ("longshore_stage_seconds_count{stage=\"image\"}", 3.0),
            ("longshore_stage_seconds_count{stage=\"start\"}", 3.0),
            // Only one message had a timestamp, of 100 s ago.
            ("longshore_stage_seconds_count{stage=\"queue\"}", 1.0),
        ],
    )
    .await;
    let over = |series: &str, least: f64| {
        let found = value(&text, series);
        assert!(found.is_some_and(|found| found >= least), "{series}: {found:?}\n{text}");
    };
    over("longshore_stage_seconds_sum{stage=\"queue\"}", 99.0);
    over("longshore_lease_margin_seconds", 40.0);
    over("longshore_store_requests_total{operation=\"put\",outcome=\"ok\"}", 5.0);
    over("longshore_store_seconds_count{operation=\"put\"}", 5.0);
    over("longshore_engine_seconds_count{operation=\"start\"}", 3.0);
    over("longshore_cache_bytes", 1.0);
    over("longshore_log_bytes_total", 1.0);
    over("process_resident_memory_bytes", 1e6);
    for id in [&good, &bad, &bot].map(|job| job["id"].as_str().unwrap()) {
        assert!(!text.contains(id), "a job is in a label");
    }
    assert_eq!(scene.dead_letters(1).await.len(), 1);
    scene.stop(&json!({ "id": bot["id"] })).await;
    scene.events.result_of(bot["id"].as_str().unwrap()).await.expect("stopped");
    shows(&worker, &[(&runs("stopped", "python3.11", "long_running"), 1.0)]).await;
    scene.finish([worker]).await;
}
