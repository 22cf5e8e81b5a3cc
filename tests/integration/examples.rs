//! Each program under `examples/` does what its page says.

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::robustness::until;
use longshore_testing::archive::zip_of_folder;
use longshore_testing::engine::end_one;
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

/// The lines of a job's log that have this part, as numbers after `word`.
async fn ticks(scene: &Scene, id: &str) -> Vec<u64> {
    let log = scene.logs_of(id).await;
    let number = |line: &str| {
        let (_, rest) = line.split_once(" tick ").or_else(|| line.split_once("tick "))?;
        rest.split_once(": equity")?.0.parse().ok()
    };
    log.lines().filter_map(number).collect()
}

#[tokio::test]
async fn the_paper_trader_survives_a_kill_of_its_container_and_of_its_worker() {
    let scene = Scene::new().await;
    let mut first = scene.worker_with(&[("LOG_INTERVAL_SECONDS", "1")]).await;
    let mut message = example(&scene, "paper-trader").await;
    message["config"]["interval_seconds"] = json!(0.2);
    message["log_interval_seconds"] = json!(1);
    let id = message["id"].as_str().unwrap().to_owned();
    scene.start(&message).await;
    scene.logged(&id, "tick 3: equity").await;
    // The program is killed: the same run goes on in a second attempt, with what was kept.
    end_one(&scene.docker, &scene.namespace, true).await;
    scene.logged(&id, "goes on at tick").await;
    first.kill();
    first.wait().await;
    let second = scene.worker_with(&[("LOG_INTERVAL_SECONDS", "1")]).await;
    scene.logged(&id, "tick 25: equity").await;
    scene.stop(&json!({ "id": id })).await;
    let result = scene.events.result_of(&id).await;
    let data = result.expect("stopped");
    assert_eq!((&data["exit_code"], &data["attempt"]), (&json!(0), &json!(2)), "{data:#}");
    // A tick that was kept a moment before the kill may be missing in the log, but none comes twice.
    let ticks = ticks(&scene, &id).await;
    assert!(ticks.is_sorted_by(|one, next| one < next), "{ticks:?}");
    let series = data["objects"]["series"].as_array().unwrap();
    let names: Vec<_> = series.iter().map(|one| one["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["price", "equity"], "{data:#}");
    scene.finish([second]).await;
}

#[tokio::test]
async fn the_stream_bot_ends_cleanly_and_counts_on_in_its_next_run() {
    let scene = Scene::new().await;
    let worker = scene.worker().await;
    let mut message = example(&scene, "stream-bot-js").await;
    message["config"]["interval_ms"] = json!(20);
    let id = message["id"].as_str().unwrap().to_owned();
    for run in 1..=2 {
        scene.start(&message).await;
        until("it handles bars", async || {
            let log = scene.logs_of(&id).await;
            let (_, last_run) = log.rsplit_once("trades so far").unwrap_or_default();
            let has_begun = log.matches("trades so far").count() == run;
            has_begun && last_run.matches("bar of 5 trades").count() >= 3
        })
        .await;
        scene.stop(&json!({ "id": id })).await;
        until("it has ended", async || scene.events.results_of(&id).len() == run).await;
        let result = scene.events.results_of(&id)[run - 1].clone();
        assert_eq!(result.expect("stopped")["exit_code"], 0);
        assert!(result.output().trim_end().ends_with("trades"), "{:#}", result.event);
    }
    let log = scene.logs_of(&id).await;
    let ended: Vec<u64> = log
        .lines()
        .filter_map(|line| line.split_once("ended after ")?.1.split(' ').next()?.parse().ok())
        .collect();
    assert!(ended.len() == 2 && ended[0] > 0 && ended[1] > ended[0], "{ended:?}");
    assert!(log.contains(&format!("{} trades so far", ended[0])), "{log}");
    scene.finish([worker]).await;
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
