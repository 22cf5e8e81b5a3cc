//! `ContainerBuilder`: from a job to the container's specification. Pure.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use super::labels::{self, Assignment};
use crate::job::{HealthCheck, Job, Limits, Network};

/// The largest config that travels in the environment as well, in bytes of JSON.
/// Linux caps one environment string at 128 KiB; beyond this the file has to do.
pub const MAX_CONFIG_ENV_BYTES: usize = 96 * 1024;

/// Where the program starts.
const WORKING_DIR: &str = "/tmp";

/// How long a container has between SIGTERM and SIGKILL where nothing else is said.
const DEFAULT_STOP_TIMEOUT: Duration = Duration::from_secs(30);

/// Everything the engine needs to know to make a container. Debugging shows no value of the
/// environment.
#[derive(Clone, PartialEq)]
pub struct ContainerSpec {
    /// Its name: namespace, job and attempt, so that a second one of the same attempt clashes.
    pub name: String,
    /// The image.
    pub image: String,
    /// The program and its arguments.
    pub command: Vec<String>,
    /// Environment variables.
    pub env: BTreeMap<String, String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Host directories and where they appear.
    pub binds: Vec<Bind>,
    /// Where the program starts.
    pub working_dir: String,
    /// As whom the program runs; `None`: as the image says.
    pub user: Option<User>,
    /// What the program may do that its user could not; nothing for a job.
    pub capabilities: Vec<&'static str>,
    /// Network.
    pub network: Network,
    /// Resources.
    pub limits: Limits,
    /// How long the engine waits between SIGTERM and SIGKILL by default.
    pub stop_timeout: Duration,
    /// How the engine tells whether it is well.
    pub health_check: Option<HealthCheck>,
}

impl fmt::Debug for ContainerSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ContainerSpec")
            .field("name", &self.name)
            .field("image", &self.image)
            .field("command", &self.command)
            .field("env", &self.env.keys().collect::<Vec<_>>())
            .field("labels", &self.labels)
            .field("binds", &self.binds)
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

/// A host directory and where it appears in the container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bind {
    /// On the host.
    pub host: PathBuf,
    /// In the container.
    pub container: String,
}

/// A user and a group by number; the image need not know them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct User {
    /// The user.
    pub uid: u32,
    /// The group.
    pub gid: u32,
}

impl User {
    /// The user that may do everything its container allows.
    pub const ROOT: Self = Self { uid: 0, gid: 0 };

    /// The user of this process.
    #[must_use]
    pub fn current() -> Self {
        Self { uid: nix::unistd::geteuid().as_raw(), gid: nix::unistd::getegid().as_raw() }
    }
}

/// The name of a job's container, `{namespace}.{id}.{attempt}`.
///
/// Ids and numbers have no dots, so that two names are the same only where all three parts are.
#[must_use]
pub fn container_name(job: &Job, assignment: &Assignment<'_>) -> String {
    format!("{}.{}.{}", assignment.namespace, job.id, assignment.attempt)
}

/// Puts a [`ContainerSpec`] together.
#[derive(Debug, Clone)]
pub struct ContainerBuilder {
    spec: ContainerSpec,
}

impl ContainerBuilder {
    /// Begins with an image and the least of everything.
    #[must_use]
    pub fn new(image: impl Into<String>) -> Self {
        let limits = Limits { memory_mb: 512, cpu_shares: 512, cpus: None, pids: 256 };
        Self {
            spec: ContainerSpec {
                name: String::new(),
                image: image.into(),
                command: Vec::new(),
                env: BTreeMap::new(),
                labels: BTreeMap::new(),
                binds: Vec::new(),
                working_dir: WORKING_DIR.to_owned(),
                user: None,
                capabilities: Vec::new(),
                network: Network::None,
                limits,
                stop_timeout: DEFAULT_STOP_TIMEOUT,
                health_check: None,
            },
        }
    }

    /// What the job itself decides: name, labels, environment, limits, network, health check.
    #[must_use]
    pub fn with_job(mut self, job: &Job, assignment: &Assignment<'_>) -> Self {
        self.spec.name = container_name(job, assignment);
        self.spec.env.extend(environment(job));
        self.spec.limits = job.limits;
        self.spec.network = job.network;
        self.spec.health_check.clone_from(&job.health_check);
        self.with_labels(labels::of(job, assignment))
    }

    /// The program: a shell of the image, and a script by its path in the container.
    #[must_use]
    pub fn with_command(mut self, shell: &str, script_path: &str) -> Self {
        self.spec.command = vec![shell.to_owned(), script_path.to_owned()];
        self
    }

    /// A host directory, and where it appears in the container.
    #[must_use]
    pub fn with_bind(mut self, host: &Path, container: &str) -> Self {
        self.spec.binds.push(Bind { host: host.to_path_buf(), container: container.to_owned() });
        self
    }

    /// Other resources than the job's.
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.spec.limits = limits;
        self
    }

    /// More labels.
    #[must_use]
    pub fn with_labels(mut self, labels: BTreeMap<String, String>) -> Self {
        self.spec.labels.extend(labels);
        self
    }

    /// The time between SIGTERM and SIGKILL.
    #[must_use]
    pub fn with_stop_timeout(mut self, timeout: Duration) -> Self {
        self.spec.stop_timeout = timeout;
        self
    }

    /// As whom the program runs. The job's directory has to belong to that user, for no
    /// container has the capability to write what is not its own.
    #[must_use]
    pub fn with_user(mut self, user: User) -> Self {
        self.spec.user = Some(user);
        self
    }

    /// Capabilities of the kernel, such as `DAC_OVERRIDE`; all others are taken away.
    #[must_use]
    pub fn with_capabilities(mut self, capabilities: &[&'static str]) -> Self {
        self.spec.capabilities.extend_from_slice(capabilities);
        self
    }

    /// The specification.
    #[must_use]
    pub fn build(self) -> ContainerSpec {
        self.spec
    }
}

/// The environment of a job's container. Our own names win over the job's.
fn environment(job: &Job) -> BTreeMap<String, String> {
    let entrypoint = job.entrypoint.as_str();
    let config = Value::Object(job.config.clone()).to_string();
    let mut env = job.env.clone();
    let mut set = |name: &str, value: String| env.insert(name.to_owned(), value);
    set("PYTHONDONTWRITEBYTECODE", "1".to_owned());
    set("ID", job.id.to_string());
    set("CONFIG_FILE", format!("/{entrypoint}/.longshore/config.json"));
    set("ENTRYPOINT_TYPE", entrypoint.to_owned());
    set("CODE_MOUNT_DIR", entrypoint.to_owned());
    set("SCRIPT_PATH", format!("/{entrypoint}/{}", job.script));
    set("IS_LONG_RUNNING", job.is_long_running.to_string());
    if config.len() <= MAX_CONFIG_ENV_BYTES {
        set("CONFIG", config);
    } else {
        env.remove("CONFIG");
    }
    env
}

#[cfg(test)]
pub(crate) mod tests;
