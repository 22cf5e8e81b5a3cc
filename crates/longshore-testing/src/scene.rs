//! A scene: a private namespace on real servers, of which nothing is left afterwards.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use bollard::Docker;
use bollard::models::ContainerInspectResponse;
use bytes::Bytes;
use lapin::options::ConfirmSelectOptions;

use lapin::{Channel, Connection};
use longshore::storage::{Bucket, Condition, ObjectStore as _, S3Store, StoreError};
use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::{OnceCell, OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep};

use super::archive::zip_of;
use super::events::{Events, PATIENCE};
use super::program::Program;
use super::servers;
use super::sweep::sweep;
use super::worker::{Worker, settings_of_a_worker};
use super::{engine, s3};

/// How many scenes run at a time, whatever `--test-threads` says: each has its own worker and
/// containers.
const MAX_SCENES: usize = 4;

static SCENES: LazyLock<Arc<Semaphore>> = LazyLock::new(|| Arc::new(Semaphore::new(MAX_SCENES)));

static BUCKETS: OnceCell<()> = OnceCell::const_new();

/// The largest object that a test reads, in bytes.
const MAX_OBJECT_BYTES: u64 = 256 * 1024 * 1024;

/// How long containers and directories may stay after the last result.
const TIDY_PATIENCE: Duration = Duration::from_secs(30);

/// A private namespace. Its events are kept from the beginning.
pub struct Scene {
    /// The prefix of every name on the broker and of every job id.
    pub namespace: String,
    pub store: S3Store,
    pub docker: Docker,
    pub events: Events,
    pub channel: Channel,
    /// For channels of the test's own.
    pub connection: Connection,
    base: TempDir,
    workers: AtomicUsize,
    is_finished: bool,
    _permit: OwnedSemaphorePermit,
}

impl Scene {
    /// A new scene, once its turn has come.
    pub async fn new() -> Self {
        let permit = Arc::clone(&SCENES).acquire_owned().await.unwrap();
        let short: String = uuid::Uuid::new_v4().simple().to_string().chars().take(10).collect();
        let namespace = format!("t-{short}");
        let connection = servers::broker().await;
        let channel = connection.create_channel().await.unwrap();
        channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
        let events = Events::subscribe(&connection, &namespace).await;
        let store = S3Store::new(&s3::settings()).unwrap();
        let create = || async { store.ensure_buckets().await };
        if let Err(error) = BUCKETS.get_or_try_init(create).await {
            panic!("{error}; {}", servers::SET_UP);
        }
        let docker = servers::engine().await;
        let base = tempfile::Builder::new().prefix(&namespace).tempdir().unwrap();
        std::fs::create_dir(base.path().join("runtime")).unwrap();
        Self {
            namespace,
            store,
            docker,
            events,
            channel,
            connection,
            base,
            workers: AtomicUsize::new(0),
            is_finished: false,
            _permit: permit,
        }
    }

    /// A channel of the scene's own connection.
    pub fn channel(&self) -> &Channel {
        &self.channel
    }

    /// A job's id that no other scene has.
    pub fn id(&self, name: &str) -> String {
        format!("{}-{name}", self.namespace)
    }

    /// `TEMP_DIR` of this scene's workers.
    pub fn temp_dir(&self) -> PathBuf {
        self.base.path().join("runtime")
    }

    /// A folder for a test's own files. It is removed with the scene.
    pub fn folder(&self) -> &Path {
        self.base.path()
    }

    // --- workers

    /// Starts a worker and waits until it is ready.
    pub async fn worker(&self) -> Worker {
        self.worker_with(&[]).await
    }

    /// Starts a worker with settings of the test's choice, and waits until it is ready.
    pub async fn worker_with(&self, settings: &[(&str, &str)]) -> Worker {
        let mut worker = self.spawn_worker(settings);
        worker.ready().await;
        worker
    }

    /// Starts a worker, ready or not.
    pub fn spawn_worker(&self, settings: &[(&str, &str)]) -> Worker {
        let number = self.workers.fetch_add(1, Ordering::Relaxed);
        let name = format!("{}-worker-{number}", self.namespace);
        let log = self.base.path().join(format!("{name}.log"));
        let mut env = settings_of_a_worker(&self.namespace, &name, &self.temp_dir());
        for (variable, value) in settings {
            env.insert((*variable).to_owned(), (*value).to_owned());
        }
        Worker::spawn(&env, log)
    }

    // --- code and objects

    /// Puts a zip of `files` into the code bucket. Returns its key.
    pub async fn put_code(&self, name: &str, files: &[(&str, &str)]) -> String {
        self.put_zip(name, zip_of(files)).await
    }

    /// Puts any bytes, as if they were a zip, into the code bucket. Returns their key.
    pub async fn put_zip(&self, name: &str, bytes: Vec<u8>) -> String {
        let key = format!("{}/{name}.zip", self.namespace);
        self.put_object(Bucket::Code, &key, bytes).await;
        key
    }

    /// Writes an object.
    pub async fn put_object(&self, bucket: Bucket, key: &str, bytes: Vec<u8>) {
        let written = self.store.put(
            bucket,
            key,
            Bytes::from(bytes),
            "application/octet-stream",
            Condition::None,
        );
        written.await.unwrap();
    }

