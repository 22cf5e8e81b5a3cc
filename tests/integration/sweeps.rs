//! Sweeps: one code with many configs, each with a row of its own.

mod node;
mod recovery;
mod rows;

use longshore::job::Verdict;
use longshore::job::sweep::SweepRow;
use longshore::storage::Bucket;
use longshore_testing::program::{PYTHON_BACKTEST, Program};
use longshore_testing::scene::Scene;
use serde_json::Value;

/// A start message of a sweep in Python.
async fn message(scene: &Scene, name: &str, source: &str, config: Value, sweep: Value) -> Value {
    message_of(scene, &PYTHON_BACKTEST, name, source, config, sweep).await
}

/// A start message of a sweep.
async fn message_of(
    scene: &Scene,
    program: &Program,
    name: &str,
    source: &str,
    config: Value,
    sweep: Value,
) -> Value {
    let mut message = scene.job(name, program, source).await;
    message["config"] = config;
    message["sweep"] = sweep;
    message
}

/// The rows of a sweep's table, in its order.
async fn table(scene: &Scene, result: &Value) -> Vec<SweepRow> {
    let key = result["objects"]["rows_key"].as_str().unwrap_or_else(|| panic!("{result:#}"));
    let text = scene.read_object(Bucket::Results, key).await;
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The rows that chunks in the store have.
async fn chunked(scene: &Scene, id: &str) -> Vec<SweepRow> {
    let mut rows = Vec::new();
    for key in scene.objects(Bucket::Results, &format!("{id}/")).await {
        if key.contains("/sweep/") {
            let text = scene.read_object(Bucket::Results, &key).await;
            rows.extend(text.lines().map(|line| serde_json::from_str::<SweepRow>(line).unwrap()));
        }
    }
    rows
}

/// Each config has exactly one row, in their order, in the table and in the chunks.
async fn each_once(scene: &Scene, id: &str, result: &Value, count: u64) -> Vec<SweepRow> {
    let rows = table(scene, result).await;
    let indices: Vec<_> = rows.iter().map(|row| row.index).collect();
    assert_eq!(indices, (0..count).collect::<Vec<_>>());
    let mut stored: Vec<_> = chunked(scene, id).await.iter().map(|row| row.index).collect();
    stored.sort_unstable();
    assert_eq!(stored, indices, "what the chunks have");
    rows
}

fn verdicts(rows: &[SweepRow]) -> Vec<Verdict> {
    rows.iter().map(|row| row.verdict).collect()
}
