//! Has packages installed, in a container of the image in which the program will run.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use nix::unistd::{getegid, geteuid};

use super::lock::{Lock, Manager};
use super::progress::{Progress, Step};
use crate::job::Limits;
use crate::runner::cache::{Bounds, Cache, CacheError, Held, Key, Making};
use crate::runner::container::{Bind, ContainerBuilder, ContainerSpec};
use crate::runner::labels;
use crate::runner::orchestrator::{
    ContainerOrchestrator, ContainerStatus, EngineError, EngineRoot,
};
use crate::runner::temp_dir::{self, TempDirError};
use crate::settings::{PackSettings, RunnerSettings, User};
use crate::tls;

/// Where the container has the folder of the installation.
const WORK: &str = "/work";

/// The authorities that this machine trusts, for the package index.
const AUTHORITIES: &str = "authorities.pem";

/// Fetches npm where the image has none.
const FETCH_NPM: &str = include_str!("npm.mjs");

/// Runs npm, that of the image or else one that is fetched.
const NPM: &str = "if command -v npm >/dev/null; then exec npm \"$@\"; fi\n\
                   echo 'the image has no npm, so it is fetched' >&2\n\
                   node /work/npm.mjs && tar -xzf /work/tmp/npm.tgz -C /work/tmp || exit 1\n\
                   exec node /work/tmp/package/bin/npm-cli.js \"$@\"";

/// What an installation may use. Packages with native parts are linked in it.
const LIMITS: Limits = Limits { memory_mb: 2048, cpu_shares: 512, cpus: None, pids: 1024 };

/// How often we look how far it is.
const LOOK: Duration = Duration::from_secs(1);

/// How much of its output an error repeats: lines, from the end.
const SHOWN_LINES: usize = 12;

/// Entries of the cache: whoever looks for room looks at each.
const MAX_ENTRIES: usize = 1024;

/// The variables of pip, npm and proxies that are passed on, where they are set.
pub(super) const PASSED: [&str; 14] = [
    "PIP_INDEX_URL",
    "PIP_EXTRA_INDEX_URL",
    "PIP_TRUSTED_HOST",
    "PIP_DEFAULT_TIMEOUT",
    "PIP_ONLY_BINARY",
    "NPM_CONFIG_REGISTRY",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "all_proxy",
    "no_proxy",
];

/// Why packages were not installed.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// The cache failed.
    #[error("{0}")]
    Cache(String),
    /// The directory of the cache is not safe from others.
    #[error(transparent)]
    Directory(#[from] TempDirError),
    /// The engine failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// It did not end in time.
    #[error("the packages of {file} were not installed within {} s (PACK_TIMEOUT_SECONDS)", limit.as_secs())]
    TooSlow {
        /// The lock file.
        file: &'static str,
        /// The longest that is allowed.
        limit: Duration,
    },
    /// The image has nothing to install with.
    #[error(
        "the image {image} has no pip, so the packages of requirements.txt cannot be installed in it"
    )]
    NoPip {
        /// The image.
        image: String,
    },
    /// It ended badly.
    #[error("the packages of {file} could not be installed in the image {image}:\n{said}")]
    Failed {
        /// The lock file.
        file: &'static str,
        /// The image.
        image: String,
        /// The last of its output.
        said: String,
    },
}

impl From<CacheError> for InstallError {
    fn from(error: CacheError) -> Self {
        Self::Cache(error.to_string())
    }
}

/// Installed packages, which stay in the cache as long as this value.
#[derive(Debug)]
pub struct Installed {
    held: Held,
    /// Whether they were there before.
    pub was_there: bool,
}

impl Installed {
    /// A directory with the folder of the packages in it, and nothing else.
    #[must_use]
    pub fn directory(&self) -> PathBuf {
        self.held.tree()
    }

    /// How many files there are.
    #[must_use]
    pub fn files(&self) -> usize {
        self.held.manifest().files.len()
    }
}

/// Installs packages.
pub struct Installer {
    engine: Arc<dyn ContainerOrchestrator>,
    cache: Arc<Cache>,
    timeout: Duration,
    /// What every installation has: profile, network, variables.
    base: ContainerBuilder,
}

