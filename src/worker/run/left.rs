//! What a killed `longshore run` leaves on its host, and how a live one is told from it.
//!
//! A run holds a lock on the file `.{namespace}.lock` in its `TEMP_DIR` before it makes anything else, and the
//! kernel frees that lock with the process. So whatever belongs to a file that can be locked was left. A file
//! that is not there says nothing: it may be in a container's own file system, or on another host.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::libc::{O_NOFOLLOW, O_NONBLOCK};
use nix::unistd::geteuid;
use serde::{Deserialize, Serialize};

use crate::runner::orchestrator::{ContainerInfo, ContainerOrchestrator, EngineError};
use crate::runner::{labels, remove_namespace};
use crate::worker::ownership::mark::FileMark;

/// What the names of directories begin with that a command makes for itself alone.
pub const OWN_PREFIX: &str = "longshore-local-";

/// How often, and after which pause, a lock is tried again that somebody else looks at.
const MAX_TRIES: usize = 50;
const TRY_AGAIN: Duration = Duration::from_millis(20);

/// The largest lock file, in bytes.
const MAX_LOCK_BYTES: u64 = 64 << 10;

/// What the namespaces of local runs begin with. The rest is a UUID.
const NAMESPACE_PREFIX: &str = "run-";

/// Whether a namespace is that of a local run.
#[must_use]
pub fn is_of_a_local_run(namespace: &str) -> bool {
    let rest = namespace.strip_prefix(NAMESPACE_PREFIX);
    rest.is_some_and(|rest| {
        rest.len() == uuid::fmt::Simple::LENGTH && uuid::Uuid::try_parse(rest).is_ok()
    })
}

/// A new one of them.
pub(super) fn new_namespace() -> String {
    format!("{NAMESPACE_PREFIX}{}", uuid::Uuid::new_v4().simple())
}

/// The directory of a user who may not use `TEMP_DIR`.
pub(super) fn private_temp_dir(user: u32) -> PathBuf {
    std::env::temp_dir().join(format!("longshore-run-{user}"))
}

/// Whether the process of a run lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Life {
    /// It holds its lock.
    Alive,
    /// It is gone.
    Gone,
    /// Its lock is not to be seen from here.
    Unknown,
}

/// What a lock file says.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Noted {
    /// The engine of its containers, as `DOCKER_HOST` names it.
    engine: Option<String>,
    /// Directories of the command's own.
    own: Vec<PathBuf>,
}

/// The lock of a run that lives.
pub(super) struct RunLock(FileMark);

impl RunLock {
    /// Takes the lock of a new namespace.
    pub(super) async fn take(
        temp_dir: &Path,
        namespace: &str,
        engine: Option<&str>,
        own: &[PathBuf],
    ) -> io::Result<Self> {
        let noted = Noted { engine: engine.map(str::to_owned), own: own.to_vec() };
        let noted = serde_json::to_vec(&noted)?;
        for _ in 0..MAX_TRIES {
            if let Some(mut mark) = FileMark::try_take_at(path_of(temp_dir, namespace))? {
                mark.note(&noted)?;
                return Ok(Self(mark));
            }
            // Somebody looks whether it is free.
            tokio::time::sleep(TRY_AGAIN).await;
        }
        Err(io::ErrorKind::WouldBlock.into())
    }

    pub(super) fn path(&self) -> &Path {
        self.0.path()
    }
}

fn path_of(temp_dir: &Path, namespace: &str) -> PathBuf {
    temp_dir.join(format!(".{namespace}.lock"))
}

/// The lock that a container's labels name, if it is one of a local run.
fn lock_of(info: &ContainerInfo) -> Option<PathBuf> {
    let path = PathBuf::from(info.labels.get(labels::LOCK)?);
    let namespace = info.labels.get(labels::NAMESPACE)?;
    let is_it = path.is_absolute() && path == path_of(path.parent()?, namespace);
    is_it.then_some(path)
}

/// Whether the `longshore run` of a container lives; `None` for a container of a worker.
#[must_use]
pub fn life_of(info: &ContainerInfo) -> Option<Life> {
    let namespace = info.labels.get(labels::NAMESPACE)?;
    is_of_a_local_run(namespace).then(|| lock_of(info).map_or(Life::Unknown, |lock| look(&lock)))
}

/// Looks at a lock, and changes nothing.
fn look(lock: &Path) -> Life {
    let Ok(file) = open(lock) else { return Life::Unknown };
    // Several may look at a time.
    match file.try_lock_shared() {
        Ok(()) => Life::Gone,
        Err(TryLockError::WouldBlock) => Life::Alive,
        Err(TryLockError::Error(_)) => Life::Unknown,
    }
}

