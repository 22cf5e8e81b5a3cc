//! The engine that costs nothing, for `make bench-scale`: a worker must take it for one.

use longshore::storage::Bucket;
use longshore_testing::costless_engine::{CostlessEngine, OUTPUT};
use longshore_testing::program::PYTHON_BACKTEST;
use longshore_testing::scene::Scene;
use serde_json::json;

#[tokio::test]
async fn a_worker_runs_a_backtest_on_an_engine_without_containers() {
    let scene = Scene::new().await;
    let engine = CostlessEngine::start(scene.folder());
    let docker_host = engine.docker_host();
    let settings = [("DOCKER_HOST", docker_host.as_str()), ("CODE_COMPILE_TIMEOUT_SECONDS", "0")];
    let worker = scene.worker_with(&settings).await;
    let rehearsed = engine.made();
    // The code would fail, if anybody ran it.
    let start = scene.job("costless", &PYTHON_BACKTEST, "raise SystemExit(1)\n").await;
    let result = scene.run(&start).await;
    let data = result.expect("succeeded");
    assert_eq!(data["result"], json!({ "ok": true }), "{data:#}");
    assert_eq!(result.output(), OUTPUT);
    let id = scene.id("costless");
    let stored = scene.read_object(Bucket::Results, &format!("{id}/analysis.json")).await;
    assert_eq!(stored, longshore_testing::costless_engine::RESULT);
    assert_eq!(scene.events.states_of(&id), ["accepted", "preparing", "running", "finished"]);
    // The worker's rehearsal may come meanwhile.
    assert!(engine.made() > rehearsed);
    scene.finish([worker]).await;
    assert_eq!(engine.unknown(), [""; 0]);
    assert_eq!(engine.left(), [""; 0]);
}
