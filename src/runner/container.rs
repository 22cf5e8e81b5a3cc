//! `ContainerBuilder`: from a job to the container's specification. Pure.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::labels::{self, Assignment};
use super::script::{HELPER, NODE_MODULE};
use crate::job::archive::RESERVED_DIRECTORY;
use crate::job::artifacts::ARTIFACTS_DIR;
use crate::job::state::STATE_FILE;
use crate::job::{Entrypoint, HealthCheck, Job, Launcher, Limits, Network};
use crate::settings::{Profile, User, Users};

/// The largest config that is also in the environment, in bytes of JSON. Linux limits one
/// environment string to 128 KiB. A larger config is only in the file.
pub const MAX_CONFIG_ENV_BYTES: usize = 96 * 1024;

/// The variable of the home directory: the only one of ours that a message may set.
const HOME: &str = "HOME";

/// How many threads the libraries for numbers start when they are imported. In a sweep that is one,
/// unless the message says otherwise: the configs share the processors, and a process with threads
/// cannot be forked safely.
const THREADS: [&str; 4] =
    ["OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS"];

/// Where the program starts.
const WORKING_DIR: &str = "/tmp";

/// How long a container has between SIGTERM and SIGKILL by default.
const DEFAULT_STOP_TIMEOUT: Duration = Duration::from_secs(30);

