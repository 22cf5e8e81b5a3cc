//! The HTTP API and the dashboard, against a real worker.

mod api;
mod page;

use std::process::Stdio;
use std::time::Duration;

use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Child;
use tokio::time::timeout;

use crate::cli::longshore;
use longshore_testing::scene::Scene;
use longshore_testing::worker::settings_of_a_worker;

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(180);

/// A running `longshore dashboard`.
struct Dashboard {
    /// The address that it prints, with its token.
    url: String,
    root: String,
    token: String,
    http: Client,
    _process: Child,
}

impl Dashboard {
    async fn start(scene: &Scene) -> Self {
        Self::start_with(scene, &[]).await
    }

    async fn start_with(scene: &Scene, settings: &[(&str, &str)]) -> Self {
        let mut command = tokio::process::Command::from(longshore());
        let mut process = command
            .envs(settings_of_a_worker(&scene.namespace, "dashboard", &scene.temp_dir()))
            .envs(settings.iter().copied())
            .args(["dashboard", "--listen", "127.0.0.1:0", "--output", "json"])
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let line = timeout(PATIENCE, lines.next_line()).await.unwrap().unwrap().unwrap();
        let said: Value = serde_json::from_str(&line).unwrap();
        let url = said["url"].as_str().unwrap().to_owned();
        let (root, token) = url.split_once("/#token=").unwrap();
        let (root, token) = (root.to_owned(), token.to_owned());
        let dashboard = Self { url, root, token, http: Client::new(), _process: process };
        // It serves before the broker is connected.
        dashboard.until("/queues", |_| true).await;
        dashboard
    }

    fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.http.request(method, format!("{}/api/v1{path}", self.root)).bearer_auth(&self.token)
    }

    async fn get(&self, path: &str) -> (StatusCode, Value) {
        answer(self.request(Method::GET, path)).await
    }

    async fn post(&self, path: &str, body: &Value) -> (StatusCode, Value) {
        answer(self.request(Method::POST, path).json(body)).await
    }

    /// Asks until the answer is as expected.
    async fn until(&self, path: &str, is_it: impl Fn(&Value) -> bool) -> Value {
        let asking = async {
            loop {
                let (status, value) = self.get(path).await;
                if status == StatusCode::OK && is_it(&value) {
                    return value;
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        match timeout(PATIENCE, asking).await {
            Ok(value) => value,
            Err(late) => panic!("{path}: {late}: {:#?}", self.get(path).await),
        }
    }
}

async fn answer(request: reqwest::RequestBuilder) -> (StatusCode, Value) {
    let answer = timeout(PATIENCE, request.send()).await.unwrap().unwrap();
    let status = answer.status();
    let value: Value = answer.json().await.unwrap_or_else(|error| json!(error.to_string()));
    if !status.is_success() {
        assert!(value["error"].as_str().is_some_and(|said| said.len() > 10), "{status} {value}");
    }
    (status, value)
}
