//! The rehearsal: tries what every job needs, without a job. A worker that cannot do it takes no jobs.

use std::fs::{File, TryLockError};
use std::io::{self, Write as _};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{sleep, timeout};
use uuid::Uuid;

use super::container::ContainerBuilder;
use super::ground::Ground;
use super::labels;
use super::orchestrator::EngineError;
use super::site::Site;
use super::temp_dir::{self, TempDirError};
use crate::job::Limits;
use crate::storage::{Bucket, Condition, StoreError};

/// How long the whole of it may take.
const TIMEOUT: Duration = Duration::from_secs(60);

/// What a job's directory needs at least, in bytes.
const DIRECTORY_BYTES: usize = 1 << 20;

/// Between two looks whether another worker has ended its rehearsal.
const TURN_PAUSE: Duration = Duration::from_millis(50);

/// The folder of its objects in each bucket. No job's id begins with a dot.
const FOLDER: &str = ".rehearsals";

/// The program of its container, which every image with a shell has. How it ends does not matter.
const PROGRAM: &str = "true";

/// Limits of its container.
const LIMITS: Limits = Limits { memory_mb: 64, cpu_shares: 512, cpus: None, pids: 16 };

/// What a job would have failed at.
#[derive(Debug, thiserror::Error)]
pub enum RehearsalError {
    /// The jobs' directories cannot be used.
    #[error(transparent)]
    TempDir(#[from] TempDirError),
    /// Nothing can be written there.
    #[error("TEMP_DIR: cannot write {DIRECTORY_BYTES} bytes below {path}: {source}")]
    Disk {
        /// Where.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// A bucket cannot be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// No container starts.
    #[error("cannot run a container of the image {image}: {source}")]
    Container {
        /// Its image.
        image: String,
        /// Why.
        source: EngineError,
    },
    /// The engine does not answer.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// It did not come to its end.
    #[error("trying out what a job needs took longer than {} s", TIMEOUT.as_secs())]
    TimedOut,
}

/// Writes to the disk, writes to and reads from the buckets, and runs a container.
///
/// # Errors
/// The first thing that does not work.
pub(super) async fn rehearse(site: &Site, ground: Ground) -> Result<(), RehearsalError> {
    // One after the other: a container that is being made must not be left behind because of the disk.
    let all = async {
        disk(site, ground).await?;
        store(site).await?;
        container(site, ground).await
    };
    timeout(TIMEOUT, all).await.map_err(|_| RehearsalError::TimedOut)?
}

async fn disk(site: &Site, ground: Ground) -> Result<(), RehearsalError> {
    let (temp_dir, namespace) = (site.settings.temp_dir.clone(), site.namespace.clone());
    let writing = tokio::task::spawn_blocking(move || {
        temp_dir::close_namespace(&temp_dir, &namespace, ground.passage)?;
        let folder = temp_dir.join(namespace);
        let failed = |source| RehearsalError::Disk { path: folder.display().to_string(), source };
        let mut file = tempfile::tempfile_in(&folder).map_err(failed)?;
        file.write_all(&vec![0; DIRECTORY_BYTES]).map_err(failed)
    });
    writing.await.unwrap_or_else(|error| {
        let path = site.settings.temp_dir.display().to_string();
        Err(RehearsalError::Disk { path, source: io::Error::other(error) })
    })
}

async fn store(site: &Site) -> Result<(), RehearsalError> {
    let key = format!("{FOLDER}/{}/{}", site.namespace, Uuid::new_v4());
    match site.store.get(Bucket::Code, &key, 0).await {
        Ok(_) | Err(StoreError::NotFound { .. } | StoreError::TooLarge { .. }) => {}
        Err(error) => return Err(error.into()),
    }
    for bucket in [Bucket::State, Bucket::Results, Bucket::Logs] {
        let (body, condition) = (Bytes::from_static(b"rehearsal"), Condition::None);
        site.store.put(bucket, &key, body, "text/plain", condition).await?;
        site.store.delete(bucket, &key).await?;
    }
    Ok(())
}

/// Runs a container of an image that is here; where none is, the first job finds out.
async fn container(site: &Site, ground: Ground) -> Result<(), RehearsalError> {
    let mut image = None;
    for runtime in site.settings.runtimes.iter().filter(|one| one.launcher.calls_main()) {
        let one = runtime.image.as_str();
        if site.engine.has_image(one).await? {
            image = Some(one);
            break;
        }
    }
    let Some(image) = image else { return Ok(()) };
    let mut spec = ContainerBuilder::new(image)
        .with_profile(&site.settings.profile)
        .with_limits(LIMITS)
        .with_labels(labels::helper(&site.namespace))
        .with_stop_timeout(Duration::ZERO)
        .build();
    spec.network = site.settings.network;
    spec.command = vec![PROGRAM.to_owned()];
    let users = ground.users(site.settings.profile.users);
    if let Some(user) = users.pick(0, &std::collections::BTreeSet::new()) {
        spec.user = user;
    }
    // One for each TEMP_DIR, and its lock dies with its worker: so one that is there already was left by a
    // worker that was killed.
    let _lock = turn(site).await?;
    let place = site.settings.temp_dir.as_os_str().as_encoded_bytes();
    let place = Uuid::new_v5(&Uuid::NAMESPACE_OID, place);
    spec.name = format!("{}.rehearsal.{}", site.namespace, place.simple());
    let ran = match site.engine.run_and_wait(&spec, None).await {
        Err(EngineError::NameTaken { name }) => {
            site.engine.remove(&name).await?;
            site.engine.run_and_wait(&spec, None).await
        }
        ran => ran,
    };
    ran.map(drop).map_err(|source| RehearsalError::Container { image: image.to_owned(), source })
}

/// Waits until no other worker of this `TEMP_DIR` runs its container.
async fn turn(site: &Site) -> Result<File, RehearsalError> {
    let path = site.settings.temp_dir.join(format!(".{}.rehearsal.lock", site.namespace));
    let failed = |source| RehearsalError::Disk { path: path.display().to_string(), source };
    let lock = temp_dir::open_own(&path).map_err(failed)?;
    loop {
        match lock.try_lock() {
            Ok(()) => return Ok(lock),
            Err(TryLockError::WouldBlock) => sleep(TURN_PAUSE).await,
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::runner::orchestrator::EngineRoot;
    use crate::runner::recorder::{Recorder, Script, site};
    use crate::storage::{DirectoryStore, ObjectStore};

    #[tokio::test]
    async fn it_goes_well_where_disk_store_and_engine_do_and_leaves_nothing() {
        let root = tempfile::tempdir().unwrap();
        let store = Arc::new(DirectoryStore::new(&root.path().join("store")));
        let engine = Arc::new(Recorder::new(Script::default()));
        let site = site(Arc::clone(&engine), store.clone(), &root.path().join("jobs"));
        let ground = Ground::of(EngineRoot::Host);
        assert!(matches!(rehearse(&site, ground).await, Err(RehearsalError::Store(_))));
        store.ensure_buckets().await.unwrap();
        rehearse(&site, ground).await.unwrap();
        for bucket in Bucket::ALL {
            assert!(store.list(bucket, "").await.unwrap().is_empty(), "{bucket:?}");
        }
        let specs = engine.specs();
        assert_eq!(specs.last().unwrap().command, [PROGRAM]);
        assert_eq!(specs.last().unwrap().profile, site.settings.profile);
        let folder = root.path().join("jobs").join(&site.namespace);
        assert_eq!(std::fs::read_dir(folder).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn an_engine_that_starts_no_container_fails_it() {
        let root = tempfile::tempdir().unwrap();
        let store = Arc::new(DirectoryStore::new(&root.path().join("store")));
        store.ensure_buckets().await.unwrap();
        let error = EngineError::Operation {
            operation: "starting",
            container: "c".to_owned(),
            reason: "no such runtime".to_owned(),
        };
        let script = Script { start_error: Some(error), ..Script::default() };
        let site = site(Arc::new(Recorder::new(script)), store, &root.path().join("jobs"));
        let failed = rehearse(&site, Ground::of(EngineRoot::Host)).await.unwrap_err();
        assert!(failed.to_string().contains("no such runtime"), "{failed}");
    }
}
