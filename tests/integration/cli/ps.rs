//! `ps -a` and a `longshore run` that was killed.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use super::{json_of, longshore, text};
use longshore_testing::rabbit::within;
use longshore_testing::{engine, servers, variable};

/// Prints a line, and does not end by itself.
pub(super) const WAITS: &str = "import time\ndef main(id, config):\n    print('up', flush=True)\n    \
                     time.sleep(600)\n";

/// Starts a backtest and waits until its code runs.
pub(super) fn started(mut command: Command) -> Child {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "up\n");
    child
}

/// What `ps` prints in a namespace without workers.
async fn ps(flags: &[&str]) -> std::process::Output {
    let mut command = longshore();
    command.env("AMQP_NAMESPACE", "longshore-tests-ps-alone").arg("ps").args(flags);
    command.envs(variable("DOCKER_HOST").map(|host| ("DOCKER_HOST", host)));
    within(tokio::task::spawn_blocking(move || command.output().unwrap())).await.unwrap()
}

/// The container of a job among all.
async fn listed(id: &str) -> Option<Value> {
    let all = json_of(&ps(&["-a", "--output", "json"]).await);
    all.as_array().unwrap().iter().find(|one| one["id"] == id).cloned()
}

#[tokio::test]
async fn ps_with_all_lists_what_a_killed_run_left_behind_until_it_has_ended_and_after() {
    let folder = tempfile::tempdir().unwrap();
    let (code, jobs) = (folder.path().join("code"), folder.path().join("jobs"));
    fs::create_dir(&code).unwrap();
    fs::create_dir(&jobs).unwrap();
    fs::write(code.join("backtest.py"), WAITS).unwrap();
    let id = format!("ps-{}", uuid::Uuid::new_v4().simple());
    let mut command = longshore();
    command.env("TEMP_DIR", &jobs).arg("run").arg(&code).args(["--id", &id]);
    command.envs(variable("DOCKER_HOST").map(|host| ("DOCKER_HOST", host)));
    let starting = tokio::task::spawn_blocking(move || started(command));
    let mut child = within(starting).await.unwrap();
    child.kill().unwrap();
    child.wait().unwrap();

    let left = listed(&id).await.expect("it is listed");
    assert_eq!((&left["state"], &left["entrypoint"]), (&"running".into(), &"backtest".into()));
    assert!(left["namespace"].as_str().unwrap().starts_with("run-"), "{left}");
    assert_eq!(text(&ps(&["--output", "json"]).await.stdout), "[]\n", "only with -a");

    let (docker, namespace) = (servers::engine().await, left["namespace"].as_str().unwrap());
    engine::end_one(&docker, namespace, true).await;
    let ended = within(async {
        loop {
            let now = listed(&id).await.expect("nothing removes it");
            if now["state"] == "exited" {
                break now;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    });
    let ended = ended.await;
    assert_eq!(ended["container_id"], left["container_id"]);
    let table = text(&ps(&["--all"]).await.stdout);
    let row = table.lines().find(|line| line.starts_with(&id)).expect(&table);
    let cells: Vec<_> = row.split_whitespace().collect();
    assert_eq!(cells[1..5], ["backtest", "exited", "killed", "1"], "{table}");

    engine::sweep(&docker, namespace).await;
    assert_eq!(listed(&id).await, None);
}
