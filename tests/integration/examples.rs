//! Each program under `examples/` does what its page says.

use std::path::PathBuf;

use serde_json::{Value, json};

use longshore_testing::archive::zip_of_folder;
use longshore_testing::scene::Scene;

/// The start message of an example, with its code in the bucket and an id of this scene.
async fn example(scene: &Scene, name: &str) -> Value {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("examples").join(name);
    let text = std::fs::read_to_string(folder.join("start.json")).unwrap();
    let mut message: Value = serde_json::from_str(&text).unwrap();
    let key = scene.put_zip(name, zip_of_folder(&folder)).await;
    message["id"] = json!(scene.id(name));
    message["file_path"] = json!(key);
    message
}

/// A backtest that ends with figures of its own; the same ones each time.
async fn runs_and_gives_figures(name: &str) {
    let scene = Scene::new().await;
    let worker = scene.worker().await;
    let mut message = example(&scene, name).await;
    let first = scene.run(&message).await.expect("succeeded")["result"].clone();
    for figure in ["trades", "total_return", "max_drawdown", "sharpe", "final_equity"] {
        assert!(first[figure].is_number(), "{figure} is not in {first:#}");
    }
    assert!(first["trades"].as_u64() > Some(0), "{first:#}");
    message["id"] = json!(scene.id("again"));
    let second = scene.run(&message).await;
    assert_eq!(second.expect("succeeded")["result"], first);
    scene.finish([worker]).await;
}

/// A bot that says `line` while it runs and `farewell` when it is stopped.
async fn runs_until_stopped(name: &str, line: &str, farewell: &str, exit_code: i64) {
    let scene = Scene::new().await;
    let worker = scene.worker().await;
    let mut message = example(&scene, name).await;
    message["config"]["interval_seconds"] = json!(0.1);
    let id = message["id"].as_str().unwrap().to_owned();
    scene.start(&message).await;
    scene.events.wait_state(&id, "running").await;
    scene.logged(&id, line).await;
    scene.stop(&json!({ "id": id })).await;
    let result = scene.events.result_of(&id).await;
    assert_eq!(result.expect("stopped")["exit_code"], exit_code);
    assert!(result.output().trim_end().ends_with(farewell), "{:#}", result.event);
    scene.finish([worker]).await;
}

#[tokio::test]
async fn the_python_backtest_gives_its_figures() {
    runs_and_gives_figures("ma-crossover").await;
}

#[tokio::test]
async fn the_javascript_backtest_gives_its_figures() {
    runs_and_gives_figures("mean-reversion-js").await;
}

#[tokio::test]
async fn the_python_bot_ticks_until_it_is_stopped() {
    runs_until_stopped("ticker-bot", "tick 3", "goodbye", 143).await;
}

#[tokio::test]
async fn the_javascript_bot_beats_until_it_is_stopped() {
    runs_until_stopped("heartbeat-bot-js", "beat 3", "beats", 0).await;
}

/// Of every file in which this repository starts a worker.
#[test]
fn no_deployment_lets_jobs_onto_the_hosts_network_or_administer_the_broker() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    for name in ["docker-compose.yml", "deploy/compose.host-network.yml"] {
        let text = std::fs::read_to_string(root.join(name)).unwrap();
        let value = |variable: &str| {
            let line = text.lines().find_map(|line| line.trim().strip_prefix(variable));
            line.unwrap_or_else(|| panic!("{name} does not set {variable}")).to_owned()
        };
        for variable in ["BOT_NETWORK:", "BOT_ALLOWED_NETWORKS:"] {
            let allowed = value(variable);
            assert!(!allowed.contains("host"), "{name}: {variable}{allowed}");
        }
        assert!(value("AMQP_URL:").contains("longshore-worker"), "{name}");
    }
}
