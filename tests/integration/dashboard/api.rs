//! The API.

use std::time::Duration;

use lapin::BasicProperties;
use reqwest::{Client, Method};
use serde_json::{Value, json};
use tokio::time::timeout;

use super::{Dashboard, PATIENCE, answer};
use longshore_testing::http_proxy::{Asked, HttpProxy};
use longshore_testing::program::{PYTHON_BACKTEST, PYTHON_BOT, PYTHON_TICKER};
use longshore_testing::s3;
use longshore_testing::scene::Scene;

#[tokio::test]
async fn every_answer_is_as_the_description_says() {
    let scene = Scene::new().await;
    let worker = scene.worker().await;
    let dashboard = Dashboard::start(&scene).await;
    let source = "def main(id, config): return {'seen': config}";
    scene.run(&scene.job("fine", &PYTHON_BACKTEST, source).await).await.expect("succeeded");
    let broken = b"{\"id\": \"<b>bad</b>\"";
    scene.publish("start.terminating", broken, BasicProperties::default()).await;
    let letters = dashboard.until("/dead", |dead| dead["waiting"] == 1).await;
    let key = letters["letters"][0]["key"].as_str().unwrap().to_owned();
    dashboard.until("/jobs", |jobs| jobs["known"] == 1).await;

    let (_, document) = dashboard.get("/openapi.json").await;
    let mut seen = 0;
    for (path, operations) in document["paths"].as_object().unwrap() {
        let Some(read) = operations.get("get") else { continue };
        let schema = &read["responses"]["200"]["content"]["application/json"]["schema"];
        if !schema.is_object() {
            continue;
        }
        let asked = path.replace("{id}", &scene.id("fine")).replace("{key}", &key);
        let (status, value) = dashboard.get(&asked).await;
        assert_eq!(status, 200, "{asked}: {value:#}");
        let mut whole = schema.clone();
        whole["components"] = document["components"].clone();
        let validator = jsonschema::validator_for(&whole).unwrap();
        let faults: Vec<_> = validator.iter_errors(&value).map(|one| one.to_string()).collect();
        assert!(faults.is_empty(), "{asked}: {faults:?}: {value:#}");
        seen += 1;
    }
    assert!(seen >= 8, "{seen} answers were checked");

    let (_, result) = dashboard.get(&format!("/jobs/{}/result", scene.id("fine"))).await;
    assert_eq!(result, json!({ "seen": {} }));
    let (_, fleet) = dashboard.get("/workers").await;
    assert_eq!((&fleet["connected"], fleet["workers"].as_array().unwrap().len()), (&json!(1), 1));
    let (status, _) = dashboard.post("/dead/purge", &json!({ "key": key })).await;
    assert_eq!(status, 200);
    dashboard.until("/dead", |dead| dead["waiting"] == 0).await;
    scene.finish([worker]).await;
}

