//! `CodeManager`: from the buckets into the job's directory: its code, and its inputs among that.
//!
//! Both are prepared once for all runs of the same bytes (`shared`), or, where there is no cache, for
//! one run alone (`alone`).

mod alone;
mod bytecode;
mod caps;
mod compiler;
mod error;
mod inputs;
mod placing;
mod plan;
mod script;
mod shared;
#[cfg(test)]
pub(super) mod tests;
mod wanted;

use std::io;
use std::sync::Arc;

use tokio::sync::{OnceCell, Semaphore};

pub(super) use self::bytecode::Compilable;
pub use self::caps::CodeCaps;
pub(super) use self::compiler::Compiler;
pub use self::error::CodeError;
pub(super) use self::plan::CachePlan;
pub use self::wanted::ObjectName;

use self::alone::Unpacking;
use self::bytecode::Bytecode;
use self::error::Failure;
use self::shared::SharedObjects;
use super::cache::{Bounds, Cache, CacheError, How, Key};
use super::directory::JobDirectory;
use super::temp_dir::{self, CODE_CACHE_DIR};
use crate::job::Job;
use crate::job::Launcher;
use crate::job::archive::Extracted;
use crate::metrics::Gauges;
use crate::storage::{Bucket, ObjectStore, StoreError};

/// How many archives are unpacked at a time. Each can take some 50 MB of memory for its names, and
/// keeps a processor busy.
const MAX_UNPACKING: usize = 2;

/// Entries of the cache: whoever looks for room looks at each.
const MAX_CACHE_ENTRIES: usize = 4096;

/// What came into a job's directory.
#[derive(Debug)]
pub struct Fetched {
    /// What came out of the zip. Its notes are about the inputs, too.
    pub extracted: Extracted,
    /// The entry of the cache that it is from.
    pub(super) shared: Option<Key>,
}

/// Fetches and unpacks code and inputs.
pub struct CodeManager {
    store: Arc<dyn ObjectStore>,
    caps: CodeCaps,
    unpacking: Arc<Semaphore>,
    plan: Option<CachePlan>,
    bytecode: Option<Arc<Bytecode>>,
    shared: OnceCell<Option<Arc<SharedObjects>>>,
}

impl CodeManager {
    /// One for all jobs, which unpacks the code of each run for itself.
    #[must_use]
    pub fn new(store: Arc<dyn ObjectStore>, caps: CodeCaps) -> Self {
        let unpacking = Arc::new(Semaphore::new(MAX_UNPACKING));
        Self { store, caps, unpacking, plan: None, bytecode: None, shared: OnceCell::new() }
    }

    /// The same with a cache.
    pub(super) fn with_cache(self, plan: Option<CachePlan>) -> Self {
        Self { plan, ..self }
    }

    /// The same with byte code for what is in the cache. A program that can change its modules has
    /// none, for it would not see the change.
    pub(super) fn with_compiler(self, compiler: Option<Compiler>) -> Self {
        let links = self.plan.as_ref().is_some_and(|plan| plan.how == How::Link);
        let compiler = compiler.filter(|_| links);
        let archive = self.caps.archive;
        let bytecode = compiler.map(|compiler| Arc::new(Bytecode::new(compiler, archive)));
        Self { bytecode, ..self }
    }

    /// Makes the job's directory and puts its code and its inputs there. An error leaves nothing there.
    ///
    /// If you drop this future half-way, call [`JobDirectory::remove`], which removes what it left.
    ///
    /// # Errors
    ///
    /// [`CodeError`]; one about a directory that is [`DirectoryError::Taken`] leaves it as it is.
    ///
    /// [`DirectoryError::Taken`]: super::directory::DirectoryError::Taken
    pub async fn fetch_and_extract(
        &self,
        job: &Job,
        directory: &JobDirectory,
    ) -> Result<Fetched, CodeError> {
        directory.create().await?;
        let outcome = self.fill(job, directory).await;
        if outcome.is_err()
            && let Err(error) = directory.remove().await
        {
            let path = directory.root().display();
            tracing::warn!(job.id = %job.id, %path, %error, "could not remove the job's directory");
        }
        outcome
    }

    /// Opens the cache where there is to be one, and removes what processes that died left in it.
    pub async fn open_cache(&self) {
        if let (Some(shared), Some(bytecode)) = (self.shared().await, &self.bytecode) {
            bytecode.remove_left_over(shared.cache()).await;
        }
    }

    /// Puts the byte code of fetched code into the job's directory, where it was made before by the
    /// image `image` with the id `image_id`. Gives what may be compiled later.
    pub(super) async fn add_bytecode(
        &self,
        code: Option<Key>,
        (image, image_id): (&str, Option<String>),
        launcher: Launcher,
        directory: &JobDirectory,
    ) -> Option<Compilable> {
        let bytecode = self.bytecode.as_ref().filter(|_| launcher == Launcher::Python)?;
        let (shared, what) = (self.shared().await?, Compilable::new(code?, image, &image_id?));
        if let Err(error) = bytecode.place(shared.cache(), &what, directory).await {
            tracing::warn!(%error, "could not use the byte code of a zip; the run does without");
        }
        Some(what)
    }

    /// Compiles code in the background, where that was not done yet.
    pub(super) async fn compile_later(&self, what: Option<Compilable>) {
        if let (Some(bytecode), Some(shared), Some(what)) =
            (&self.bytecode, self.shared().await, what)
        {
            bytecode.compile_later(shared.cache(), what);
        }
    }

    /// Reads how much the cache takes, once it is open.
    pub(super) fn read_gauges(&self, gauges: &Gauges) {
        if let Some(Some(shared)) = self.shared.get() {
            gauges.cache(shared.cache().bytes());
        }
    }

