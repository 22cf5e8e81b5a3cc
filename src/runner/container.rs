//! `ContainerBuilder`: from a job to the container's specification. Pure.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::labels::{self, Assignment};
use crate::job::{HealthCheck, Job, Language, Limits, Network};
use crate::settings::{Profile, User, Users};

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
    /// As whom the program runs.
    pub user: User,
    /// Whether no other container of the engine may run as this user.
    pub is_only_users: bool,
    /// What the program can write, open and start.
    pub profile: Profile,
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

impl ContainerSpec {
    /// Lets it run as `user`, which its labels say, too: others find out by them which users are taken.
    pub fn run_as(&mut self, user: User, alone: bool) {
        (self.user, self.is_only_users) = (user, alone);
        self.labels.insert(labels::USER.to_owned(), user.uid.to_string());
    }
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
            .field("profile", &self.profile)
            .finish_non_exhaustive()
    }
}

/// A host directory or file, and where it appears in the container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bind {
    /// On the host.
    pub host: PathBuf,
    /// In the container.
    pub container: String,
    /// Whether the container can only read it.
    pub read_only: bool,
}

/// The name of a job's container, `{namespace}.{id}.{attempt}`.
///
/// Ids and numbers have no dots, so that two names are the same only where all three parts are.
#[must_use]
pub fn container_name(job: &Job, assignment: &Assignment<'_>) -> String {
    format!("{}.{}.{}", assignment.namespace, job.id, assignment.attempt)
}

/// The profile where none is given.
const LEAST: Profile = Profile {
    users: Users::One(User::ROOT),
    seccomp: None,
    read_only_root: true,
    read_only_code: true,
    tmp_mb: 1,
    open_files: 1024,
    max_file_bytes: 1 << 20,
    init: false,
    oci_runtime: None,
};

/// Puts a [`ContainerSpec`] together.
#[derive(Debug, Clone)]
pub struct ContainerBuilder {
    spec: ContainerSpec,
}

impl ContainerBuilder {
    /// Begins with an image and the least of everything, to run as root, which without
    /// capabilities is a user like any other.
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
                user: User::ROOT,
                is_only_users: false,
                profile: LEAST,
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

    /// The program: a shell of the image with its flags, and a script by its path in the container.
    #[must_use]
    pub fn with_command(mut self, shell: &[&str], script_path: &str) -> Self {
        let words = shell.iter().chain([&script_path]);
        self.spec.command = words.map(|&word| word.to_owned()).collect();
        self
    }

    /// A host directory that the container may write to, and where it appears there.
    #[must_use]
    pub fn with_bind(self, host: &Path, container: &str) -> Self {
        let (host, container) = (host.to_path_buf(), container.to_owned());
        self.with_binds([Bind { host, container, read_only: false }])
    }

    /// More mounts.
    #[must_use]
    pub fn with_binds(mut self, binds: impl IntoIterator<Item = Bind>) -> Self {
        self.spec.binds.extend(binds);
        self
    }

    /// What the operator allows every container.
    #[must_use]
    pub fn with_profile(mut self, profile: &Profile) -> Self {
        self.spec.profile = profile.clone();
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

/// The mounts of a job's directory, which appears under the name of its entrypoint. Where it is
/// read-only, the files of it that a container may write are mounted once more, one by one: they
/// are all that a program can take of the host's disk.
#[must_use]
pub fn code_binds(root: &Path, job: &Job, writes: &[&str], read_only: bool) -> Vec<Bind> {
    let mount = format!("/{}", job.entrypoint);
    let mut binds = vec![Bind { host: root.to_path_buf(), container: mount.clone(), read_only }];
    if read_only {
        binds.extend(writes.iter().map(|name| Bind {
            host: root.join(name),
            container: format!("{mount}/{name}"),
            read_only: false,
        }));
    }
    binds
}

/// The most that Node.js leaves to what is no heap: its own code and stacks, buffers, `/tmp`.
const NODE_REST_MB: u64 = 1024;

/// How much of a job's memory the heap of Node.js may take. What it needs besides grows with it.
#[must_use]
pub fn node_heap_mb(memory_mb: u64) -> u64 {
    memory_mb - (memory_mb / 4).min(NODE_REST_MB)
}

/// The environment of a job's container. Our own names win over the job's.
fn environment(job: &Job) -> BTreeMap<String, String> {
    let entrypoint = job.entrypoint.as_str();
    let config = job.config.as_str();
    let mut env = job.env.clone();
    // The user has no home of its own, and can write nowhere else.
    env.entry("HOME".to_owned()).or_insert_with(|| WORKING_DIR.to_owned());
    let mut set = |name: &str, value: String| env.insert(name.to_owned(), value);
    set("PYTHONDONTWRITEBYTECODE", "1".to_owned());
    set("ID", job.id.to_string());
    set("CONFIG_FILE", format!("/{entrypoint}/.longshore/config.json"));
    set("ENTRYPOINT_TYPE", entrypoint.to_owned());
    set("CODE_MOUNT_DIR", entrypoint.to_owned());
    set("SCRIPT_PATH", format!("/{entrypoint}/{}", job.script));
    set("IS_LONG_RUNNING", job.is_long_running.to_string());
    if job.runtime.language() == Language::JavaScript {
        set("NODE_HEAP_MB", node_heap_mb(job.limits.memory_mb).to_string());
    }
    if config.len() <= MAX_CONFIG_ENV_BYTES {
        set("CONFIG", config.to_owned());
    } else {
        env.remove("CONFIG");
    }
    env
}

#[cfg(test)]
pub(crate) mod tests;
