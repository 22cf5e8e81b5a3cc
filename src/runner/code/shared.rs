//! Code that is prepared once and shared by all runs of the same bytes.
//!
//! Which bytes an object has is asked with one conditional request, and not at all where the message
//! names their hash and they came from the same bucket before.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

use super::caps::CodeCaps;
use super::error::{CodeError, io_error};
use super::script;
use crate::job::Job;
use crate::job::archive::{ArchiveError, Extracted, extract, staging_of};
use crate::runner::cache::{Cache, CacheError, Held, How, Key, KnownObject, PlaceError};
use crate::runner::directory::JobDirectory;
use crate::runner::hash::sha256_of;
use crate::storage::{Bucket, Download, ETag, ObjectStore, StoreError};

/// How often code is looked for that somebody else removes each time.
const MAX_TRIES: usize = 3;

/// Keys about which something is remembered while nobody waits for them.
const MAX_IDLE_KEYS: usize = 256;

/// Why a job's code could not be had from the cache.
#[derive(Debug, Clone)]
pub(super) enum Failure {
    /// Without the cache it would be the same.
    Code(Arc<CodeError>),
    /// Without the cache it may go well.
    Cache(Arc<CacheError>),
}

impl From<CodeError> for Failure {
    fn from(error: CodeError) -> Self {
        Self::Code(Arc::new(error))
    }
}

impl From<CacheError> for Failure {
    fn from(error: CacheError) -> Self {
        Self::Cache(Arc::new(error))
    }
}

/// What an object was found to be.
#[derive(Debug, Clone)]
struct Found {
    sha256: String,
    /// Why its content cannot be unpacked, where that is so.
    refused: Option<Arc<CodeError>>,
}

/// The requests for one object, one after the other.
#[derive(Debug, Default)]
struct Rounds {
    begun: AtomicU64,
    last: Arc<tokio::sync::Mutex<Option<Ended>>>,
}

/// How a request ended.
#[derive(Debug)]
struct Ended {
    number: u64,
    outcome: Result<Found, Failure>,
}

/// The code of all jobs.
pub(super) struct SharedCode {
    cache: Arc<Cache>,
    store: Arc<dyn ObjectStore>,
    caps: CodeCaps,
    unpacking: Arc<Semaphore>,
    how: How,
    variant: String,
    origin: String,
    rounds: Mutex<HashMap<String, Arc<Rounds>>>,
    tracker: TaskTracker,
    /// Keeps programs that remove old files out, see [`keep_from_cleaners`].
    ///
    /// [`keep_from_cleaners`]: crate::runner::temp_dir::keep_from_cleaners
    _kept: Option<File>,
}

impl SharedCode {
    pub(super) fn new(
        (cache, kept): (Cache, Option<File>),
        store: Arc<dyn ObjectStore>,
        caps: CodeCaps,
        unpacking: Arc<Semaphore>,
        how: How,
    ) -> Self {
        Self {
            cache: Arc::new(cache),
            origin: store.origin(Bucket::Code),
            store,
            caps,
            unpacking,
            how,
            variant: caps.variant(),
            rounds: Mutex::default(),
            tracker: TaskTracker::new(),
            _kept: kept,
        }
    }

    /// The cache.
    pub(super) fn cache(&self) -> &Arc<Cache> {
        &self.cache
    }

    /// Puts a job's code into its directory, which is there and empty.
    pub(super) async fn place(
        self: &Arc<Self>,
        job: &Job,
        directory: &JobDirectory,
    ) -> Result<(Extracted, Key), Failure> {
        for _ in 0..MAX_TRIES {
            let Some(held) = self.held(job).await? else {
                continue;
            };
            let manifest = held.manifest();
            let extracted = Extracted {
                files: manifest.files.len(),
                bytes: manifest.files.iter().map(|file| file.bytes).sum(),
                notes: manifest.notes.clone(),
            };
            let key = held.key().clone();
            if self.put_into(directory, held, job).await? {
                return Ok((extracted, key));
            }
        }
        let problem = format!("the code {:?} was removed each time it was made", job.code_key);
        Err(CacheError::other("using the cache", problem).into())
    }

