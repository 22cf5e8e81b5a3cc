//! The metrics as a real Prometheus reads them, the alert rules, and the dashboard's queries.
//!
//! `scripts/stack.sh prometheus-package` provides the programs.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use longshore_testing::events::PATIENCE;
use longshore_testing::program::PYTHON_BACKTEST;
use longshore_testing::scene::Scene;
use serde_json::Value;
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use super::text;

const TOKEN: &str = "hush-0123456789abcdef";

fn deploy() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy")
}

fn missing(program: &str, error: &std::io::Error) -> String {
    format!("{program}: {error}; scripts/stack.sh prometheus-package provides it")
}

/// Runs promtool with `input`, and expects that it finds nothing wrong.
fn promtool(arguments: &[&str], input: &str) {
    let mut child = Command::new("promtool")
        .args(arguments)
        .current_dir(deploy().join("prometheus"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{}", missing("promtool", &error)));
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
    let said = [stdout, stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    assert!(status.success(), "promtool {}: {}", arguments.join(" "), said.concat());
}

#[test]
fn the_alert_rules_pass_their_tests() {
    promtool(&["check", "rules", "alerts.yml"], "");
    promtool(&["test", "rules", "alerts_test.yml"], "");
}

#[test]
fn every_alert_rule_has_a_test_that_it_is_raised() {
    let read =
        |name: &str| std::fs::read_to_string(deploy().join("prometheus").join(name)).unwrap();
    let (rules, tests) = (read("alerts.yml"), read("alerts_test.yml"));
    let names = rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: "));
    for name in names {
        let heading = format!("alertname: {name}\n");
        let is_raised = |test: &str| test.trim_start().starts_with("exp_alerts:\n");
        assert!(tests.split(&heading).skip(1).any(is_raised), "no test raises {name}");
    }
}

/// A Prometheus that scrapes one worker each second, with the alert rules of `deploy/`.
struct Prometheus {
    address: SocketAddr,
    process: Child,
    _directory: TempDir,
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

impl Prometheus {
    fn start(worker: SocketAddr) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let rules = deploy().join("prometheus/alerts.yml");
        let config = format!(
            "global: {{ scrape_interval: 1s, evaluation_interval: 1s }}\n\
             rule_files: [{:?}]\n\
             scrape_configs:\n\
             - job_name: longshore\n\
             \x20 authorization: {{ credentials: {TOKEN} }}\n\
             \x20 static_configs: [{{ targets: [\"{worker}\"] }}]\n",
            rules.display().to_string()
        );
        let file = directory.path().join("prometheus.yml");
        std::fs::write(&file, config).unwrap();
        let process = Command::new("prometheus")
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.tsdb.path={}", directory.path().join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("{}", missing("prometheus", &error)));
        Self { address, process, _directory: directory }
    }

    async fn get(&self, path: &str, query: &[(&str, &str)]) -> Result<Value, String> {
        let url = format!("http://{}{path}", self.address);
        let asked = reqwest::Client::new().get(url).query(query).send().await;
        let answer = asked.map_err(|error| error.to_string())?;
        let answer: Value = answer.json().await.map_err(|error| error.to_string())?;
        if answer["status"] == "success" { Ok(answer) } else { Err(answer.to_string()) }
    }

    /// What a query finds, as soon as it finds something.
    async fn finds(&self, query: &str) -> Vec<Value> {
        let begun = Instant::now();
        loop {
            let answer = self.get("/api/v1/query", &[("query", query)]).await;
            if let Ok(found) = &answer
                && let Some(found) = found["data"]["result"].as_array()
                && !found.is_empty()
            {
                return found.clone();
            }
            assert!(begun.elapsed() < PATIENCE, "{query}: {answer:?}");
            sleep(Duration::from_millis(300)).await;
        }
    }
}

#[tokio::test]
async fn a_real_prometheus_reads_a_worker_and_answers_every_query_of_the_dashboard() {
    let scene = Scene::new().await;
    let settings = [("HTTP_LISTEN", "0.0.0.0:0"), ("HTTP_TOKEN", TOKEN), ("WARM_CONTAINERS", "1")];
    let mut worker = scene.spawn_worker(&settings);
    let mut address = worker.listens().await;
    address.set_ip([127, 0, 0, 1].into());
    let prometheus = Prometheus::start(address);
    prometheus.finds("longshore_segments{state=\"held\"} == 1").await;
    let job = scene.job("job", &PYTHON_BACKTEST, "def main(id, config):\n    return 1\n").await;
    scene.run(&job).await.expect("succeeded");

    let up = prometheus.finds("up{job=\"longshore\"} == 1").await;
    assert_eq!(up.len(), 1);
    prometheus.finds("longshore_runs_total{verdict=\"succeeded\",kind=\"terminating\"} == 1").await;
    promtool(&["check", "metrics"], &text(address, Some(TOKEN)).await);

    let file = std::fs::read_to_string(deploy().join("grafana/longshore.json")).unwrap();
    let dashboard: Value = serde_json::from_str(&file).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    for panel in panels {
        for target in panel["targets"].as_array().unwrap() {
            let query = target["expr"].as_str().unwrap();
            let query = query.replace("$__rate_interval", "1m").replace("$job", "longshore");
            prometheus.finds(&query.replace("$instance", ".+")).await;
        }
    }
    let rules = prometheus.get("/api/v1/rules", &[]).await.unwrap();
    for rule in rules["data"]["groups"][0]["rules"].as_array().unwrap() {
        assert_eq!(rule["health"], "ok", "{rule:#}");
        // A store that is slow because the machine is busy may be noticed, but not for five minutes.
        assert_ne!(rule["state"], "firing", "{rule:#}");
    }
    drop(prometheus);
    scene.finish([worker]).await;
}

/// Every metric that rules and dashboard name is one of the table.
#[test]
fn rules_and_dashboard_name_only_metrics_that_there_are() {
    let known: Vec<_> = longshore::metrics::table::ALL.iter().map(|metric| metric.name).collect();
    for file in ["prometheus/alerts.yml", "grafana/longshore.json"] {
        let text = std::fs::read_to_string(deploy().join(file)).unwrap();
        let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        for word in words.filter(|word| word.starts_with("longshore_")) {
            let name = word.strip_suffix("_bucket").unwrap_or(word);
            assert!(known.contains(&name), "{file}: {word}");
        }
    }
}
