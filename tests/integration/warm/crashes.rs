//! What becomes of waiting containers, and of runs in them, when something dies.

use longshore_testing::program::{PYTHON_BACKTEST, PYTHON_TICKER, Program};
use longshore_testing::scene::Scene;
use serde_json::json;
use std::time::Duration;
use tokio::time::sleep;

use super::{container_of, of_each, run_warm, waiting};

/// Runs for some seconds.
const TAKES_A_WHILE: &str = r#"
import time
def main(id, config):
    print("begun", flush=True)
    for _ in range(60):
        time.sleep(0.1)
    print("half", end="")
    return {"done": True}
"#;

#[tokio::test]
async fn a_killed_worker_leaves_no_waiting_container_after_the_next_start() {
    let scene = Scene::new().await;
    let mut first = scene.worker_with(&of_each("2")).await;
    let left = waiting(&scene, &first, 4).await;
    first.kill();
    first.wait().await;
    let second = scene.worker_with(&[]).await;
    // Before it takes a job.
    let message = scene.job("next", &PYTHON_BACKTEST, "def main(id, config): return {}").await;
    scene.run(&message).await.expect("succeeded");
    assert!(scene.waiting().await.is_empty(), "{left:?}");
    assert!(!scene.waiting_folder().exists());
    scene.finish([second]).await;
}

#[tokio::test]
async fn a_run_that_has_begun_is_adopted_with_its_whole_output() {
    let scene = Scene::new().await;
    let mut first = scene.worker_with(&of_each("2")).await;
    let ready = waiting(&scene, &first, 4).await;
    let message = scene.job("adopted", &PYTHON_BACKTEST, TAKES_A_WHILE).await;
    let id = message["id"].as_str().unwrap().to_owned();
    scene.start(&message).await;
    scene.events.wait_state(&id, "running").await;
    sleep(Duration::from_secs(1)).await;
    first.kill();
    first.wait().await;
    let second = scene.worker_with(&of_each("2")).await;
    let result = scene.events.result_of(&id).await;
    let data = result.expect("succeeded");
    assert_eq!((&data["attempt"], &data["result"]), (&json!(1), &json!({"done": true})));
    assert!(ready.contains(&container_of(&result)));
    assert_eq!(result.output().lines().collect::<Vec<_>>(), ["begun", "half{\"done\":true}"]);
    assert!(data["duration_seconds"].as_f64().unwrap() < 30.0);
    scene.finish([second]).await;
}

#[tokio::test]
async fn each_container_runs_one_job_and_nothing_of_it_is_seen_by_the_next() {
    let scene = Scene::new().await;
    let worker = scene.worker_with(&of_each("2")).await;
    let source = r#"
import os, json
def main(id, config):
    seen = sorted(os.listdir("/tmp"))
    open("/tmp/trace", "w").write(id)
    parent = f"/proc/{os.getppid()}"
    def closed(path):
        try:
            os.listdir(path)
            return False
        except PermissionError:
            return True
    own = sorted(os.listdir(".longshore"))
    return {"seen": seen, "uid": os.getuid(), "pipes": [it for it in own if it in ("bell", "done")],
            "closed": closed(parent + "/fd"), "name": os.environ["SECRET"]}
"#;
    let (mut containers, mut taken) = (Vec::new(), Vec::new());
    for turn in 0..4 {
        let mut message = scene.job(&format!("turn-{turn}"), &PYTHON_BACKTEST, source).await;
        message["env"] = json!({"SECRET": format!("s3cret-{turn}")});
        let result = run_warm(&scene, &worker, &message).await;
        let value = &result.expect("succeeded")["result"];
        assert_eq!((&value["seen"], &value["pipes"]), (&json!([]), &json!([])), "{value}");
        assert_eq!(
            (&value["closed"], &value["name"]),
            (&json!(true), &json!(format!("s3cret-{turn}")))
        );
        let (container, user) = (container_of(&result), value["uid"].as_u64().unwrap());
        assert!(!containers.contains(&container) && !taken.contains(&user));
        containers.push(container);
        taken.push(user);
    }
    scene.finish([worker]).await;
}

#[tokio::test]
async fn the_engine_is_told_no_secret_and_the_container_has_the_runs_name() {
    let scene = Scene::new().await;
    let worker = scene.worker_with(&of_each("2")).await;
    let ready = waiting(&scene, &worker, 4).await;
    let one_shot = Program { is_long_running: false, ..PYTHON_BACKTEST };
    let mut message = scene.job("secret", &one_shot, PYTHON_TICKER).await;
    message["env"] = json!({"KEY": "s3cret-word"});
    message["config"] = json!({"password": "s3cret-config"});
    let id = message["id"].as_str().unwrap().to_owned();
    scene.start(&message).await;
    let running = scene.events.wait_state(&id, "running").await;
    let container = running.data()["container_id"].as_str().unwrap().to_owned();
    assert!(ready.contains(&container));
    let options = None::<bollard::query_parameters::InspectContainerOptions>;
    let inspected = scene.docker.inspect_container(&container, options).await.unwrap();
    assert_eq!(inspected.name, Some(format!("/{}.{id}.1", scene.namespace)));
    let text = serde_json::to_string(&inspected).unwrap();
    assert!(!text.contains("s3cret"), "{text}");
    scene.stop(&json!({"id": id, "reason": "enough"})).await;
    let result = scene.events.result_of(&id).await;
    assert_eq!(result.expect("stopped")["exit_code"], 143);
    result.expect_message(&["enough"]);
    scene.finish([worker]).await;
}

#[tokio::test]
async fn a_container_that_ended_while_it_waited_is_not_used() {
    let scene = Scene::new().await;
    let worker = scene.worker_with(&of_each("2")).await;
    let ready = waiting(&scene, &worker, 4).await;
    for container in &ready {
        let options = None::<bollard::query_parameters::KillContainerOptions>;
        scene.docker.kill_container(container, options).await.unwrap();
    }
    let message = scene.job("cold", &PYTHON_BACKTEST, "def main(id, config): return {}").await;
    let result = scene.run(&message).await;
    assert_eq!(result.expect("succeeded")["attempt"], 1);
    assert!(!ready.contains(&container_of(&result)));
    scene.finish([worker]).await;
}

#[tokio::test]
async fn those_that_waited_for_too_long_are_replaced() {
    let scene = Scene::new().await;
    let settings = [&of_each("1")[..], &[("WARM_MAX_AGE_SECONDS", "10")]].concat();
    let worker = scene.worker_with(&settings).await;
    let first = waiting(&scene, &worker, 2).await;
    while scene.waiting().await.iter().any(|container| first.contains(container)) {
        sleep(Duration::from_millis(200)).await;
    }
    let second = waiting(&scene, &worker, 2).await;
    assert!(first.iter().all(|container| !second.contains(container)));
    scene.finish([worker]).await;
}