impl Installer {
    /// Opens the cache. `variables` is the environment, of which few are passed on.
    ///
    /// # Errors
    ///
    /// [`InstallError`] if the cache cannot be used, or the engine does not answer.
    pub async fn open(
        engine: Arc<dyn ContainerOrchestrator>,
        settings: &PackSettings,
        runner: &RunnerSettings,
        variables: &BTreeMap<String, String>,
    ) -> Result<Self, InstallError> {
        let bounds = Bounds { max_bytes: settings.cache_max_bytes, max_entries: MAX_ENTRIES };
        let cache = open_cache(&settings.cache_dir, bounds)?;
        let user = match engine.root().await? {
            // What is installed must be ours.
            EngineRoot::Host => User { uid: geteuid().as_raw(), gid: getegid().as_raw() },
            EngineRoot::User(_) | EngineRoot::Mapped => User::ROOT,
        };
        let mut profile = runner.profile.clone();
        profile.read_only_root = true;
        profile.max_file_bytes = runner.max_extracted_bytes;
        let passed =
            PASSED.iter().filter_map(|&name| Some((name.to_owned(), variables.get(name)?.clone())));
        let base = ContainerBuilder::new(String::new())
            .with_profile(&profile)
            .with_limits(LIMITS)
            .with_network(settings.network)
            .with_env(passed.collect())
            .with_env(environment())
            .with_stop_timeout(Duration::ZERO)
            .with_user(user);
        let installer = Self { engine, cache: Arc::new(cache), timeout: settings.timeout, base };
        installer.remove_left_over().await?;
        Ok(installer)
    }

    /// Installs what `lock` asks for as the image needs it, or finds it in the cache. `tell` hears
    /// how far it is.
    ///
    /// # Errors
    ///
    /// [`InstallError`], which says what to do.
    pub async fn install(
        &self,
        lock: Arc<Lock>,
        image: &str,
        tell: &(dyn Fn(Step) + Send + Sync),
    ) -> Result<Installed, InstallError> {
        self.engine.pull_image(image).await?;
        let image_id = self.engine.image_id(image).await?.unwrap_or_else(|| image.to_owned());
        let key = Key::new(&lock.hash(&image_id), "packages");
        let cache = Arc::clone(&self.cache);
        let wanted = key.clone();
        if let Some(held) = blocking(move || cache.take(&wanted)).await? {
            return Ok(Installed { held, was_there: true });
        }
        let (cache, files) = (Arc::clone(&self.cache), Arc::clone(&lock));
        let making = blocking(move || prepare(&cache, &files)).await?;
        let spec = self.spec(image, &lock, &making);
        let ended = self.run(&spec, &lock, &making, tell).await;
        let removed = self.engine.remove(&spec.name).await;
        let (status, said) = ended?;
        removed?;
        if status.exit_code != Some(0) {
            let (image, file) = (image.to_owned(), lock.manager.file());
            if said.contains("No module named pip") {
                return Err(InstallError::NoPip { image });
            }
            return Err(InstallError::Failed { file, image, said: last_lines(&said) });
        }
        let (cache, folder) = (Arc::clone(&self.cache), lock.manager.folder());
        let held = blocking(move || keep(&cache, &making, folder, &key)).await?;
        Ok(Installed { held, was_there: false })
    }

    /// Runs the container to its end; gives its status and its output.
    async fn run(
        &self,
        spec: &ContainerSpec,
        lock: &Lock,
        making: &Making,
        tell: &(dyn Fn(Step) + Send + Sync),
    ) -> Result<(ContainerStatus, String), InstallError> {
        let work = making.file("work");
        let to_its_end = async {
            let id = self.engine.create_and_start(spec).await?;
            let mut waiting = std::pin::pin!(self.engine.wait(&id));
            loop {
                tokio::select! {
                    biased;
                    status = &mut waiting => return Ok((status?, self.engine.get_logs(&id, None).await?)),
                    () = tokio::time::sleep(LOOK) => {
                        let said = self.engine.get_logs(&id, None).await.unwrap_or_default();
                        tell(Progress::of(lock, &said).step(lock, &work));
                    }
                }
            }
        };
        let ended = tokio::time::timeout(self.timeout, to_its_end).await;
        ended
            .map_err(|_| InstallError::TooSlow { file: lock.manager.file(), limit: self.timeout })?
    }

    fn spec(&self, image: &str, lock: &Lock, making: &Making) -> ContainerSpec {
        let bind = Bind { host: making.file("work"), container: WORK.to_owned(), read_only: false };
        let mut spec = self
            .base
            .clone()
            .with_labels(labels::installer(making.path()))
            .with_binds([bind])
            .build();
        image.clone_into(&mut spec.image);
        spec.name = format!("longshore.install.{}", uuid::Uuid::new_v4().simple());
        spec.working_dir = format!("{WORK}/build");
        spec.command = command(lock.manager).map(str::to_owned).collect();
        spec
    }