    /// Puts a program of one file into the code bucket. Returns a start message that runs it.
    pub async fn job(&self, name: &str, program: &Program, source: &str) -> Value {
        let key = self.put_code(name, &[(program.script, source)]).await;
        program.message(&self.id(name), &key)
    }

    /// The keys in a bucket that begin with `prefix`.
    pub async fn objects(&self, bucket: Bucket, prefix: &str) -> Vec<String> {
        self.store.list(bucket, prefix).await.unwrap()
    }

    /// An object as text.
    pub async fn read_object(&self, bucket: Bucket, key: &str) -> String {
        let object = self.store.get(bucket, key, MAX_OBJECT_BYTES).await.unwrap();
        String::from_utf8(object.bytes.to_vec()).unwrap()
    }

    /// The content type of an object in the store.
    pub async fn content_type(&self, bucket: Bucket, key: &str) -> Option<String> {
        let bucket = s3::bucket(&s3::settings(), self.store.bucket_name(bucket));
        let (head, _) = bucket.head_object(key).await.unwrap();
        head.content_type
    }

    /// A job's stored logs, one object after the other.
    pub async fn logs_of(&self, id: &str) -> String {
        'listed: loop {
            let mut all = String::new();
            for key in self.objects(Bucket::Logs, &format!("logs/{id}/")).await {
                match self.store.get(Bucket::Logs, &key, MAX_OBJECT_BYTES).await {
                    Ok(object) => all.push_str(std::str::from_utf8(&object.bytes).unwrap()),
                    // It has become a part of the daily log meanwhile.
                    Err(StoreError::NotFound { .. }) => continue 'listed,
                    Err(error) => panic!("{error}"),
                }
            }
            return all;
        }
    }

    /// Waits until a job's log in the store has `line` in it.
    pub async fn logged(&self, id: &str, line: &str) {
        let begun = Instant::now();
        loop {
            let log = self.logs_of(id).await;
            if log.contains(line) {
                return;
            }
            assert!(begun.elapsed() < PATIENCE, "{line:?} is not in the log of {id}: {log}");
            sleep(Duration::from_millis(200)).await;
        }
    }

    // --- containers

    /// The one container of a job.
    pub async fn container_of(&self, id: &str) -> ContainerInspectResponse {
        engine::of_job(&self.docker, &self.namespace, id).await
    }

    /// All containers of this scene.
    pub async fn containers(&self) -> Vec<String> {
        engine::of_namespace(&self.docker, &self.namespace).await
    }

    /// What is in the directories of this scene's jobs.
    pub fn directories(&self) -> Vec<PathBuf> {
        let read = std::fs::read_dir(self.temp_dir().join(&self.namespace));
        let all = read.into_iter().flatten().map(|entry| entry.unwrap().path());
        all.filter(|path| *path != self.waiting_folder()).collect()
    }

    /// The folder of the containers that wait for a job.
    pub fn waiting_folder(&self) -> PathBuf {
        self.temp_dir().join(&self.namespace).join(".warm")
    }

    /// The containers that wait for a job.
    pub async fn waiting(&self) -> Vec<String> {
        engine::waiting_in_namespace(&self.docker, &self.namespace).await
    }

    /// Waits until no container and no directory is left. A result may come before that.
    pub async fn is_tidy(&self) {
        let begun = Instant::now();
        loop {
            // What compiles for later runs ends with its worker.
            let jobs = engine::jobs_of_namespace(&self.docker, &self.namespace).await;
            let left = (jobs, self.directories());
            if left.0.is_empty() && left.1.is_empty() {
                return;
            }
            let (containers, directories) = &left;
            assert!(
                begun.elapsed() < TIDY_PATIENCE,
                "left behind: containers {containers:?}, directories {directories:?}"
            );
            sleep(Duration::from_millis(100)).await;
        }
    }

    // --- the end

    /// Ends the scene. Nothing may be left: no containers, directories, messages or runs in the
    /// journal. The workers must end well, and every event must match its schema.
    pub async fn finish(mut self, workers: impl IntoIterator<Item = Worker>) {
        // Boxed, because otherwise every test's future would contain this one.
        Box::pin(self.end(workers)).await;
    }

    async fn end(&mut self, workers: impl IntoIterator<Item = Worker>) {
        self.is_tidy().await;
        for mut worker in workers {
            worker.stop().await;
        }
        super::schema::check(&self.events.all());
        assert_eq!(self.containers().await, [""; 0]);
        assert!(!self.waiting_folder().exists(), "of a waiting container a directory is left");
        let waiting = self.waiting_messages().await;
        assert!(waiting.is_empty(), "messages that nobody has dealt with: {waiting:?}");
        let index = self.objects(Bucket::State, &format!("{}/segments/", self.namespace)).await;
        let jobs = index.iter().filter(|key| key.contains(&self.id(""))).collect::<Vec<_>>();
        assert!(jobs.is_empty(), "runs that the journal counts as active: {jobs:?}");
        self.is_finished = true;
        sweep(&self.docker, &self.store, &self.namespace).await.unwrap();
    }
}

impl Drop for Scene {
    /// After a panic, removes what it can, on a separate runtime, because this one cannot wait
    /// here.
    fn drop(&mut self) {
        if self.is_finished {
            return;
        }
        super::sweep::sweep_now(&self.namespace);
    }
}