/// Everything the engine needs to know to make a container. Debug output shows no values of the
/// environment.
#[derive(Clone, PartialEq)]
pub struct ContainerSpec {
    /// Its name: namespace, job and attempt, so that a second one of the same attempt clashes.
    pub name: String,
    /// The image.
    pub image: String,
    /// The program and its arguments.
    pub command: Vec<String>,
    /// Whether the program takes the place of the one that the image may start every command with.
    pub replaces_entrypoint: bool,
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
    /// Lets it run as `user`. Its labels name the user, too, so others can see which users are
    /// taken.
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
/// Ids and numbers have no dots, so two names are equal only if all three parts are.
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
    /// Begins with an image and the least of everything. It runs as root, which without
    /// capabilities is a user like any other.
    #[must_use]
    pub fn new(image: impl Into<String>) -> Self {
        let limits = Limits { memory_mb: 512, cpu_shares: 512, cpus: None, pids: 256 };
        Self {
            spec: ContainerSpec {
                name: String::new(),
                image: image.into(),
                command: Vec::new(),
                replaces_entrypoint: false,
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
        if !job.runtime.launcher.calls_main() {
            // Such a program of the image need not be there. And a launcher goes to its files itself.
            self.spec.replaces_entrypoint = true;
            self.spec.working_dir = format!("/{}", job.entrypoint);
        }
        self.with_labels(labels::of(job, assignment))
    }

    /// The program and its arguments.
    #[must_use]
    pub fn with_command(mut self, command: Vec<String>) -> Self {
        self.spec.command = command;
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

    /// Another network than none.
    #[must_use]
    pub fn with_network(mut self, network: Network) -> Self {
        self.spec.network = network;
        self
    }

    /// As whom the program runs, where nobody picks a user for it.
    #[must_use]
    pub fn with_user(mut self, user: User) -> Self {
        self.spec.user = user;
        self
    }

    /// More variables.
    #[must_use]
    pub fn with_env(mut self, env: BTreeMap<String, String>) -> Self {
        self.spec.env.extend(env);
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

/// The mounts of a job's directory, which appears under the name of its entrypoint. If it is
/// read-only, the files that a container may write are mounted again, one by one. A program can use
/// the host's disk only through these.
#[must_use]
pub fn code_binds(root: &Path, job: &Job, writes: &[&str], read_only: bool) -> Vec<Bind> {
    binds_at(root, job.entrypoint, writes, read_only)
}

/// The same, for any job with this entrypoint.
pub(super) fn binds_at(
    root: &Path,
    entrypoint: Entrypoint,
    writes: &[&str],
    read_only: bool,
) -> Vec<Bind> {
    let mount = format!("/{entrypoint}");
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

/// The mount of the helper, which is at `host`, in a job's directory.
#[must_use]
pub fn helper_bind(host: &Path, job: &Job) -> Bind {
    helper_at(host, job.entrypoint)
}

/// The same, for any job with this entrypoint.
pub(super) fn helper_at(host: &Path, entrypoint: Entrypoint) -> Bind {
    let container = format!("/{entrypoint}/{HELPER}");
    Bind { host: host.to_path_buf(), container, read_only: true }
}

/// Where every script of Node.js finds the module `longshore`, unless its program brings one.
const NODE_MODULE_PLACE: &str = "/node_modules/longshore/index.js";

/// The mount of the module `longshore` of a job's directory, for the launcher that finds modules by their
/// folder alone.
#[must_use]
pub fn module_bind(root: &Path, launcher: Launcher) -> Option<Bind> {
    (launcher == Launcher::Node).then(|| Bind {
        host: root.join(RESERVED_DIRECTORY).join(NODE_MODULE),
        container: NODE_MODULE_PLACE.to_owned(),
        read_only: true,
    })
}

/// The most memory that Node.js leaves outside its heap: for its own code and stacks, buffers,
/// `/tmp`.
const NODE_REST_MB: u64 = 1024;

/// How much of a job's memory the heap of Node.js may take. The memory outside the heap grows with
/// it.
#[must_use]
pub fn node_heap_mb(memory_mb: u64) -> u64 {
    memory_mb - (memory_mb / 4).min(NODE_REST_MB)
}

/// What is in the environment of every job of a launcher, if no message says otherwise.
pub(super) fn environment_of(launcher: Launcher, memory_mb: u64) -> BTreeMap<String, String> {
    let mut env = BTreeMap::from([("PYTHONDONTWRITEBYTECODE".to_owned(), "1".to_owned())]);
    if launcher.has_heap() {
        env.insert("NODE_HEAP_MB".to_owned(), node_heap_mb(memory_mb).to_string());
    }
    // The user has no home of its own, and can write nowhere else.
    env.insert(HOME.to_owned(), WORKING_DIR.to_owned());
    env
}

/// The environment of a job's container. Our own names win over the job's.
pub(super) fn environment(job: &Job) -> BTreeMap<String, String> {
    let entrypoint = job.entrypoint.as_str();
    let config = job.config.as_str();
    let mut env = job.env.clone();
    if job.sweep.is_some() {
        for name in THREADS {
            env.entry(name.to_owned()).or_insert_with(|| "1".to_owned());
        }
    }
    for (name, value) in environment_of(job.runtime.launcher, job.limits.memory_mb) {
        if name != HOME || !env.contains_key(HOME) {
            env.insert(name, value);
        }
    }
    let mut set = |name: &str, value: String| env.insert(name.to_owned(), value);
    set("ID", job.id.to_string());
    set("CONFIG_FILE", format!("/{entrypoint}/.longshore/config.json"));
    set("ENTRYPOINT_TYPE", entrypoint.to_owned());
    set("CODE_MOUNT_DIR", entrypoint.to_owned());
    set("SCRIPT_PATH", format!("/{entrypoint}/{}", job.script));
    set("IS_LONG_RUNNING", job.is_long_running.to_string());
    if let Some(artifacts) = &job.artifacts {
        set("ARTIFACTS_DIR", ARTIFACTS_DIR.to_owned());
        set("ARTIFACTS_MAX_MB", artifacts.max_mb.to_string());
        set("ARTIFACTS_MAX_FILES", artifacts.max_files.to_string());
    }
    if let Some(state) = &job.state {
        set("STATE_FILE", format!("/{entrypoint}/{STATE_FILE}"));
        set("STATE_MAX_KB", state.max_kb.to_string());
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