    /// Removes the containers of installations whose process has died.
    ///
    /// # Errors
    ///
    /// [`EngineError`] if the engine does not answer.
    pub async fn remove_left_over(&self) -> Result<(), EngineError> {
        for info in self.engine.list_containers(&labels::installers()).await? {
            let making = info.labels.get(labels::MAKING).map(PathBuf::from).unwrap_or_default();
            // Those of another cache are not ours to judge.
            if self.cache.is_in_work(&making) == Some(false) {
                self.engine.remove(&info.id).await?;
            }
        }
        Ok(())
    }
}

/// Where pip and npm write, whom they trust, and what they leave out.
fn environment() -> BTreeMap<String, String> {
    let authorities = format!("{WORK}/{AUTHORITIES}");
    let tmp = format!("{WORK}/tmp");
    let mut all = BTreeMap::from([
        ("HOME".to_owned(), tmp.clone()),
        ("TMPDIR".to_owned(), tmp.clone()),
        ("NPM_CONFIG_CACHE".to_owned(), format!("{tmp}/npm")),
        ("PYTHONDONTWRITEBYTECODE".to_owned(), "1".to_owned()),
    ]);
    for name in ["PIP_CERT", "SSL_CERT_FILE", "NPM_CONFIG_CAFILE", "NODE_EXTRA_CA_CERTS"] {
        all.insert(name.to_owned(), authorities.clone());
    }
    all
}

fn command(manager: Manager) -> impl Iterator<Item = &'static str> {
    let words = match manager {
        Manager::Pip => {
            "python3 -m pip install --target vendor --requirement /work/src/requirements.txt \
             --no-compile --no-cache-dir --no-input --disable-pip-version-check --progress-bar off \
             --root-user-action ignore"
        }
        Manager::Npm => {
            "npm ci --omit=dev --no-audit --no-fund --no-update-notifier --loglevel=error"
        }
    };
    let shell: &[&str] = if manager == Manager::Npm { &["sh", "-c", NPM] } else { &[] };
    shell.iter().copied().chain(words.split_whitespace())
}

fn open_cache(path: &Path, bounds: Bounds) -> Result<Cache, InstallError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(CacheError::io("creating the directory", path))?;
    temp_dir::check("PACK_CACHE_DIR", path)?;
    Ok(Cache::open(path.to_owned(), bounds)?)
}

/// A folder for an installation, with the lock files and the authorities in it.
fn prepare(cache: &Cache, lock: &Lock) -> Result<Making, CacheError> {
    let making = cache.begin()?;
    let work = making.file("work");
    let write = |path: PathBuf, content: &[u8]| {
        let made = path.parent().map_or(Ok(()), fs::create_dir_all);
        made.and_then(|()| fs::write(&path, content)).map_err(CacheError::io("writing", &path))
    };
    for folder in ["build", "tmp"] {
        let path = work.join(folder);
        fs::create_dir_all(&path).map_err(CacheError::io("creating the directory", &path))?;
    }
    let place = work.join(if lock.manager == Manager::Npm { "build" } else { "src" });
    for (name, content) in &lock.files {
        write(place.join(name), content)?;
    }
    write(work.join("npm.mjs"), FETCH_NPM.as_bytes())?;
    write(work.join(AUTHORITIES), tls::system_authorities().as_bytes())?;
    Ok(making)
}

/// Makes an entry of what was installed.
fn keep(cache: &Cache, making: &Making, folder: &str, key: &Key) -> Result<Held, CacheError> {
    let tree = making.tree()?;
    let (from, to) = (making.file("work").join("build").join(folder), tree.join(folder));
    fs::create_dir(&tree).map_err(CacheError::io("creating the directory", &tree))?;
    match fs::rename(&from, &to) {
        // Every package may be for another platform.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            fs::create_dir(&to).map_err(CacheError::io("creating the directory", &to))?;
        }
        moved => moved.map_err(CacheError::io("moving", &from))?,
    }
    let held = cache.put(making, key, Vec::new())?;
    cache.tidy()?;
    Ok(held)
}

/// Runs what blocks on a thread for that.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, CacheError> + Send + 'static,
) -> Result<T, InstallError> {
    let done = tokio::task::spawn_blocking(work).await;
    Ok(done.map_err(|error| InstallError::Cache(error.to_string()))??)
}

/// The end of an output.
fn last_lines(said: &str) -> String {
    let lines: Vec<_> = said.trim_end().lines().collect();
    lines[lines.len().saturating_sub(SHOWN_LINES)..].join("\n")
}
