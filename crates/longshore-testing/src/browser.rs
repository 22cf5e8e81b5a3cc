//! A real Chromium without a window, driven over WebDriver.
//!
//! `scripts/stack.sh chromium-package` provides the programs. WebDriver is JSON over HTTP, and the tests
//! also need what only Chromium's driver has, so there is no client library here.

use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};

use crate::servers::free_port;

/// How long a test waits for what it wants to see.
const PATIENCE: Duration = Duration::from_secs(180);

/// Chromium as it starts for a test: no sandbox, because tests may run as root, and nothing that asks
/// other servers by itself.
const ARGUMENTS: [&str; 11] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-extensions",
    "--hide-scrollbars",
];

/// A browser with one tab.
pub struct Browser {
    http: reqwest::Client,
    session: String,
    _driver: Child,
    _profile: TempDir,
}

impl Browser {
    /// Starts a browser with a new, empty profile.
    pub async fn start() -> Self {
        let port = free_port();
        let profile = tempfile::Builder::new().prefix("longshore-browser-").tempdir().unwrap();
        let driver = Command::new("chromedriver")
            .arg(format!("--port={port}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|error| {
                panic!("chromedriver: {error}; scripts/stack.sh chromium-package provides it")
            });
        let mut arguments: Vec<String> = ARGUMENTS.map(str::to_owned).into();
        arguments.push(format!("--user-data-dir={}", profile.path().display()));
        let wanted = json!({ "capabilities": { "alwaysMatch": {
            "browserName": "chrome",
            "goog:chromeOptions": { "args": arguments },
            "goog:loggingPrefs": { "browser": "ALL", "performance": "ALL" },
        } } });
        let (http, base) = (reqwest::Client::new(), format!("http://127.0.0.1:{port}/session"));
        let begun = Instant::now();
        let made = loop {
            match http.post(&base).json(&wanted).send().await {
                Ok(answer) => break answer.json::<Value>().await.unwrap(),
                Err(error) => assert!(begun.elapsed() < PATIENCE, "chromedriver: {error}"),
            }
            sleep(Duration::from_millis(50)).await;
        };
        let id = made["value"]["sessionId"].as_str();
        let id = id.unwrap_or_else(|| panic!("no browser was started: {made:#}"));
        let session = format!("{base}/{id}");
        let browser = Self { http, session, _driver: driver, _profile: profile };
        // The page of a new tab asks for parts of itself.
        browser.open("about:blank").await;
        browser.requests().await;
        browser
    }

    async fn call(&self, path: &str, body: &Value) -> Value {
        let request = self.http.post(format!("{}/{path}", self.session)).json(body);
        let answer: Value = request.send().await.unwrap().json().await.unwrap();
        let value = answer["value"].clone();
        assert!(value.get("error").is_none(), "{path} {body}: {value:#}");
        value
    }

    /// Opens an address.
    pub async fn open(&self, url: &str) {
        self.call("url", &json!({ "url": url })).await;
    }

    /// Runs a script in the page: the body of a function. Returns what it returns.
    pub async fn run(&self, script: &str) -> Value {
        self.call("execute/sync", &json!({ "script": script, "args": [] })).await
    }

    /// Waits until an expression in the page is true.
    pub async fn until(&self, expression: &str) {
        let begun = Instant::now();
        while self.run(&format!("return Boolean({expression})")).await != json!(true) {
            if begun.elapsed() > PATIENCE {
                let shown = self.run("return document.body.innerText").await;
                panic!("{expression} did not become true: {}", shown.as_str().unwrap_or_default());
            }
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// Clicks the first element that a selector names, as a user does.
    pub async fn click(&self, selector: &str) {
        let wanted = json!({ "using": "css selector", "value": selector });
        let found = self.call("element", &wanted).await;
        let element = found.as_object().and_then(|found| found.values().next()).unwrap();
        self.call(&format!("element/{}/click", element.as_str().unwrap()), &json!({})).await;
    }

    /// Presses keys one after the other, wherever the focus is.
    pub async fn press(&self, keys: &str) {
        let press = |key: char| {
            let key = key.to_string();
            [json!({ "type": "keyDown", "value": key }), json!({ "type": "keyUp", "value": key })]
        };
        let actions: Vec<_> = keys.chars().flat_map(press).collect();
        let source = json!({ "type": "key", "id": "keyboard", "actions": actions });
        self.call("actions", &json!({ "actions": [source] })).await;
    }

    /// Takes the size of a screen, and whether the user wants dark colours.
    pub async fn look_like(&self, width: u32, height: u32, is_dark: bool) {
        let size = json!({
            "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false,
        });
        self.cdp("Emulation.setDeviceMetricsOverride", size).await;
        let value = if is_dark { "dark" } else { "light" };
        let features = json!([{ "name": "prefers-color-scheme", "value": value }]);
        self.cdp("Emulation.setEmulatedMedia", json!({ "features": features })).await;
    }

    async fn cdp(&self, command: &str, parameters: Value) {
        self.call("goog/cdp/execute", &json!({ "cmd": command, "params": parameters })).await;
    }

    /// What can be seen, as a PNG in base64.
    pub async fn picture(&self) -> String {
        let answer = self.http.get(format!("{}/screenshot", self.session)).send().await.unwrap();
        let answer: Value = answer.json().await.unwrap();
        answer["value"].as_str().unwrap().to_owned()
    }

    async fn log(&self, kind: &str) -> Vec<Value> {
        let entries = self.call("se/log", &json!({ "type": kind })).await;
        entries.as_array().cloned().unwrap_or_default()
    }

    /// What the page and the browser wrote to the console since the last call.
    pub async fn console(&self) -> Vec<String> {
        let entries = self.log("browser").await;
        entries.iter().map(|entry| format!("{} {}", entry["level"], entry["message"])).collect()
    }

    /// The addresses that were asked since the last call.
    pub async fn requests(&self) -> Vec<String> {
        let of = |entry: &Value| {
            let message: Value = serde_json::from_str(entry["message"].as_str()?).ok()?;
            let event = &message["message"];
            let url = event["params"]["request"]["url"].as_str()?;
            (event["method"] == "Network.requestWillBeSent").then(|| url.to_owned())
        };
        self.log("performance").await.iter().filter_map(of).collect()
    }

    /// Ends the browser.
    pub async fn close(self) {
        self.http.delete(&self.session).send().await.unwrap();
    }
}
