//! Health over HTTP.

use std::net::SocketAddr;
use std::time::Duration;

use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::cli::{longshore, text};
use longshore_testing::scene::Scene;

const TOKEN: &str = "hush-0123456789abcdef";

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
    assert_eq!(names, ["broker", "store", "engine", "segment", "inboxes", "results"]);
    for name in ["broker", "segment", "inboxes"] {
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

async fn ask(address: SocketAddr, method: Method, path: &str, header: Option<&str>) -> StatusCode {
    let mut request = Client::new().request(method, format!("http://{address}{path}"));
    if let Some(value) = header {
        request = request.header("Authorization", value);
    }
    let answer = request.send().await.unwrap();
    let challenge = answer.headers().get("WWW-Authenticate").cloned();
    let (code, body) = (answer.status(), answer.text().await.unwrap());
    assert_eq!(challenge.is_some(), code == StatusCode::UNAUTHORIZED, "{path}");
    assert!(!body.contains(TOKEN), "{body}");
    code
}

#[tokio::test]
async fn with_a_token_only_liveness_is_public_and_nothing_can_be_changed() {
    let scene = Scene::new().await;
    let settings = [("HTTP_LISTEN", "0.0.0.0:0"), ("HTTP_TOKEN", TOKEN)];
    let mut worker = scene.spawn_worker(&settings);
    let mut address = worker.listens().await;
    address.set_ip([127, 0, 0, 1].into());
    let bearer = format!("Bearer {TOKEN}");
    let right = Some(bearer.as_str());

    assert_eq!(ask(address, Method::GET, "/healthz", None).await, 200);
    // The page is the same for everybody.
    assert_eq!(ask(address, Method::GET, "/", None).await, 200);
    for path in [
        "/readyz",
        "/metrics",
        "/nowhere",
        "/healthz/",
        "//healthz",
        "/healthz/../readyz",
        "/page/",
        "/api/v1/jobs",
    ] {
        for wrong in
            [None, Some("Bearer hush-0123456789abcdeF"), Some("Basic aHVzaA=="), Some(TOKEN)]
        {
            assert_eq!(ask(address, Method::GET, path, wrong).await, 401, "{path} {wrong:?}");
        }
    }
    assert_eq!(ask(address, Method::GET, "/nowhere", right).await, 404);
    let begun = tokio::time::Instant::now();
    while ask(address, Method::GET, "/readyz", right).await != 200 {
        assert!(begun.elapsed() < Duration::from_secs(60), "{}", worker.log());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    for method in [Method::POST, Method::PUT, Method::DELETE, Method::PATCH, Method::OPTIONS] {
        for path in ["/healthz", "/readyz", "/metrics"] {
            assert_eq!(ask(address, method.clone(), path, right).await, 405, "{method} {path}");
        }
    }
    let large =
        Client::new().get(format!("http://{address}/readyz")).header("Authorization", &bearer);
    assert_eq!(large.body(vec![b'x'; 2000]).send().await.unwrap().status(), 413);
    assert!(!worker.log().contains(TOKEN), "{}", worker.log());
    scene.finish([worker]).await;
}

#[tokio::test]
async fn a_silent_client_is_cut_off_and_many_of_them_keep_nobody_out() {
    let scene = Scene::new().await;
    let worker = scene.worker().await;
    let connect = async || TcpStream::connect(worker.http()).await.unwrap();
    // More than are served at a time: some half a request, some nothing.
    let mut idle = Vec::new();
    for number in 0..100 {
        let mut client = connect().await;
        if number % 2 == 0 {
            client.write_all(b"GET /readyz HTTP/1.1\r\nHost: x\r\n").await.unwrap();
        }
        idle.push(client);
    }
    let asked = reqwest::get(format!("http://{}/readyz", worker.http()));
    let answered = timeout(Duration::from_secs(60), asked).await.expect("nobody was let in again");
    assert_eq!(answered.unwrap().status(), 200);
    for mut client in idle {
        let mut said = Vec::new();
        let ended = timeout(Duration::from_secs(60), client.read_to_end(&mut said)).await;
        // Reset or closed, as it comes; perhaps with a word that it took too long.
        ended.expect("a client that says nothing is still connected").ok();
        assert!(!said.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&said));
    }
    scene.finish([worker]).await;
}

#[tokio::test]
async fn clients_that_speak_a_byte_at_a_time_delay_no_health_check() {
    let scene = Scene::new().await;
    let worker = scene.worker().await;
    let address = worker.http();
    let slow = async || {
        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(b"GET /healthz HTTP/1.1\r\nX: ").await.unwrap();
        client
    };
    let mut clients: Vec<TcpStream> = Vec::new();
    let begun = tokio::time::Instant::now();
    for _ in 0..5 {
        // More than have a place, and those that were cut off come again.
        for mut client in std::mem::take(&mut clients) {
            if client.write_all(b"a").await.is_ok() {
                clients.push(client);
            }
        }
        while clients.len() < 400 {
            clients.push(slow().await);
        }
        let asked = reqwest::get(format!("http://{address}/healthz"));
        let answered = timeout(Duration::from_secs(60), asked).await.expect("nobody answers");
        assert_eq!(answered.unwrap().status(), 200);
    }
    // To wait for the slow ones to run out of time would take 5 s each time.
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    scene.finish([worker]).await;
}

#[tokio::test]
async fn without_a_token_only_requests_to_our_hosts_get_readiness() {
    let scene = Scene::new().await;
    let worker = scene.worker_with(&[("HTTP_ALLOWED_HOSTS", "health.example")]).await;
    let address = worker.http();
    let ask = async |path: &str, host: &str| {
        let request = Client::new().get(format!("http://{address}{path}")).header("Host", host);
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    for host in ["localhost", &address.to_string(), "[::1]:8080", "health.example"] {
        assert_eq!(ask("/readyz", host).await.0, 200, "{host}");
    }
    for path in ["/readyz", "/nowhere"] {
        let (code, words) = ask(path, "evil.example").await;
        assert_eq!(code, 421, "{path}");
        assert!(words.contains("HTTP_ALLOWED_HOSTS") && !words.contains("checks"), "{words}");
    }
    assert_eq!(ask("/healthz", "evil.example").await.0, 200);
    scene.finish([worker]).await;
}

#[test]
fn a_worker_that_others_can_reach_does_not_start_without_a_token() {
    let output = longshore()
        .envs([("AMQP_URL", "amqp://h"), ("MINIO_ENDPOINT", "h:1"), ("MINIO_ACCESS_KEY", "a")])
        .envs([("MINIO_SECRET_KEY", "s"), ("HTTP_LISTEN", "0.0.0.0:8080")])
        .arg("worker")
        .output()
        .unwrap();
    let told = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{told}");
    assert!(told.starts_with("longshore: HTTP_LISTEN is 0.0.0.0:8080, which others can"), "{told}");
}
