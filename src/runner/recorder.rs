//! An orchestrator for unit tests: it records its calls, and answers by a script.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use parking_lot::Mutex;
use tokio::sync::watch;

use super::container::ContainerSpec;
use super::isolation::{Isolation, Seccomp};
use super::orchestrator::{
    ContainerInfo, ContainerOrchestrator, ContainerRunResult, ContainerState, ContainerStatus,
    EngineError, EngineRoot, ImageInfo,
};
use super::site::Site;
use crate::logs::{Frame, LogCollector};
use crate::metrics::Metrics;
use crate::settings::{Loader, Reader, Sources};
use crate::storage::{Journal, ObjectStore};

/// One call to the engine. A started container's id is its name.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Call {
    Pull(String),
    Start(String),
    Rename(String, String),
    Wait(String),
    Stop(String, Duration),
    Logs(String),
    Follow(String),
    Copy(String, String),
    Status(String),
    List(BTreeMap<String, String>),
    Remove(String),
    Check,
    Identity,
    HasImage(String),
}

/// How the engine answers.
#[derive(Debug, Clone, Default)]
pub(crate) struct Script {
    pub(crate) pull_error: Option<EngineError>,
    pub(crate) start_error: Option<EngineError>,
    pub(crate) stop_error: Option<EngineError>,
    /// How many starts fail, from the first on, because another container has the user.
    pub(crate) users_taken: usize,
    /// Whether a container ends only by a stop, with 143, and not by itself with `exit_code`.
    pub(crate) runs_until_stopped: bool,
    pub(crate) exit_code: i64,
    pub(crate) oom_killed: bool,
    pub(crate) engine_was_away: bool,
    pub(crate) created_at: Option<jiff::Timestamp>,
    pub(crate) frames: Vec<Frame>,
    pub(crate) files: BTreeMap<String, Bytes>,
    pub(crate) containers: Vec<ContainerInfo>,
}

/// The orchestrator.
pub(crate) struct Recorder {
    script: Script,
    calls: Mutex<Vec<Call>>,
    specs: Mutex<Vec<ContainerSpec>>,
    stopped: watch::Sender<bool>,
}

impl Recorder {
    pub(crate) fn new(script: Script) -> Self {
        Self {
            script,
            calls: Mutex::default(),
            specs: Mutex::default(),
            stopped: watch::channel(false).0,
        }
    }

    /// What was asked so far, in order.
    pub(crate) fn calls(&self) -> Vec<Call> {
        self.calls.lock().clone()
    }

    /// The specifications of the containers that were started, in order.
    pub(crate) fn specs(&self) -> Vec<ContainerSpec> {
        self.specs.lock().clone()
    }

    fn record(&self, call: Call) {
        self.calls.lock().push(call);
    }

    fn status(&self, container: &str) -> ContainerStatus {
        let was_stopped = *self.stopped.borrow();
        let runs = self.script.runs_until_stopped && !was_stopped;
        let exit_code = if was_stopped { 143 } else { self.script.exit_code };
        let spec = self.specs().into_iter().find(|spec| spec.name == container);
        ContainerStatus {
            id: container.to_owned(),
            state: if runs { ContainerState::Running } else { ContainerState::Exited },
            exit_code: (!runs).then_some(exit_code),
            oom_killed: self.script.oom_killed,
            error: None,
            created_at: self.script.created_at,
            started_at: None,
            finished_at: None,
            healthy: None,
            labels: spec.map(|spec| spec.labels).unwrap_or_default(),
            engine_was_away: self.script.engine_was_away,
        }
    }

    /// What the program writes to mounted files of its host.
    fn write_through_mounts(&self, spec: &ContainerSpec) {
        for bind in spec.binds.iter().filter(|bind| !bind.read_only) {
            if let Some(bytes) = self.script.files.get(&bind.container) {
                std::fs::write(&bind.host, bytes).expect("a mounted file can be written");
            }
        }
    }