fn open(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().read(true).custom_flags(O_NOFOLLOW | O_NONBLOCK).open(path)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::ErrorKind::InvalidInput.into()) }
}

/// What a killed run left.
#[derive(Debug)]
pub struct LeftRun {
    /// Its namespace.
    pub namespace: String,
    /// Its containers on this engine.
    pub containers: Vec<ContainerInfo>,
    /// Its directories on this host.
    pub directories: Vec<PathBuf>,
    /// What the files in these take, as far as they can be read.
    pub bytes: u64,
    temp_dir: PathBuf,
}

/// The local runs of this host and engine.
#[derive(Debug, Default)]
pub struct LeftRuns {
    /// What killed ones left.
    pub left: Vec<LeftRun>,
    /// How many live.
    pub alive: usize,
    /// What cannot be judged from here, or not with these settings, and why.
    pub unknown: Vec<String>,
}

/// Looks for what killed runs left on this engine and in `temp_dir`.
///
/// # Errors
/// If the engine cannot be asked.
pub async fn look_for_left_runs(
    engine: &dyn ContainerOrchestrator,
    docker_host: Option<&str>,
    temp_dir: &Path,
) -> Result<LeftRuns, EngineError> {
    let mut by_namespace: BTreeMap<String, (Option<PathBuf>, Vec<ContainerInfo>)> = BTreeMap::new();
    for info in engine.list_containers(&labels::managed_by_anybody()).await? {
        let Some(namespace) = info.labels.get(labels::NAMESPACE).cloned() else { continue };
        if is_of_a_local_run(&namespace) {
            let (lock, containers) = by_namespace.entry(namespace).or_default();
            *lock = lock.take().or_else(|| lock_of(&info));
            containers.push(info);
        }
    }
    let own = private_temp_dir(geteuid().as_raw());
    for directory in [temp_dir, &own] {
        for namespace in namespaces_in(directory) {
            let (lock, _) = by_namespace.entry(namespace.clone()).or_default();
            lock.get_or_insert_with(|| path_of(directory, &namespace));
        }
    }
    let mut found = LeftRuns::default();
    for (namespace, (lock, containers)) in by_namespace {
        let life = lock.as_deref().map_or(Life::Unknown, look);
        if life == Life::Alive {
            found.alive += 1;
            continue;
        }
        let noted = lock.as_deref().and_then(read).unwrap_or_default();
        let its_dir = lock.as_deref().and_then(Path::parent).map(Path::to_owned);
        let why_not = match &its_dir {
            Some(its) if life == Life::Gone => {
                let is_here = [temp_dir, &own].contains(&its.as_path());
                match noted.engine.as_deref() {
                    _ if !is_here => Some(format!("its TEMP_DIR is {}", its.display())),
                    engine if engine == docker_host => None,
                    Some(engine) => Some(format!("its DOCKER_HOST is {engine}")),
                    None => Some("its DOCKER_HOST is not set".to_owned()),
                }
            }
            _ => Some("its lock file cannot be seen from here".to_owned()),
        };
        match (why_not, its_dir) {
            (None, Some(temp_dir)) => {
                let its = temp_dir.join(&namespace);
                let own = noted.own.into_iter().filter(|path| is_own(path));
                let directories: Vec<_> =
                    [its].into_iter().filter(|path| path.is_dir()).chain(own).collect();
                let bytes = directories.iter().map(|path| bytes_below(path, 0)).sum();
                found.left.push(LeftRun { namespace, containers, directories, bytes, temp_dir });
            }
            (why_not, its_dir) => {
                let why = why_not.unwrap_or_default();
                let directory = its_dir.map(|path| path.join(namespace));
                let directory = directory.filter(|path| path.is_dir());
                let directory =
                    directory.map(|path| format!("directory {}: {why}", path.display()));
                let containers = containers.iter();
                let containers = containers.map(|info| format!("container {}: {why}", info.name));
                found.unknown.extend(containers.chain(directory));
            }
        }
    }
    Ok(found)
}

/// The namespaces of local runs that have a lock or a directory here.
fn namespaces_in(temp_dir: &Path) -> Vec<String> {
    let names = fs::read_dir(temp_dir).into_iter().flatten().flatten();
    let names = names.filter_map(|entry| entry.file_name().into_string().ok());
    let namespaces = names.filter_map(|name| {
        let of_lock = name.strip_prefix('.').and_then(|name| name.strip_suffix(".lock"));
        Some(of_lock.unwrap_or(&name).to_owned()).filter(|name| is_of_a_local_run(name))
    });
    namespaces.collect()
}

