//! What happens between the choice of a waiting container and the moment at which its job begins.

use std::time::Duration;

use longshore_testing::events::PATIENCE;
use longshore_testing::http_proxy::{Deed, HttpProxy};
use longshore_testing::program::PYTHON_BACKTEST;
use longshore_testing::scene::Scene;
use longshore_testing::worker::Worker;
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::{container_of, of_each, waiting};

const SOURCE: &str = "def main(id, config):\n    print('ran')\n    return {}";

/// A worker with waiting containers, whose engine does this when a container is to get another name.
async fn worker(scene: &Scene, engine: &HttpProxy, deed: Deed) -> (Worker, Vec<String>) {
    engine.rule(move |asked| if asked.is("POST", "/rename") { deed } else { Deed::Pass });
    let host = format!("tcp://{}", engine.endpoint());
    let settings = [&of_each("2")[..], &[("DOCKER_HOST", &host)]].concat();
    let worker = scene.worker_with(&settings).await;
    let ready = waiting(scene, &worker, 4).await;
    (worker, ready)
}

async fn is_being_named(engine: &HttpProxy) {
    let begun = Instant::now();
    while !engine.asked().iter().any(|asked| asked.is("POST", "/rename")) {
        assert!(begun.elapsed() < PATIENCE, "no container got another name");
        sleep(Duration::from_millis(20)).await;
    }
    // The engine has done it by then.
    sleep(Duration::from_millis(500)).await;
}

#[tokio::test]
async fn a_container_that_cannot_get_the_runs_name_is_not_used() {
    let scene = Scene::new().await;
    let engine = HttpProxy::start_for_engine().await;
    for (turn, status) in [409, 500].into_iter().enumerate() {
        let (worker, ready) = worker(&scene, &engine, Deed::Refuse(status)).await;
        let message = scene.job(&format!("cold-{turn}"), &PYTHON_BACKTEST, SOURCE).await;
        let result = scene.run(&message).await;
        assert_eq!(result.expect("succeeded")["attempt"], 1);
        assert!(!ready.contains(&container_of(&result)));
        let mut worker = worker;
        scene.is_tidy().await;
        worker.stop().await;
    }
    scene.finish([]).await;
}

#[tokio::test]
async fn a_stop_before_the_job_begins_cancels_it() {
    let scene = Scene::new().await;
    let engine = HttpProxy::start_for_engine().await;
    let held = Deed::HoldAnswer(Duration::from_secs(4));
    let (worker, _) = worker(&scene, &engine, held).await;
    let message = scene.job("stopped", &PYTHON_BACKTEST, SOURCE).await;
    let id = message["id"].as_str().unwrap().to_owned();
    scene.start(&message).await;
    is_being_named(&engine).await;
    scene.stop(&json!({"id": id, "reason": "changed my mind"})).await;
    let result = scene.events.result_of(&id).await;
    result.expect("cancelled");
    result.expect_message(&["changed my mind"]);
    assert!(!scene.events.states_of(&id).contains(&"running".to_owned()));
    scene.finish([worker]).await;
}

#[tokio::test]
async fn a_worker_that_dies_before_the_job_begins_spends_no_attempt() {
    let scene = Scene::new().await;
    let engine = HttpProxy::start_for_engine().await;
    let held = Deed::HoldAnswer(Duration::from_secs(60));
    let (mut first, ready) = worker(&scene, &engine, held).await;
    let mut message = scene.job("crashed", &PYTHON_BACKTEST, SOURCE).await;
    message["max_attempts"] = json!(1);
    let id = message["id"].as_str().unwrap().to_owned();
    scene.start(&message).await;
    is_being_named(&engine).await;
    first.kill();
    first.wait().await;
    let second = scene.worker_with(&[]).await;
    let result = scene.events.result_of(&id).await;
    assert_eq!(result.expect("succeeded")["attempt"], 1);
    assert!(!ready.contains(&container_of(&result)));
    assert_eq!(result.output(), "ran\n{}\n");
    scene.finish([second]).await;
}