    /// Ends what is done in the background.
    pub(super) async fn end(&self) {
        if let Some(bytecode) = &self.bytecode {
            bytecode.end().await;
        }
    }

    /// Keeps the cache within its bounds.
    #[cfg(test)]
    async fn tidy_cache(&self) {
        if let Some(shared) = self.shared().await {
            shared.tidy().await;
        }
    }

    async fn fill(&self, job: &Job, directory: &JobDirectory) -> Result<Fetched, CodeError> {
        let shared = self.shared().await;
        // The inputs come while the code is unpacked, and into its folders.
        let (mut fetched, held) = tokio::try_join!(
            self.fill_with_code(shared, job, directory),
            self.hold_inputs(shared, job),
        )?;
        let notes = match (shared, held) {
            (Some(shared), Some(held)) => inputs::place(shared, held, directory).await?,
            _ => inputs::alone(&*self.store, job, directory, &self.caps).await?,
        };
        fetched.extracted.notes.extend(notes);
        Ok(fetched)
    }

    async fn fill_with_code(
        &self,
        shared: Option<&Arc<SharedObjects>>,
        job: &Job,
        directory: &JobDirectory,
    ) -> Result<Fetched, CodeError> {
        let Some(shared) = shared else {
            return self.alone(job, directory).await;
        };
        let placed = placing::place(shared, job, directory).await;
        match self.unless_broken(shared, job, placed).await? {
            Some((extracted, key)) => Ok(Fetched { extracted, shared: Some(key) }),
            None => self.alone(job, directory).await,
        }
    }

    /// The inputs of a job, in use; `None` where it must fetch them for itself.
    async fn hold_inputs(
        &self,
        shared: Option<&Arc<SharedObjects>>,
        job: &Job,
    ) -> Result<Option<Vec<inputs::HeldInput>>, CodeError> {
        let Some(shared) = shared else { return Ok(None) };
        let held = inputs::hold(shared, job, &self.caps).await;
        self.unless_broken(shared, job, held).await
    }

    /// What came by way of the cache; `None` where it may be had without.
    async fn unless_broken<T>(
        &self,
        shared: &SharedObjects,
        job: &Job,
        outcome: Result<T, Failure>,
    ) -> Result<Option<T>, CodeError> {
        match outcome {
            Ok(had) => Ok(Some(had)),
            Err(Failure::Code(error)) => {
                Err(Arc::try_unwrap(error).unwrap_or_else(CodeError::Shared))
            }
            Err(Failure::Cache(error)) => {
                tracing::warn!(job.id = %job.id, %error, "could not use the code cache; fetching for this run alone");
                shared.give_way().await;
                Ok(None)
            }
        }
    }

    /// What runs share; `None` where there is no cache, or it cannot be used.
    async fn shared(&self) -> Option<&Arc<SharedObjects>> {
        let open = || async {
            let plan = self.plan.clone()?;
            let directory = plan.directory.clone();
            match self.open(plan).await {
                Ok(shared) => Some(shared),
                Err(error) => {
                    let directory = directory.display();
                    tracing::warn!(%directory, error, "the code cache is off, because its directory cannot be used; each run fetches and unpacks for itself (CODE_CACHE_DIR)");
                    None
                }
            }
        };
        self.shared.get_or_init(open).await.as_ref()
    }

    async fn open(&self, plan: CachePlan) -> Result<Arc<SharedObjects>, String> {
        let CachePlan { directory, max_bytes, passage, how } = plan;
        let bounds = Bounds { max_bytes, max_entries: MAX_CACHE_ENTRIES };
        let opening = tokio::task::spawn_blocking(move || {
            temp_dir::check(CODE_CACHE_DIR, &directory)
                .and_then(|()| temp_dir::close(CODE_CACHE_DIR, &directory, passage))
                .map_err(|error| error.to_string())?;
            // Not below TEMP_DIR, nobody else keeps it from programs that remove old files.
            let kept = temp_dir::keep_from_cleaners(&directory).ok();
            let cache = Cache::open(directory, bounds);
            Ok::<_, String>((cache.map_err(|error: CacheError| error.to_string())?, kept))
        });
        let (cache, kept) = opening.await.map_err(|error| error.to_string())??;
        let (store, unpacking) = (Arc::clone(&self.store), Arc::clone(&self.unpacking));
        Ok(Arc::new(SharedObjects::new((cache, kept), store, self.caps, unpacking, how)))
    }

    async fn alone(&self, job: &Job, directory: &JobDirectory) -> Result<Fetched, CodeError> {
        let zip = directory.archive();
        let max_bytes = self.caps.max_archive_bytes;
        let downloaded = self.store.download(Bucket::Code, &job.code_key, &zip, max_bytes).await;
        downloaded.map_err(|error| match error {
            StoreError::TooLarge { key, max_bytes, .. } => CodeError::TooLarge {
                object: ObjectName::code(&key),
                max_bytes,
                setting: "CODE_MAX_ARCHIVE_MB",
            },
            error => error.into(),
        })?;
        let unpacking = Unpacking {
            key: job.code_key.clone(),
            sha256: job.code_sha256.clone(),
            script: job.script.clone(),
            zip,
            root: directory.root().to_owned(),
            caps: self.caps.archive,
        };
        // Nobody closes the semaphore. Without a permit the zip would be unpacked anyway.
        let permit = Arc::clone(&self.unpacking).acquire_owned().await;
        let turn = directory.turn().await;
        let working = tokio::task::spawn_blocking(move || {
            let (_permit, _turn) = (permit, turn);
            unpacking.run().map(|extracted| Fetched { extracted, shared: None })
        });
        working.await.unwrap_or_else(|error| {
            let action = "unpacking the code was interrupted".to_owned();
            Err(CodeError::Io { action, source: io::Error::other(error) })
        })
    }
}