#[tokio::test]
async fn a_job_is_started_followed_and_stopped() {
    let scene = Scene::new().await;
    let worker = scene.worker().await;
    let dashboard = Dashboard::start(&scene).await;
    let message = scene.job("bot", &PYTHON_BOT, PYTHON_TICKER).await;
    let id = scene.id("bot");
    let (status, unknown) = dashboard.get(&format!("/jobs/{id}")).await;
    assert_eq!((status.as_u16(), &unknown["state"]), (200, &Value::Null));
    assert!(unknown["said"].as_str().unwrap().contains("no worker has taken"), "{unknown}");

    let (status, started) = dashboard.post("/jobs", &message).await;
    assert_eq!(status, 202, "{started}");
    assert_eq!(started["id"], id.as_str());
    scene.events.wait_state(&id, "running").await;

    let request = dashboard.request(Method::GET, &format!("/jobs/{id}/logs?follow=true"));
    let mut live = timeout(PATIENCE, request.send()).await.unwrap().unwrap();
    assert_eq!(live.headers()["content-type"], "text/event-stream");
    let mut text = String::new();
    let mut until = async |word: &str| {
        let reading = async {
            while !text.contains(word) {
                let part = live.chunk().await.unwrap().unwrap();
                text.push_str(&String::from_utf8_lossy(&part));
            }
        };
        assert!(timeout(PATIENCE, reading).await.is_ok(), "{word:?} did not come");
    };
    until("\"text\":\"tick 20\"").await;
    let (status, _) =
        dashboard.post(&format!("/jobs/{id}/stop"), &json!({ "reason": "enough" })).await;
    assert_eq!(status, 202);
    until("event: end").await;
    for tick in 1..=20 {
        assert_eq!(text.matches(&format!("\"text\":\"tick {tick}\"")).count(), 1, "{text}");
    }
    let result = scene.events.result_of(&id).await;
    result.expect("stopped");
    result.expect_message(&["enough"]);
    let story = dashboard.until(&format!("/jobs/{id}"), |story| story["state"] == "finished").await;
    assert_eq!(story["end"]["verdict"], "stopped");
    let (_, log) = dashboard.get(&format!("/jobs/{id}/logs?tail=5")).await;
    assert_eq!(log["lines"].as_array().unwrap().len(), 5, "{log}");
    scene.finish([worker]).await;
}

#[tokio::test]
async fn wrong_requests_are_refused_with_a_sentence() {
    let scene = Scene::new().await;
    let worker = scene.worker().await;
    let dashboard = Dashboard::start(&scene).await;
    for (path, status) in [
        ("/nothing", 404),
        ("/jobs/..%2f..%2fetc", 400),
        ("/jobs?state=maybe", 400),
        ("/jobs?colour=red", 400),
        ("/jobs/nobody/result", 404),
        ("/jobs/nobody/logs?stream=stdin", 400),
        ("/dead/xyz", 400),
        ("/dead/0123456789ab", 404),
    ] {
        let (got, value) = dashboard.get(path).await;
        assert_eq!(got.as_u16(), status, "{path}: {value}");
    }
    for (path, body, status) in [
        ("/jobs", json!({ "id": "x" }), 400),
        ("/jobs/nobody/stop", json!({ "reason": "r", "colour": "red" }), 422),
        ("/jobs/nobody/stop", json!({ "timeout_seconds": 100_000 }), 400),
        ("/dead/replay", json!({}), 400),
        ("/dead/purge", json!({ "key": "0123456789ab", "all": true }), 400),
        ("/workers", json!({}), 405),
    ] {
        let (got, value) = dashboard.post(path, &body).await;
        let is_refused = got.as_u16() == status || (status == 422 && got == 400);
        assert!(is_refused, "{path} {body}: {got} {value}");
    }
    scene.finish([worker]).await;
}

#[tokio::test]
async fn nobody_without_the_token_and_no_other_site_gets_or_changes_anything() {
    let scene = Scene::new().await;
    let worker = scene.worker().await;
    let dashboard = Dashboard::start(&scene).await;
    let client = Client::new();
    let ask = async |method: Method, path: &str, pairs: &[(&str, &str)]| {
        let mut request = client.request(method, format!("{}{path}", dashboard.root));
        for (name, value) in pairs {
            request = request.header(*name, *value);
        }
        request.body("{}").send().await.unwrap()
    };
    let bearer = format!("Bearer {}", dashboard.token);
    for (method, path) in [
        (Method::GET, "/api/v1/jobs"),
        (Method::GET, "/api/v1/openapi.json"),
        (Method::GET, "/api/v1/nothing"),
        (Method::POST, "/api/v1/jobs"),
        (Method::POST, "/api/v1/dead/purge"),
    ] {
        let refused = ask(method.clone(), path, &[("authorization", "Bearer wrong")]).await;
        assert_eq!(refused.status(), 401, "{path}");
        for other in [("origin", "http://evil.example"), ("sec-fetch-site", "cross-site")] {
            let refused = ask(method.clone(), path, &[("authorization", &bearer), other]).await;
            assert_eq!(refused.status(), 403, "{path} {other:?}");
        }
    }
    // The page itself is the same for everybody, and lets a browser load nothing from elsewhere.
    let page = ask(Method::GET, "/", &[]).await;
    assert_eq!(page.status(), 200);
    let policy = page.headers()["content-security-policy"].to_str().unwrap().to_owned();
    assert!(policy.starts_with("default-src 'self';") && !policy.contains("unsafe"), "{policy}");
    assert!(!page.text().await.unwrap().contains(&scene.namespace));

    // Without a token a worker shows no jobs: strangers' code may share its network.
    let url = format!("http://{}/api/v1/jobs", worker.http());
    let (status, refusal) = answer(client.get(url)).await;
    assert_eq!(status, 403);
    assert!(refusal["error"].as_str().unwrap().contains("HTTP_TOKEN"), "{refusal}");
    scene.finish([worker]).await;
}

