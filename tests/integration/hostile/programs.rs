//! What strangers' programs try: each ends in the verdict that it deserves, hurts nobody beside it,
//! and leaves nothing.

mod list;

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::witness::MAX_PEAK_KIB;
use list::{Hostile, NODE, PYTHON, RESOURCES, RESULTS};
use longshore_testing::program::{NODE_BACKTEST, PYTHON_BACKTEST, PYTHON_BOT, PYTHON_TICKER};
use longshore_testing::scene::Scene;

/// Small limits, so that every one is reached soon.
const SETTINGS: [(&str, &str); 8] = [
    ("BOT_MEMORY_LIMIT_MB", "96"),
    ("BOT_PIDS_LIMIT", "64"),
    ("BOT_OPEN_FILES_LIMIT", "256"),
    ("BOT_TMP_MB", "16"),
    ("BOT_FILE_SIZE_LIMIT_MB", "12"),
    ("RESULT_MAX_MB", "1"),
    ("OUTPUT_MAX_MB", "4"),
    ("STOP_TIMEOUT_SECONDS", "2"),
];

#[tokio::test]
async fn every_hostile_program_gets_its_verdict_and_its_neighbours_run_on() {
    let scene = Scene::new().await;
    let worker = scene.worker_with(&SETTINGS).await;
    let neighbour = scene.id("neighbour");
    scene.start(&scene.job("neighbour", &PYTHON_BOT, PYTHON_TICKER).await).await;
    scene.events.wait_state(&neighbour, "running").await;
    let container = scene.container_of(&neighbour).await.id;

    let begun = Instant::now();
    let all: Vec<&Hostile> = [RESOURCES, RESULTS, PYTHON, NODE].into_iter().flatten().collect();
    assert!(all.len() >= 20, "{}", all.len());
    for hostile in &all {
        scene.start(&message(&scene, hostile).await).await;
    }
    let mut took = BTreeMap::new();
    for hostile in &all {
        let result = scene.events.result_of(&scene.id(hostile.name)).await;
        let data = result.expect(hostile.verdict);
        result.expect_message(&[hostile.says]);
        assert_eq!(data["exit_code"].as_i64(), hostile.exit_code, "{}: {data:#}", hostile.name);
        if let Some(expected) = hostile.result {
            let expected: Value = serde_json::from_str(expected).unwrap();
            assert_eq!(data["result"], expected, "{}: {data:#}", hostile.name);
        }
        assert_eq!(data["attempt"], 1, "{}: the fault is its own: {data:#}", hostile.name);
        took.insert(hostile.name, data["duration_seconds"].as_f64().unwrap_or_default());
    }
    eprintln!(
        "{} programs in {:.1} s, each in seconds: {took:?}",
        all.len(),
        begun.elapsed().as_secs_f64()
    );

    // The neighbour has not been started again, and still speaks.
    let ticks = ticks(&scene, &neighbour).await;
    scene.logged(&neighbour, &format!("tick {}\n", ticks + 5)).await;
    assert_eq!(scene.container_of(&neighbour).await.id, container);
    assert_eq!(scene.events.states_of(&neighbour).last().map(String::as_str), Some("running"));
    let peak = worker.peak_memory_kib();
    assert!(peak < MAX_PEAK_KIB, "the worker took {peak} KiB");
    eprintln!("the worker took {peak} KiB at most");

    scene.stop(&json!({ "id": neighbour })).await;
    scene.events.result_of(&neighbour).await.expect("stopped");
    assert_no_process_speaks_of(&scene.namespace).await;
    scene.finish([worker]).await;
}

async fn message(scene: &Scene, hostile: &Hostile) -> Value {
    let program =
        if hostile.source.contains("exports.main") { NODE_BACKTEST } else { PYTHON_BACKTEST };
    let mut message = scene.job(hostile.name, &program, hostile.source).await;
    message["timeout_seconds"] = json!(hostile.timeout_seconds);
    message["env"] = json!({ "MARK": scene.namespace });
    message
}

/// How often the neighbour has spoken, as the store has it.
async fn ticks(scene: &Scene, id: &str) -> u64 {
    let logs = scene.logs_of(id).await;
    let numbers = logs.lines().filter_map(|line| line.strip_prefix("tick ")?.parse().ok());
    numbers.max().unwrap_or_default()
}

/// Every process of a container carries `mark` in its environment: none of them may be left.
async fn assert_no_process_speaks_of(mark: &str) {
    let needle = format!("MARK={mark}");
    let begun = Instant::now();
    loop {
        let left: Vec<_> = std::fs::read_dir("/proc")
            .unwrap()
            .flatten()
            .filter_map(|entry| std::fs::read(entry.path().join("environ")).ok())
            .filter(|environ| environ.windows(needle.len()).any(|part| part == needle.as_bytes()))
            .collect();
        if left.is_empty() {
            return;
        }
        assert!(begun.elapsed() < Duration::from_mins(1), "{} processes are left", left.len());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
