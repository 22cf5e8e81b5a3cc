//! The bare engine: create, start, wait, logs, remove, by its API and nothing else.

use std::collections::{HashMap, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use bollard::Docker;
use bollard::models::{
    ContainerCreateBody, HostConfig, HostConfigLogConfig, Mount, MountType, ResourcesUlimits,
};
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, LogsOptionsBuilder, RemoveContainerOptionsBuilder,
    StartContainerOptions, WaitContainerOptions,
};
use futures_util::{StreamExt as _, TryStreamExt as _};
use longshore::job::{Bounds, Job, parse_executable};
use longshore::runner::container::{ContainerBuilder, ContainerSpec, code_binds, helper_bind};
use longshore::runner::directory::JobDirectory;
use longshore::runner::labels::Assignment;
use longshore::runner::script::ScriptManager;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::code::{Code, TRIVIAL};
use crate::contender::Contender;
use longshore_testing::bench::profile;
use longshore_testing::program::PYTHON_BACKTEST;

pub(crate) const IMAGE: &str = "python:3.11-slim";

const BYTES_PER_MIB: u64 = 1024 * 1024;

/// The bare engine.
pub(crate) struct Bare {
    docker: Docker,
    namespace: String,
    folder: tempfile::TempDir,
    ready: VecDeque<Prepared>,
    permits: Arc<Semaphore>,
    running: JoinSet<Prepared>,
}

/// A container to be, with its directory in place.
pub(crate) struct Prepared {
    id: String,
    pub(crate) spec: ContainerSpec,
    directory: JobDirectory,
}

impl Bare {
    pub(crate) async fn new(concurrency: usize) -> Self {
        Self {
            docker: longshore_testing::servers::engine().await,
            // Not a worker's: it removes what its journal does not know.
            namespace: format!("bare-{}", uuid::Uuid::new_v4().simple()),
            folder: tempfile::tempdir().unwrap(),
            ready: VecDeque::new(),
            permits: Arc::new(Semaphore::new(concurrency)),
            running: JoinSet::new(),
        }
    }

    /// A directory with code and launcher, as a worker makes it.
    pub(crate) async fn prepare_one(&self) -> Prepared {
        let id = format!("{}-{}", self.namespace, uuid::Uuid::new_v4().simple());
        let message = PYTHON_BACKTEST.message(&id, "code.zip").to_string();
        let executable = parse_executable(message.as_bytes()).unwrap();
        let job = Job::validate(executable, &Bounds::default(), Some(&id)).unwrap();
        let folder = PathBuf::from(self.folder.path());
        let directory = JobDirectory::new(&folder, "bare", &job.id, &job.run_id, 1);
        directory.create().await.unwrap();
        std::fs::write(directory.root().join(PYTHON_BACKTEST.script), TRIVIAL).unwrap();
        let script = ScriptManager::new(&folder).create(&job, &directory).await.unwrap();
        let assignment =
            Assignment { namespace: &self.namespace, segment: 0, attempt: 1, lock: None };
        let spec = ContainerBuilder::new(IMAGE)
            .with_job(&job, &assignment)
            .with_command(script.command.clone())
            .with_profile(&profile())
            .with_binds(code_binds(directory.root(), &job, &script.writes, true))
            .with_binds([helper_bind(&script.helper, &job)])
            .build();
        Prepared { id, spec, directory }
    }
}

#[async_trait(?Send)]
impl Contender for Bare {
    fn name(&self) -> &'static str {
        "engine's API, bare"
    }

    async fn prepare(&mut self, _: &Code, jobs: usize, _: bool) {
        for _ in 0..jobs {
            let prepared = self.prepare_one().await;
            self.ready.push_back(prepared);
        }
    }

    async fn submit(&mut self) -> String {
        let prepared = self.ready.pop_front().unwrap();
        let id = prepared.id.clone();
        let (docker, permits) = (self.docker.clone(), Arc::clone(&self.permits));
        self.running.spawn(async move {
            let _permit = permits.acquire().await.unwrap();
            run(&docker, &prepared.spec).await;
            prepared
        });
        id
    }

    async fn ended(&mut self) -> String {
        let ended = self.running.join_next().await.unwrap().unwrap();
        ended.directory.remove().await.unwrap();
        ended.id
    }

    async fn stop(self: Box<Self>) {}
}

async fn run(docker: &Docker, spec: &ContainerSpec) {
    let options = CreateContainerOptionsBuilder::default().name(&spec.name).build();
    let id = docker.create_container(Some(options), body(spec)).await.unwrap().id;
    docker.start_container(&id, None::<StartContainerOptions>).await.unwrap();
    let mut ended = docker.wait_container(&id, None::<WaitContainerOptions>);
    assert_eq!(ended.next().await.unwrap().unwrap().status_code, 0);
    let options = LogsOptionsBuilder::default().stdout(true).stderr(true).build();
    let logs: Vec<_> = docker.logs(&id, Some(options)).try_collect().await.unwrap();
    assert!(!logs.is_empty());
    let options = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
    docker.remove_container(&id, Some(options)).await.unwrap();
}

/// The same container as a worker makes.
pub(crate) fn body(spec: &ContainerSpec) -> ContainerCreateBody {
    let signed = |value: u64| Some(i64::try_from(value).unwrap());
    let memory = signed(spec.limits.memory_mb * BYTES_PER_MIB);
    let mounts = spec.binds.iter().map(|bind| Mount {
        typ: Some(MountType::BIND),
        source: Some(bind.host.to_string_lossy().into_owned()),
        target: Some(bind.container.clone()),
        read_only: Some(bind.read_only),
        ..Default::default()
    });
    let ulimits = [("core", 0), ("fsize", 128 << 20), ("nofile", 4096)].map(|(name, most)| {
        ResourcesUlimits { name: Some(name.to_owned()), soft: Some(most), hard: Some(most) }
    });
    let host = HostConfig {
        memory,
        memory_swap: memory,
        cpu_shares: signed(spec.limits.cpu_shares),
        pids_limit: signed(spec.limits.pids),
        network_mode: Some(spec.network.as_str().to_owned()),
        mounts: Some(mounts.collect()),
        readonly_rootfs: Some(true),
        tmpfs: Some(HashMap::from([("/tmp".to_owned(), "rw,mode=1777,size=64m".to_owned())])),
        ulimits: Some(ulimits.to_vec()),
        init: Some(true),
        cap_drop: Some(vec!["ALL".to_owned()]),
        security_opt: Some(vec!["no-new-privileges".to_owned()]),
        log_config: Some(HostConfigLogConfig {
            typ: Some("local".to_owned()),
            config: Some(HashMap::new()),
        }),
        ..Default::default()
    };
    ContainerCreateBody {
        image: Some(spec.image.clone()),
        cmd: Some(spec.command.clone()),
        env: Some(spec.env.iter().map(|(name, value)| format!("{name}={value}")).collect()),
        labels: Some(spec.labels.clone().into_iter().collect()),
        working_dir: Some(spec.working_dir.clone()),
        user: Some(spec.user.to_string()),
        host_config: Some(host),
        ..Default::default()
    }
}