    /// The code of a job, in use; `None` where it was removed meanwhile.
    async fn held(self: &Arc<Self>, job: &Job) -> Result<Option<Arc<Held>>, Failure> {
        if let Some(sha256) = job.code_sha256.clone()
            && let Some(held) = self.take_known(sha256).await?
        {
            return Ok(Some(held));
        }
        let (found, held) = self.find(&job.code_key).await?;
        if let Some(expected) = job.code_sha256.as_ref().filter(|sha256| **sha256 != found.sha256) {
            let (key, expected) = (job.code_key.clone(), expected.clone());
            return Err(CodeError::Checksum { key, expected, actual: found.sha256 }.into());
        }
        if let Some(error) = found.refused {
            return Err(Failure::Code(error));
        }
        match held {
            Some(held) => Ok(Some(held)),
            None => self.take(found.sha256).await,
        }
    }

    /// The code of this hash, where it came from our bucket before.
    async fn take_known(&self, sha256: String) -> Result<Option<Arc<Held>>, Failure> {
        let (origin, key) = (self.origin.clone(), self.key(&sha256));
        self.with_cache(move |cache| {
            if !cache.came_from(&origin, &sha256) {
                return Ok(None);
            }
            Ok(cache.take(&key)?.map(Arc::new))
        })
        .await
    }

    async fn take(&self, sha256: String) -> Result<Option<Arc<Held>>, Failure> {
        let key = self.key(&sha256);
        self.with_cache(move |cache| Ok(cache.take(&key)?.map(Arc::new))).await
    }

    /// What the object is, by a request that began after this was called: an object may have changed
    /// since an earlier one. Whoever waits meanwhile gets the same answer. It goes on when nobody
    /// waits any more, for the next one has use for it.
    async fn find(self: &Arc<Self>, code_key: &str) -> Result<(Found, Option<Arc<Held>>), Failure> {
        let rounds = self.rounds_of(code_key);
        let seen = rounds.begun.load(Ordering::SeqCst);
        let mut last = Arc::clone(&rounds.last).lock_owned().await;
        if let Some(ended) = last.as_ref().filter(|ended| ended.number > seen) {
            return ended.outcome.clone().map(|found| (found, None));
        }
        let number = rounds.begun.fetch_add(1, Ordering::SeqCst) + 1;
        let (this, code_key) = (Arc::clone(self), code_key.to_owned());
        let asking = self.tracker.spawn(async move {
            let outcome = this.ask(&code_key).await;
            let noted = outcome.as_ref().map(|(found, _)| found.clone()).map_err(Clone::clone);
            *last = Some(Ended { number, outcome: noted });
            outcome
        });
        asking.await.unwrap_or_else(|error| Err(interrupted(error)))
    }

    fn rounds_of(&self, code_key: &str) -> Arc<Rounds> {
        let mut rounds = self.rounds.lock();
        if let Some(found) = rounds.get(code_key) {
            return Arc::clone(found);
        }
        if rounds.len() >= MAX_IDLE_KEYS {
            rounds.retain(|_, rounds| Arc::strong_count(rounds) > 1);
        }
        Arc::clone(rounds.entry(code_key.to_owned()).or_default())
    }

    /// One request, and whatever follows on its answer.
    async fn ask(&self, code_key: &str) -> Result<(Found, Option<Arc<Held>>), Failure> {
        let (origin, key) = (self.origin.clone(), code_key.to_owned());
        let variant = self.variant.clone();
        let known = self.with_cache(move |cache| {
            let known = cache.known_object(&origin, &key);
            let is_here = |known: &KnownObject| cache.has(&Key::new(&known.sha256, &variant));
            Ok((known.filter(is_here), cache.begin()?))
        });
        let (known, making) = known.await?;
        let zip = making.file("code.zip");
        let etag = known.as_ref().map(|known| ETag(known.etag.clone()));
        let max_bytes = self.caps.max_archive_bytes;
        let asked = self
            .store
            .download_if_changed(Bucket::Code, code_key, &zip, max_bytes, etag.as_ref())
            .await;
        let etag = match (asked, known) {
            (Ok(Download::Unchanged), Some(known)) => {
                let found = Found { sha256: known.sha256, refused: None };
                // It is removed where that is allowed to block.
                self.with_cache(move |_| {
                    drop(making);
                    Ok(())
                })
                .await?;
                return Ok((found, None));
            }
            (Ok(Download::Unchanged), None) => {
                let problem = "the store says that an unknown version is unchanged";
                return Err(CacheError::other("asking the store", problem).into());
            }
            (Ok(Download::Done { etag, .. }), _) => etag,
            (Err(StoreError::LocalFile { action, source }), _) => {
                return Err(CacheError::other(&action, source.to_string()).into());
            }
            (Err(StoreError::TooLarge { key, max_bytes, .. }), _) => {
                return Err(CodeError::TooLarge { key, max_bytes }.into());
            }
            (Err(error), _) => return Err(CodeError::Store(error).into()),
        };
        // Nobody closes it; without a permit it would be unpacked all the same.
        let permit = Arc::clone(&self.unpacking).acquire_owned().await;
        let (variant, archive) = (self.variant.clone(), self.caps.archive);
        let (origin, code_key) = (self.origin.clone(), code_key.to_owned());
        let prepared = self.with_cache(move |cache| {
            let _permit = permit;
            let sha256 = sha256_of(&zip).map_err(CacheError::io("reading", &zip))?;
            let key = Key::new(&sha256, &variant);
            let held = match cache.take(&key)? {
                Some(held) => held,
                None => match extract(&zip, &making.tree()?, archive) {
                    Ok(extracted) => cache.put(&making, &key, extracted.notes)?,
                    Err(source @ ArchiveError::Io { .. }) => {
                        return Err(CacheError::other("unpacking", source.to_string()).into());
                    }
                    Err(source) => {
                        let refused = Arc::new(CodeError::Archive { key: code_key, source });
                        return Ok((Found { sha256, refused: Some(refused) }, None));
                    }
                },
            };
            let known = KnownObject { etag: etag.0, sha256: sha256.clone() };
            cache.remember(&origin, &code_key, &known)?;
            Ok((Found { sha256, refused: None }, Some(Arc::new(held))))
        });
        let prepared = prepared.await?;
        self.make_room();
        Ok(prepared)
    }