/// What a lock file says, if it is this user's.
fn read(lock: &Path) -> Option<Noted> {
    let file = open(lock).ok()?;
    let found = file.metadata().ok()?;
    if found.uid() != geteuid().as_raw() || found.len() > MAX_LOCK_BYTES {
        return None;
    }
    serde_json::from_reader(file).ok()
}

/// Whether it is a directory that a command of this user made for itself.
fn is_own(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str());
    path.is_absolute()
        && name.is_some_and(|name| name.starts_with(OWN_PREFIX))
        && fs::symlink_metadata(path)
            .is_ok_and(|found| found.is_dir() && found.uid() == geteuid().as_raw())
}

/// How deep directories are looked into for their size.
const MAX_DEPTH: usize = 64;

fn bytes_below(directory: &Path, depth: usize) -> u64 {
    if depth > MAX_DEPTH {
        return 0;
    }
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let sizes = entries.map(|entry| match entry.metadata() {
        Ok(found) if found.is_dir() => bytes_below(&entry.path(), depth + 1),
        Ok(found) => found.len(),
        Err(_) => 0,
    });
    sizes.sum()
}

/// Removes what a killed run left: its containers first, because they use its directories.
///
/// # Errors
/// A sentence that says what is still there.
pub async fn remove_left_run(
    run: &LeftRun,
    engine: &dyn ContainerOrchestrator,
    image: &str,
) -> Result<(), String> {
    let path = path_of(&run.temp_dir, &run.namespace);
    let mark = FileMark::try_take_at(path).map_err(|error| error.to_string())?;
    let Some(mark) = mark else { return Err("somebody else looks at it just now".to_owned()) };
    let removed = remove_all(run, engine, image).await;
    if removed.is_err() {
        // The next one finds it again by this file.
        mark.leave();
    }
    removed
}

async fn remove_all(
    run: &LeftRun,
    engine: &dyn ContainerOrchestrator,
    image: &str,
) -> Result<(), String> {
    // Those that only help have no other label of ours.
    let all = engine.list_containers(&labels::helper(&run.namespace)).await;
    for info in all.map_err(|error| error.to_string())? {
        engine.remove(&info.id).await.map_err(|error| error.to_string())?;
    }
    remove_namespace(engine, &run.temp_dir, &run.namespace, image).await?;
    for path in run.directories.iter().filter(|path| is_own(path)) {
        fs::remove_dir_all(path)
            .map_err(|error| format!("removing {}: {error}", path.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMESPACE: &str = "run-0af7651916cd43dd8448eb211c80319c";

    #[tokio::test]
    async fn a_run_lives_as_long_as_it_holds_its_lock() {
        let root = tempfile::tempdir().unwrap();
        let own = [root.path().join("longshore-local-x")];
        fs::create_dir(&own[0]).unwrap();
        let path = path_of(root.path(), NAMESPACE);
        assert_eq!(look(&path), Life::Unknown, "there is none");
        let lock = RunLock::take(root.path(), NAMESPACE, Some("unix:///x"), &own).await.unwrap();
        assert_eq!((lock.path(), look(&path)), (path.as_path(), Life::Alive));
        assert_eq!(namespaces_in(root.path()), [NAMESPACE]);
        let noted = read(&path).unwrap();
        assert_eq!((noted.engine.as_deref(), &noted.own[..]), (Some("unix:///x"), &own[..]));
        assert!(is_own(&own[0]) && !is_own(root.path()));
        lock.0.leave();
        assert_eq!(look(&path), Life::Gone);
        drop(RunLock::take(root.path(), NAMESPACE, None, &[]).await.unwrap());
        assert!(!path.exists(), "one that ends takes its lock with it");
    }

    #[test]
    fn a_label_names_no_other_file_than_a_lock() {
        let with = |lock: &str| {
            let labels = [(labels::NAMESPACE, NAMESPACE), (labels::LOCK, lock)];
            lock_of(&ContainerInfo {
                id: "1".to_owned(),
                name: String::new(),
                image: String::new(),
                state: crate::runner::orchestrator::ContainerState::Running,
                created_at: None,
                labels: labels.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
            })
        };
        assert!(with(&format!("/tmp/runtime/.{NAMESPACE}.lock")).is_some());
        for other in ["/etc/passwd", "/tmp/.run-1.lock", &format!(".{NAMESPACE}.lock"), ""] {
            assert_eq!(with(other), None, "{other}");
        }
    }
}