#[tokio::test]
async fn a_worker_with_a_token_serves_the_same() {
    const TOKEN: &str = "hush-0123456789abcdef";
    let scene = Scene::new().await;
    let mut worker = scene.spawn_worker(&[("HTTP_TOKEN", TOKEN)]);
    let address = worker.listens().await;
    let client = Client::new();
    let url = format!("http://{address}/api/v1/workers");
    let asking = async {
        loop {
            let (status, fleet) = answer(client.get(&url).bearer_auth(TOKEN)).await;
            if status == 200 && fleet["workers"].as_array().is_some_and(|all| all.len() == 1) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    assert!(timeout(PATIENCE, asking).await.is_ok(), "{}", worker.log());
    scene.finish([worker]).await;
}

#[tokio::test]
async fn many_viewers_cost_one_listing_and_each_change_the_reading_of_its_record() {
    let scene = Scene::new().await;
    let store = HttpProxy::start(s3::addr().await).await;
    let worker = scene.worker().await;
    let dashboard = Dashboard::start_with(&scene, &[("MINIO_ENDPOINT", &store.endpoint())]).await;
    let source = "def main(id, config): return 1";
    for name in ["a", "b", "c"] {
        scene.run(&scene.job(name, &PYTHON_BACKTEST, source).await).await.expect("succeeded");
    }
    let first = dashboard.until("/jobs", |jobs| jobs["known"] == 3).await;
    // Events are heard from now on at the latest.
    tokio::time::sleep(Duration::from_secs(3)).await;
    dashboard.get("/jobs").await;
    let listings = |asked: &[Asked]| {
        asked
            .iter()
            .filter(|one| one.is("GET", "list-type=2") && one.target.contains("jobs"))
            .count()
    };
    let before = store.asked();
    assert!((1..=4).contains(&listings(&before)), "{before:#?}");

    for _ in 0..5 {
        let viewers = (0..20).map(|_| dashboard.get("/jobs"));
        futures_util::future::join_all(viewers).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    let idle = store.asked().split_off(before.len());
    assert!(idle.is_empty(), "nothing has changed: {idle:#?}");

    scene.run(&scene.job("d", &PYTHON_BACKTEST, source).await).await.expect("succeeded");
    let since = format!("/jobs?since_version={}", first["version"].as_str().unwrap());
    let is_done = |jobs: &Value| {
        jobs["jobs"].as_array().unwrap().iter().any(|job| job["verdict"] == "succeeded")
    };
    let changed = dashboard.until(&since, is_done).await;
    assert_eq!((&changed["is_partial"], &changed["matching"]), (&json!(true), &json!(1)));
    let asked = store.asked().split_off(before.len());
    assert!(listings(&asked) == 0 && asked.len() <= 30, "{asked:#?}");
    scene.finish([worker]).await;
}
