//! The container that compiles. It holds strangers' code, so it is kept as a job's: no network, the
//! same limits and profile, a user of its own.

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio_util::sync::CancellationToken;

use crate::job::Limits;
use crate::runner::cache::{Cache, CacheError, Held, Making};
use crate::runner::container::{Bind, ContainerBuilder, ContainerSpec};
use crate::runner::ground::Ground;
use crate::runner::labels;
use crate::runner::orchestrator::{ContainerOrchestrator, EngineError};
use crate::runner::site::Site;
use crate::settings::Profile;

/// What it runs.
const PROGRAM: &str = include_str!("compile.py");

/// Where it sees the code, and the file that it writes.
const CODE: &str = "/code";
const OUTPUT: &str = "/bytecode.zip";

/// Its share of the processors when jobs need them, too; a job has 512.
const CPU_SHARES: u64 = 64;

/// What it has on top of its time: for its start, its end, and the last file.
const SLACK: Duration = Duration::from_secs(60);

/// How many users are tried for it.
const MAX_USER_TRIES: u32 = 4;

/// How old a container can be that another worker, with another cache, still waits for.
const OLDEST: SignedDuration = SignedDuration::from_hours(25);

/// Why code was not compiled.
#[derive(Debug, thiserror::Error)]
pub(super) enum CompileError {
    /// The cache failed.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// The engine failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// It did not end in time.
    #[error("it took longer than {} s (CODE_COMPILE_TIMEOUT_SECONDS)", .0.as_secs())]
    TooSlow(Duration),
    /// The worker ends.
    #[error("the worker ends")]
    Ended,
    /// It ended badly.
    #[error("the compiler ended with {code:?}: {said}")]
    Failed {
        /// Its exit code.
        code: Option<i64>,
        /// The last of its output.
        said: String,
    },
    /// What it wrote cannot be used.
    #[error("its byte code cannot be used: {0}")]
    Output(String),
}

/// Runs compilers.
pub(in crate::runner) struct Compiler {
    engine: Arc<dyn ContainerOrchestrator>,
    namespace: String,
    ground: Ground,
    profile: Profile,
    limits: Limits,
    timeout: Duration,
}

impl Compiler {
    /// The compiler of a site; `None` where it is switched off.
    pub(in crate::runner) fn of(site: &Site, ground: Ground) -> Option<Self> {
        let timeout = site.settings.code_cache.compile_timeout;
        (!timeout.is_zero()).then(|| Self {
            engine: Arc::clone(&site.engine),
            namespace: site.namespace.clone(),
            ground,
            profile: site.settings.profile.clone(),
            limits: Limits { cpu_shares: CPU_SHARES, ..site.settings.limits },
            timeout,
        })
    }

    /// Where what it wrote is.
    pub(super) fn output(making: &Making) -> PathBuf {
        making.file("bytecode.zip")
    }

    /// Compiles the code of an entry into [`output`](Self::output); gives what the compiler said.
    pub(super) async fn run(
        &self,
        image: &str,
        code: &Held,
        making: &Making,
        ending: &CancellationToken,
    ) -> Result<String, CompileError> {
        let output = Self::output(making);
        // Whoever the container's user is; no other user of the host gets as far as this.
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&output)
            .and_then(|_| fs::set_permissions(&output, Permissions::from_mode(0o666)))
            .map_err(CacheError::io("writing", &output))?;
        let mut spec = self.spec(image, &code.tree(), &output, making.path());
        let limit = self.timeout + SLACK;
        let ended = tokio::select! {
            ended = tokio::time::timeout(limit, self.run_as_somebody(&mut spec)) => ended,
            () = ending.cancelled() => Ok(Ok(None)),
        };
        let ran = match ended {
            Ok(Ok(Some(ran))) => ran,
            other => {
                self.engine.remove(&spec.name).await?;
                return Err(match other {
                    Ok(Err(error)) => error.into(),
                    Ok(Ok(None)) => CompileError::Ended,
                    _ => CompileError::TooSlow(limit),
                });
            }
        };
        match ran.status.exit_code {
            Some(0) => Ok(ran.output.trim().to_owned()),
            code => Err(CompileError::Failed { code, said: ran.output.trim().to_owned() }),
        }
    }

    async fn run_as_somebody(
        &self,
        spec: &mut ContainerSpec,
    ) -> Result<Option<crate::runner::orchestrator::ContainerRunResult>, EngineError> {
        let users = self.ground.users(self.profile.users);
        let mut tried = Err(EngineError::UserTaken { user: 0 });
        for _ in 0..MAX_USER_TRIES {
            let chance = uuid::Uuid::new_v4().as_fields().0;
            let Some(user) = users.pick(chance, &BTreeSet::new()) else { break };
            spec.run_as(user, users.are_several());
            tried = self.engine.run_and_wait(spec, None).await;
            if !matches!(tried, Err(EngineError::UserTaken { .. })) {
                break;
            }
        }
        tried.map(Some)
    }

    fn spec(&self, image: &str, code: &Path, output: &Path, making: &Path) -> ContainerSpec {
        let bind = |host: &Path, container: &str, read_only| Bind {
            host: host.to_owned(),
            container: container.to_owned(),
            read_only,
        };
        let mut profile = self.profile.clone();
        profile.read_only_root = true;
        let mut spec = ContainerBuilder::new(image)
            .with_profile(&profile)
            .with_limits(self.limits)
            .with_binds([bind(code, CODE, true), bind(output, OUTPUT, false)])
            .with_labels(labels::compiler(&self.namespace, making))
            .with_stop_timeout(Duration::ZERO)
            .build();
        spec.name = format!("{}.compile.{}", self.namespace, uuid::Uuid::new_v4().simple());
        // Some room is left for the end of the zip.
        let max_bytes = profile.max_file_bytes - profile.max_file_bytes / 8;
        let (seconds, bytes) = (self.timeout.as_secs().to_string(), max_bytes.to_string());
        let command =
            ["python", "-I", "-W", "ignore", "-c", PROGRAM, CODE, OUTPUT, &seconds, &bytes];
        spec.command = command.map(str::to_owned).to_vec();
        spec
    }

    /// Removes the containers of compilers whose worker has died.
    pub(super) async fn remove_left_over(&self, cache: &Arc<Cache>) {
        let filter = labels::compilers(&self.namespace);
        let found = match self.engine.list_containers(&filter).await {
            Ok(found) => found,
            Err(error) => {
                tracing::debug!(%error, "could not look for compilers that were left over");
                return;
            }
        };
        for info in found {
            let making = info.labels.get(labels::MAKING).map(PathBuf::from).unwrap_or_default();
            let is_old =
                info.created_at.is_none_or(|at| Timestamp::now().duration_since(at) > OLDEST);
            let is_in_work = cache.is_in_work(&making).unwrap_or(!is_old);
            if is_in_work {
                continue;
            }
            match self.engine.remove(&info.id).await {
                Ok(()) => {
                    tracing::info!(container.id = %info.id, "removed a compiler that a worker left");
                }
                Err(error) => {
                    tracing::warn!(container.id = %info.id, %error, "could not remove a compiler that a worker left");
                }
            }
        }
    }
}
