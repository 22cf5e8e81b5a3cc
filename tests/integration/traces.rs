//! Traces, as a real collector gets them.
//!
//! `scripts/stack.sh collector-package` provides the collector.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable};
use longshore_testing::events::PATIENCE;
use longshore_testing::program::{PYTHON_BACKTEST, PYTHON_BOT, PYTHON_TICKER};
use longshore_testing::scene::Scene;
use longshore_testing::servers::free_port;
use serde_json::json;
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PUBLISHER: &str = "00f067aa0ba902b7";

/// A collector that writes each span that it gets to a file.
struct Collector {
    address: SocketAddr,
    process: Child,
    directory: TempDir,
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

fn free_address() -> SocketAddr {
    ([127, 0, 0, 1], free_port()).into()
}

/// What a span says: its own lines by name, and its attributes as ` -> name`.
type Span = BTreeMap<String, String>;

impl Collector {
    async fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let address = free_address();
        let output = std::fs::File::create(directory.path().join("spans")).unwrap();
        let process = Command::new("rotel-agent")
            .args(["start", "--exporter", "blackhole"])
            .args(["--debug-log", "traces", "--debug-log-verbosity", "detailed"])
            .args(["--otlp-http-endpoint", &address.to_string()])
            .args(["--otlp-grpc-endpoint", &free_address().to_string()])
            .stderr(output.try_clone().unwrap())
            .stdout(output)
            .stdin(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| {
                panic!("rotel-agent: {error}; scripts/stack.sh collector-package provides it")
            });
        let collector = Self { address, process, directory };
        let begun = Instant::now();
        while std::net::TcpStream::connect(address).is_err() {
            assert!(begun.elapsed() < PATIENCE, "{}", collector.text());
            sleep(Duration::from_millis(100)).await;
        }
        collector
    }

    fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("spans")
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(self.path()).unwrap()).into_owned()
    }

    /// The spans of the trace, as far as they have come.
    fn spans(&self) -> Vec<Span> {
        let text = self.text();
        let said = |line: &str| {
            let (name, value) = line.split_once(':')?;
            Some((name.trim().to_owned(), value.trim().to_owned()))
        };
        let spans = text.split("Span #").skip(1);
        let spans = spans.map(|span| span.lines().skip(1).filter_map(said).collect::<Span>());
        spans.filter(|span| span["Trace ID"] == TRACE).collect()
    }

    /// Waits until there are spans with these names.
    async fn has(&self, names: &[&str]) -> Vec<Span> {
        let begun = Instant::now();
        loop {
            let spans = self.spans();
            let missing =
                names.iter().find(|name| !spans.iter().any(|span| span["Name"] == **name));
            let Some(missing) = missing else { return spans };
            assert!(begun.elapsed() < PATIENCE, "no span {missing}: {}", self.text());
            sleep(Duration::from_millis(200)).await;
        }
    }
}

fn one<'a>(spans: &'a [Span], name: &str) -> &'a Span {
    let mut named = spans.iter().filter(|span| span["Name"] == name);
    let span = named.next().unwrap_or_else(|| panic!("no span {name}: {spans:?}"));
    assert!(named.next().is_none(), "a second span {name}: {spans:?}");
    span
}

/// A message of a publisher that takes part in a trace.
fn traced(id: &str) -> BasicProperties {
    let mut headers = FieldTable::default();
    let value = format!("00-{TRACE}-{PUBLISHER}-01");
    headers.insert("traceparent".into(), AMQPValue::LongString(value.into()));
    let now = u64::try_from(jiff::Timestamp::now().as_second()).unwrap();
    BasicProperties::default().with_headers(headers).with_timestamp(now).with_message_id(id.into())
}

const STAGES: [&str; 9] =
    ["queue", "claim", "code", "image", "start", "run", "collect", "settle", "publish"];

#[tokio::test]
async fn a_run_is_a_span_of_its_publishers_trace_with_one_for_each_stage() {
    let collector = Collector::start().await;
    let scene = Scene::new().await;
    let endpoint = collector.endpoint();
    let settings = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()),
        ("OTEL_BSP_SCHEDULE_DELAY", "200"),
        ("WARM_CONTAINERS", "0"),
    ];
    let worker = scene.worker_with(&settings).await;
    let source = "def main(id, config):\n    raise ValueError('no prices')\n";
    let job = scene.job("bad", &PYTHON_BACKTEST, source).await;
    scene.start_with(&job, traced("m1")).await;
    scene.events.result_of(job["id"].as_str().unwrap()).await.expect("failed");

    let mut names = STAGES.to_vec();
    names.push("run of a job");
    let spans = collector.has(&names).await;
    let whole = one(&spans, "run of a job");
    assert_eq!(whole["Parent ID"], PUBLISHER);
    assert_eq!(whole["Kind"], "SPAN_KIND_CONSUMER");
    let text = collector.text();
    let id = job["id"].as_str().unwrap();
    for said in [
        format!("-> longshore.job.id: Str({id})"),
        "-> longshore.verdict: Str(failed)".to_owned(),
        "-> longshore.runtime: Str(python3.11)".to_owned(),
        "-> messaging.message.id: Str(m1)".to_owned(),
        "-> service.name: Str(longshore)".to_owned(),
        "ValueError: no prices".to_owned(),
    ] {
        assert!(text.contains(&said), "{said} is not in {text}");
    }
    for stage in STAGES {
        assert_eq!(one(&spans, stage)["Parent ID"], whole["ID"], "{stage}");
    }
    let at = |name: &str, which: &str| one(&spans, name)[which].parse::<u64>().unwrap();
    for (first, then) in [("claim", "code"), ("code", "start"), ("run", "settle")] {
        assert!(at(first, "End time") <= at(then, "End time"), "{first} ends after {then}");
    }
    scene.finish([worker]).await;
}

#[tokio::test]
async fn a_bot_that_another_worker_takes_up_stays_in_its_trace() {
    let collector = Collector::start().await;
    let scene = Scene::new().await;
    let endpoint = collector.endpoint();
    let settings =
        [("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()), ("OTEL_BSP_SCHEDULE_DELAY", "200")];
    let first = scene.worker_with(&settings).await;
    let bot = scene.job("bot", &PYTHON_BOT, PYTHON_TICKER).await;
    let id = bot["id"].as_str().unwrap();
    scene.start_with(&bot, traced("m1")).await;
    scene.events.wait_state(id, "running").await;
    first.kill();
    let second = scene.worker_with(&settings).await;
    scene.stop(&json!({ "id": id })).await;
    scene.events.result_of(id).await.expect("stopped");
    let spans = collector.has(&["run taken up", "settle"]).await;
    assert_eq!(one(&spans, "run taken up")["Parent ID"], PUBLISHER);
    assert_eq!(one(&spans, "settle")["Parent ID"], one(&spans, "run taken up")["ID"]);
    scene.finish([second]).await;
}

#[tokio::test]
async fn a_collector_that_is_away_holds_up_nothing() {
    let scene = Scene::new().await;
    let endpoint = format!("http://{}", free_address());
    let worker = scene.worker_with(&[("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint)]).await;
    let job = scene.job("good", &PYTHON_BACKTEST, "def main(id, config):\n    return 1\n").await;
    scene.run(&job).await.expect("succeeded");
    scene.finish([worker]).await;
}