    fn output(&self) -> String {
        let bytes: Vec<u8> =
            self.script.frames.iter().flat_map(|frame| frame.bytes.clone()).collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

/// A site with the settings' defaults, whose jobs' directories are in `temp_dir`.
pub(crate) fn site(engine: Arc<Recorder>, store: Arc<dyn ObjectStore>, temp_dir: &Path) -> Site {
    let sections = |reader: &Reader<'_>| (reader.runner(), reader.logs());
    let read = Loader::new(Sources::default()).read(sections);
    let (mut settings, logs) = read.expect("the defaults are valid");
    temp_dir.clone_into(&mut settings.temp_dir);
    // Nobody would wait in its containers.
    settings.warm.containers = 0;
    std::fs::create_dir_all(temp_dir).expect("the directory can be made");
    Site {
        engine,
        logs: Arc::new(LogCollector::new(Arc::clone(&store), logs)),
        states: Journal::new(Arc::clone(&store), "ns".to_owned()),
        store,
        settings,
        namespace: "ns".to_owned(),
        worker: "w".to_owned(),
        lease: Duration::from_secs(15),
        lock: None,
        metrics: Metrics::default(),
    }
}

fn answer(error: Option<&EngineError>) -> Result<(), EngineError> {
    error.cloned().map_or(Ok(()), Err)
}

#[async_trait]
impl ContainerOrchestrator for Recorder {
    async fn pull_image(&self, image: &str) -> Result<(), EngineError> {
        self.record(Call::Pull(image.to_owned()));
        answer(self.script.pull_error.as_ref())
    }

    async fn create_and_start(&self, spec: &ContainerSpec) -> Result<String, EngineError> {
        self.record(Call::Start(spec.name.clone()));
        answer(self.script.start_error.as_ref())?;
        let starts = self.calls().iter().filter(|call| matches!(call, Call::Start(_))).count();
        if starts <= self.script.users_taken {
            return Err(EngineError::UserTaken { user: spec.user.uid });
        }
        self.specs.lock().push(spec.clone());
        self.write_through_mounts(spec);
        Ok(spec.name.clone())
    }

    async fn rename(&self, container: &str, name: &str) -> Result<(), EngineError> {
        self.record(Call::Rename(container.to_owned(), name.to_owned()));
        Ok(())
    }

    async fn run_and_wait(
        &self,
        spec: &ContainerSpec,
        result_path: Option<&str>,
    ) -> Result<ContainerRunResult, EngineError> {
        let id = self.create_and_start(spec).await?;
        let status = self.wait(&id).await?;
        let output = self.get_logs(&id, None).await?;
        let result = match result_path {
            Some(path) => self.copy_from_container(&id, path, u64::MAX).await?,
            None => None,
        };
        self.remove(&id).await?;
        Ok(ContainerRunResult { status, output, result })
    }

    async fn wait(&self, container: &str) -> Result<ContainerStatus, EngineError> {
        self.record(Call::Wait(container.to_owned()));
        if self.script.runs_until_stopped {
            // The sender lives as long as this recorder.
            let mut stopped = self.stopped.subscribe();
            let _stopped = stopped.wait_for(|stopped| *stopped).await;
        }
        Ok(self.status(container))
    }

    async fn stop(&self, container: &str, timeout: Duration) -> Result<(), EngineError> {
        self.record(Call::Stop(container.to_owned(), timeout));
        answer(self.script.stop_error.as_ref())?;
        self.stopped.send_replace(true);
        Ok(())
    }

    async fn get_logs(&self, container: &str, _: Option<usize>) -> Result<String, EngineError> {
        self.record(Call::Logs(container.to_owned()));
        Ok(self.output())
    }

    fn follow_logs(&self, container: &str) -> BoxStream<'static, Result<Frame, EngineError>> {
        self.record(Call::Follow(container.to_owned()));
        stream::iter(self.script.frames.clone()).map(Ok).boxed()
    }

    async fn copy_from_container(
        &self,
        container: &str,
        path: &str,
        _: u64,
    ) -> Result<Option<Bytes>, EngineError> {
        self.record(Call::Copy(container.to_owned(), path.to_owned()));
        Ok(self.script.files.get(path).cloned())
    }

    async fn get_status(&self, container: &str) -> Result<ContainerStatus, EngineError> {
        self.record(Call::Status(container.to_owned()));
        Ok(self.status(container))
    }

    async fn list_containers(
        &self,
        labels: &BTreeMap<String, String>,
    ) -> Result<Vec<ContainerInfo>, EngineError> {
        self.record(Call::List(labels.clone()));
        let carries = |info: &&ContainerInfo| {
            labels.iter().all(|(label, value)| info.labels.get(label) == Some(value))
        };
        Ok(self.script.containers.iter().filter(carries).cloned().collect())
    }

    async fn remove(&self, container: &str) -> Result<(), EngineError> {
        self.record(Call::Remove(container.to_owned()));
        Ok(())
    }

    async fn check(&self) -> Result<String, EngineError> {
        self.record(Call::Check);
        Ok("recorder".to_owned())
    }

    async fn identity(&self) -> Result<String, EngineError> {
        self.record(Call::Identity);
        Ok("recorder".to_owned())
    }

    async fn root(&self) -> Result<EngineRoot, EngineError> {
        Ok(EngineRoot::Host)
    }

    async fn isolation(&self) -> Result<Isolation, EngineError> {
        let seccomp = Seccomp::Default;
        Ok(Isolation { docker: None, has_cgroup_v2: true, seccomp, has_user_namespace: false })
    }

    async fn has_image(&self, image: &str) -> Result<bool, EngineError> {
        self.record(Call::HasImage(image.to_owned()));
        Ok(self.script.pull_error.is_none())
    }

    async fn image_id(&self, image: &str) -> Result<Option<String>, EngineError> {
        Ok(Some(format!("sha256:{}", hex::encode(image))))
    }

    async fn list_images(&self) -> Result<Vec<ImageInfo>, EngineError> {
        Ok(Vec::new())
    }

    async fn remove_image(&self, image: &str) -> Result<(), EngineError> {
        Err(EngineError::NoContainer { container: image.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runner::container::ContainerBuilder;

    #[tokio::test]
    async fn a_run_is_answered_by_the_script_and_written_down_in_order() {
        let result = Bytes::from_static(b"{}");
        let recorder = Recorder::new(Script {
            exit_code: 3,
            files: BTreeMap::from([("/bot/result.json".to_owned(), result.clone())]),
            ..Script::default()
        });
        let spec = ContainerBuilder::new("image").build();
        let run = recorder.run_and_wait(&spec, Some("/bot/result.json")).await.unwrap();
        assert_eq!((run.status.exit_code, run.result), (Some(3), Some(result)));
        let name = String::new;
        let path = "/bot/result.json".to_owned();
        let expected = [
            Call::Start(name()),
            Call::Wait(name()),
            Call::Logs(name()),
            Call::Copy(name(), path),
            Call::Remove(name()),
        ];
        assert_eq!(recorder.calls(), expected);
        assert_eq!(recorder.specs(), [spec]);
    }

    #[tokio::test]
    async fn a_bot_runs_until_it_is_stopped() {
        let recorder = Recorder::new(Script { runs_until_stopped: true, ..Script::default() });
        assert_eq!(recorder.get_status("b").await.unwrap().state, ContainerState::Running);
        let (ended, stopped) =
            tokio::join!(recorder.wait("b"), recorder.stop("b", Duration::from_secs(1)));
        assert_eq!((ended.unwrap().exit_code, stopped), (Some(143), Ok(())));
    }
}