    /// Keeps the cache within its bounds. Nobody waits for that.
    fn make_room(&self) {
        let cache = Arc::clone(&self.cache);
        self.tracker.spawn_blocking(move || {
            if let Err(error) = cache.tidy() {
                tracing::warn!(%error, "could not make room in the code cache");
            }
        });
    }

    /// Removes what no run uses, where the cache could not be used: the disk may be full.
    pub(super) async fn give_way(&self) {
        if let Err(Failure::Cache(error)) = self.with_cache(|cache| Ok(cache.give_way()?)).await {
            tracing::warn!(%error, "could not empty the code cache");
        }
    }

    /// Keeps the cache within its bounds, and waits for whoever does so already.
    #[cfg(test)]
    pub(super) async fn tidy(&self) {
        self.tracker.close();
        self.tracker.wait().await;
        self.tracker.reopen();
        self.with_cache(|cache| Ok(cache.tidy()?)).await.unwrap();
    }

    /// Puts an entry into the job's directory; `false` where the entry was damaged, and is gone.
    async fn put_into(
        &self,
        directory: &JobDirectory,
        held: Arc<Held>,
        job: &Job,
    ) -> Result<bool, Failure> {
        let (root, how, turn) = (directory.root().to_owned(), self.how, directory.turn().await);
        let (code_key, script) = (job.code_key.clone(), job.script.clone());
        let incoming = directory.archive().parent().map(ToOwned::to_owned);
        self.with_cache(move |cache| {
            let _turn = turn;
            let staging = staging_of(&root);
            match held.place(&staging, how) {
                Ok(()) => {}
                Err(PlaceError::Changed { path }) => {
                    tracing::warn!(path = %path.display(), "a file of the code cache was changed; its entry is made again");
                    cache.throw_away(held.key())?;
                    fs::remove_dir_all(&staging).map_err(io_error("removing", &staging))?;
                    return Ok(false);
                }
                Err(PlaceError::Cache(error)) => return Err(error.into()),
            }
            fs::rename(&staging, &root).map_err(io_error("making", &root))?;
            if let Some(incoming) = incoming {
                fs::remove_dir_all(&incoming).map_err(io_error("removing", &incoming))?;
            }
            script::find(&root, &code_key, &script)?;
            Ok(true)
        })
        .await
    }

    fn key(&self, sha256: &str) -> Key {
        Key::new(sha256, &self.variant)
    }

    /// Works on the cache where that is allowed to block.
    async fn with_cache<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Cache) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        let cache = Arc::clone(&self.cache);
        let working = self.tracker.spawn_blocking(move || work(&cache));
        working.await.unwrap_or_else(|error| Err(interrupted(error)))
    }
}

fn interrupted(error: tokio::task::JoinError) -> Failure {
    let action = "preparing the code was interrupted".to_owned();
    CodeError::Io { action, source: io::Error::other(error) }.into()
}
