//! By `docker run`, as a shell script would.

use std::process::Stdio;
use std::sync::Arc;

use async_trait::async_trait;
use tokio::process::Command;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::bare::IMAGE;
use crate::code::Code;
use crate::contender::Contender;
use longshore_testing::program::PYTHON_BACKTEST;

/// Runs the script where it lies: nothing is fetched, and no result is kept.
pub(crate) struct DockerRun {
    folder: tempfile::TempDir,
    permits: Arc<Semaphore>,
    running: JoinSet<String>,
}

impl DockerRun {
    pub(crate) fn new(concurrency: usize) -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            permits: Arc::new(Semaphore::new(concurrency)),
            running: JoinSet::new(),
        }
    }
}

#[async_trait(?Send)]
impl Contender for DockerRun {
    fn name(&self) -> &'static str {
        "docker run"
    }

    async fn prepare(&mut self, _: &Code, _: usize, _: bool) {
        let source = format!("{}print(main('job', {{}}))\n", crate::code::TRIVIAL);
        std::fs::write(self.folder.path().join(PYTHON_BACKTEST.script), source).unwrap();
    }

    async fn submit(&mut self) -> String {
        let (permits, id) = (Arc::clone(&self.permits), uuid::Uuid::new_v4().to_string());
        let mount = format!("{}:/backtest:ro", self.folder.path().display());
        let name = id.clone();
        self.running.spawn(async move {
            let _permit = permits.acquire().await.unwrap();
            let limits = ["--memory=512m", "--init", "--read-only", "--cap-drop=ALL"];
            let command = ["python", "-u", "/backtest/backtest.py"];
            let ended = Command::new("docker")
                .args(["run", "--rm", "-v", &mount])
                .args(limits)
                .arg(IMAGE)
                .args(command)
                .stdout(Stdio::null())
                .status();
            assert!(ended.await.unwrap().success());
            name
        });
        id
    }

    async fn ended(&mut self) -> String {
        self.running.join_next().await.unwrap().unwrap()
    }

    async fn stop(self: Box<Self>) {}
}
