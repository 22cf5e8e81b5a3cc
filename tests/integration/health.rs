//! Health over HTTP.

use serde_json::{Value, json};

use crate::support::scene::Scene;

#[tokio::test]
async fn a_worker_lives_before_it_is_ready_and_says_what_is_missing() {
    let scene = Scene::new().await;
    let mut worker = scene.spawn_worker(&[("AMQP_URL", "amqp://me:hush@127.0.0.1:1/%2f")]);
    let address = worker.listens().await;
    let get = async |path: &str| {
        let answer = reqwest::get(format!("http://{address}{path}")).await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    assert_eq!(get("/healthz").await, (200, "ok\n".to_owned()));
    assert_eq!(get("/nowhere").await.0, 404);
    let (code, body) = get("/readyz").await;
    let report: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((code, &report["ready"]), (503, &json!(false)));
    let checks = report["checks"].as_array().unwrap();
    let names: Vec<_> = checks.iter().map(|check| check["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["broker", "store", "engine", "segment"]);
    for name in ["broker", "segment"] {
        let check = checks.iter().find(|check| check["name"] == name).unwrap();
        assert_eq!(check["ok"], false, "{report:#}");
        assert!(!check["detail"].as_str().unwrap().is_empty(), "{report:#}");
    }
    worker.stop().await;

    let worker = scene.worker().await;
    let answer = reqwest::get(format!("http://{}/readyz", worker.http())).await.unwrap();
    let report: Value = answer.json().await.unwrap();
    assert_eq!(report["ready"], true, "{report:#}");
    scene.finish([worker]).await;
}
