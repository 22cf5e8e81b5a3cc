//! A workbench on the real engine. Everything made on it carries a label and is removed at the end,
//! also when the test fails.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use longshore::metrics::Metrics;
use longshore::runner::Progress;
use longshore::runner::container::{ContainerBuilder, ContainerSpec};
use longshore::runner::docker::DockerOrchestrator;
use longshore::runner::orchestrator::{ContainerOrchestrator, EngineError};
use longshore::settings::{Loader, Profile, Reader, RunnerSettings, Sources};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UnixStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub const PYTHON: &str = "python:3.11-slim";
pub const NODE: &str = "node:20-alpine";

const LABEL: &str = "longshore.test";
const DEFAULT_SOCKET: &str = "/var/run/docker.sock";

/// The runner's settings if nobody sets anything.
fn defaults() -> RunnerSettings {
    Loader::new(Sources::default()).read(Reader::runner).unwrap()
}

/// What containers may do if nobody sets anything.
pub fn profile() -> Profile {
    defaults().profile
}

pub fn settings() -> RunnerSettings {
    #[allow(clippy::disallowed_methods, reason = "tests have no settings of their own")]
    let docker_host = std::env::var("DOCKER_HOST").ok();
    RunnerSettings {
        docker_host,
        pull_timeout: Duration::from_mins(2),
        timeout: Duration::from_mins(1),
        max_timeout: Duration::from_mins(1),
        min_health_interval: Duration::from_secs(1),
        max_archive_bytes: 1 << 20,
        max_extracted_bytes: 1 << 20,
        max_entries: 100,
        max_result_bytes: 1 << 20,
        ..defaults()
    }
}

pub struct Bench {
    pub engine: Arc<DockerOrchestrator>,
    name: String,
}

impl Bench {
    pub async fn new() -> Self {
        Self::with(&settings()).await
    }

    pub async fn with(settings: &RunnerSettings) -> Self {
        let engine =
            DockerOrchestrator::connect(settings, Progress::Log, &Metrics::default()).await;
        let engine = engine.expect("these tests need a running Docker engine");
        for image in [PYTHON, NODE] {
            let is_here = engine.has_image(image).await.unwrap();
            assert!(is_here, "the image {image} is missing: the local stack's script provides it");
        }
        let name = format!("it-{}", uuid::Uuid::new_v4());
        Self { engine: Arc::new(engine), name }
    }

    pub fn labels(&self) -> BTreeMap<String, String> {
        BTreeMap::from([(LABEL.to_owned(), self.name.clone())])
    }

    /// A container of the bench that runs `command`; the `suffix` keeps names apart.
    pub fn spec(&self, suffix: &str, command: &[&str]) -> ContainerSpec {
        let mut spec = ContainerBuilder::new(PYTHON)
            .with_labels(self.labels())
            .with_stop_timeout(Duration::from_secs(1))
            .build();
        spec.name = format!("{}.{suffix}", self.name);
        spec.command = command.iter().map(|&word| word.to_owned()).collect();
        spec
    }

    pub fn shell(&self, suffix: &str, script: &str) -> ContainerSpec {
        self.spec(suffix, &["/bin/sh", "-c", script])
    }

    pub async fn start(&self, spec: &ContainerSpec) -> String {
        self.engine.create_and_start(spec).await.unwrap()
    }

    pub async fn count(&self) -> usize {
        self.engine.list_containers(&self.labels()).await.unwrap().len()
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        // A separate thread, because a runtime cannot be blocked from within; and a separate
        // connection, because the proxy of the test may be stalled.
        let labels = self.labels();
        let swept = std::thread::spawn(move || {
            let runtime = tokio::runtime::Runtime::new().expect("a runtime");
            runtime.block_on(sweep(&labels))
        });
        if !matches!(swept.join(), Ok(Ok(()))) {
            eprintln!("could not sweep the containers labelled {LABEL}={}", self.name);
        }
    }
}

async fn sweep(labels: &BTreeMap<String, String>) -> Result<(), EngineError> {
    let engine =
        DockerOrchestrator::connect(&settings(), Progress::Log, &Metrics::default()).await?;
    for container in engine.list_containers(labels).await? {
        engine.remove(&container.id).await?;
    }
    Ok(())
}

/// A TCP address of the local engine that can go away and come back.
pub struct EngineProxy {
    pub docker_host: String,
    listener: Arc<TcpListener>,
    socket: PathBuf,
    starts: Arc<Gauge>,
    up: CancellationToken,
    serving: JoinSet<()>,
}

/// How many requests are under way, and how many there were at most.
#[derive(Default)]
struct Gauge {
    now: AtomicUsize,
    most: AtomicUsize,
}

impl EngineProxy {
    pub async fn new() -> Self {
        let docker_host = settings().docker_host.unwrap_or_default();
        let socket = docker_host.strip_prefix("unix://").unwrap_or(DEFAULT_SOCKET).into();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let docker_host = format!("tcp://{}", listener.local_addr().unwrap());
        let mut proxy = Self {
            docker_host,
            listener: Arc::new(listener),
            socket,
            starts: Arc::default(),
            up: CancellationToken::new(),
            serving: JoinSet::new(),
        };
        proxy.restore();
        proxy
    }

    pub fn settings(&self) -> RunnerSettings {
        RunnerSettings { docker_host: Some(self.docker_host.clone()), ..settings() }
    }

    /// How many requests to start a container were under way at most.
    pub fn most_starts(&self) -> usize {
        self.starts.most.load(Ordering::SeqCst)
    }

    /// Breaks every connection, and every new one until the engine is restored.
    pub fn cut(&mut self) {
        self.up.cancel();
        self.serve(CancellationToken::new(), false);
    }

    pub fn restore(&mut self) {
        self.up.cancel();
        self.serve(CancellationToken::new(), true);
    }

    fn serve(&mut self, up: CancellationToken, forwards: bool) {
        self.up = up.clone();
        let (listener, socket) = (Arc::clone(&self.listener), self.socket.clone());
        let starts = Arc::clone(&self.starts);
        self.serving.spawn(async move {
            let serving = async {
                let mut connections = JoinSet::new();
                loop {
                    let (client, _) = listener.accept().await.unwrap();
                    if forwards {
                        connections.spawn(forward(client, socket.clone(), Arc::clone(&starts)));
                    }
                }
            };
            up.run_until_cancelled(serving).await;
        });
    }
}

async fn forward(mut client: tokio::net::TcpStream, socket: PathBuf, starts: Arc<Gauge>) {
    let mut engine = UnixStream::connect(Path::new(&socket)).await.unwrap();
    let mut request = vec![0; 4096];
    let read = client.read(&mut request).await.unwrap_or(0);
    let line = String::from_utf8_lossy(&request[..read]).lines().next().unwrap_or("").to_owned();
    let is_start = line.split(' ').nth(1).is_some_and(|path| path.ends_with("/start"));
    if is_start {
        let now = starts.now.fetch_add(1, Ordering::SeqCst) + 1;
        starts.most.fetch_max(now, Ordering::SeqCst);
    }
    if engine.write_all(&request[..read]).await.is_ok() {
        // The test, not the proxy, cares how a connection ended.
        let _ended = tokio::io::copy_bidirectional(&mut client, &mut engine).await;
    }
    if is_start {
        starts.now.fetch_sub(1, Ordering::SeqCst);
    }
}
