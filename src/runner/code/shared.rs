//! Code and inputs that are prepared once and shared by all runs of the same bytes.
//!
//! Which bytes an object has is asked with one conditional request, and not at all where the message
//! names their hash and they came from the same bucket before.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

use super::caps::CodeCaps;
use super::error::{CodeError, Failure};
use super::wanted::{Form, ObjectName, Wanted};
use crate::job::archive::ArchiveError;
use crate::runner::cache::{Cache, CacheError, Held, How, Key, KnownObject};
use crate::runner::hash::sha256_of;
use crate::storage::{Download, ETag, ObjectStore, StoreError};

/// How often something is looked for that somebody else removes each time.
pub(super) const MAX_TRIES: usize = 3;

/// Keys about which something is remembered while nobody waits for them.
const MAX_IDLE_KEYS: usize = 256;

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

/// The code and the inputs of all jobs.
pub(super) struct SharedObjects {
    cache: Arc<Cache>,
    store: Arc<dyn ObjectStore>,
    caps: CodeCaps,
    unpacking: Arc<Semaphore>,
    how: How,
    rounds: Mutex<HashMap<(Form, ObjectName), Arc<Rounds>>>,
    tracker: TaskTracker,
    /// Keeps programs that remove old files out, see [`keep_from_cleaners`].
    ///
    /// [`keep_from_cleaners`]: crate::runner::temp_dir::keep_from_cleaners
    _kept: Option<File>,
}

impl SharedObjects {
    pub(super) fn new(
        (cache, kept): (Cache, Option<File>),
        store: Arc<dyn ObjectStore>,
        caps: CodeCaps,
        unpacking: Arc<Semaphore>,
        how: How,
    ) -> Self {
        Self {
            cache: Arc::new(cache),
            store,
            caps,
            unpacking,
            how,
            rounds: Mutex::default(),
            tracker: TaskTracker::new(),
            _kept: kept,
        }
    }

    /// The cache.
    pub(super) fn cache(&self) -> &Arc<Cache> {
        &self.cache
    }

    /// How the files of an entry come into a job's directory.
    pub(super) fn how(&self) -> How {
        self.how
    }

    /// What is made of an object, in use.
    pub(super) async fn held(self: &Arc<Self>, wanted: &Wanted) -> Result<Arc<Held>, Failure> {
        for _ in 0..MAX_TRIES {
            if let Some(held) = self.take_or_make(wanted).await? {
                return Ok(held);
            }
        }
        let problem = format!("{} was removed each time it was made", wanted.object);
        Err(CacheError::other("using the cache", problem).into())
    }

    /// What is made of an object, in use; `None` where it was removed meanwhile.
    async fn take_or_make(self: &Arc<Self>, wanted: &Wanted) -> Result<Option<Arc<Held>>, Failure> {
        if let Some(sha256) = &wanted.sha256
            && let Some(held) = self.take_known(wanted, sha256).await?
        {
            return Ok(Some(held));
        }
        let (found, held) = self.find(wanted).await?;
        if let Some(expected) = wanted.sha256.as_ref().filter(|sha256| **sha256 != found.sha256) {
            let (object, expected) = (wanted.object.clone(), expected.clone());
            return Err(CodeError::Checksum { object, expected, actual: found.sha256 }.into());
        }
        if let Some(error) = found.refused {
            return Err(Failure::Code(error));
        }
        if held.is_some() {
            return Ok(held);
        }
        let key = self.key(&found.sha256, wanted.form);
        self.with_cache(move |cache| Ok(cache.take(&key)?.map(Arc::new))).await
    }

    /// What was made of this hash, where it came from our bucket before.
    async fn take_known(
        &self,
        wanted: &Wanted,
        sha256: &str,
    ) -> Result<Option<Arc<Held>>, Failure> {
        let (origin, sha256) = (self.origin(wanted), sha256.to_owned());
        let key = self.key(&sha256, wanted.form);
        self.with_cache(move |cache| {
            if !cache.came_from(&origin, &sha256) {
                return Ok(None);
            }
            Ok(cache.take(&key)?.map(Arc::new))
        })
        .await
    }

    fn origin(&self, wanted: &Wanted) -> String {
        self.store.origin(wanted.object.bucket())
    }

    /// What the object is, by a request that began after this was called: an object may have changed
    /// since an earlier one. Whoever waits meanwhile gets the same answer. It goes on when nobody
    /// waits any more, for the next one has use for it.
    async fn find(
        self: &Arc<Self>,
        wanted: &Wanted,
    ) -> Result<(Found, Option<Arc<Held>>), Failure> {
        let rounds = self.rounds_of(wanted);
        let seen = rounds.begun.load(Ordering::SeqCst);
        let mut last = Arc::clone(&rounds.last).lock_owned().await;
        if let Some(ended) = last.as_ref().filter(|ended| ended.number > seen) {
            return ended.outcome.clone().map(|found| (found, None));
        }
        // A request that ended just before this may have brought the very bytes.
        if let Some(sha256) = &wanted.sha256
            && let Some(held) = self.take_known(wanted, sha256).await?
        {
            return Ok((Found { sha256: sha256.clone(), refused: None }, Some(held)));
        }
        let number = rounds.begun.fetch_add(1, Ordering::SeqCst) + 1;
        let (this, wanted) = (Arc::clone(self), wanted.clone());
        let asking = self.tracker.spawn(async move {
            let outcome = this.ask(&wanted).await;
            let noted = outcome.as_ref().map(|(found, _)| found.clone()).map_err(Clone::clone);
            *last = Some(Ended { number, outcome: noted });
            outcome
        });
        asking.await.unwrap_or_else(|error| Err(interrupted(error)))
    }

    fn rounds_of(&self, wanted: &Wanted) -> Arc<Rounds> {
        let mut rounds = self.rounds.lock();
        let subject = (wanted.form, wanted.object.clone());
        if let Some(found) = rounds.get(&subject) {
            return Arc::clone(found);
        }
        if rounds.len() >= MAX_IDLE_KEYS {
            rounds.retain(|_, rounds| Arc::strong_count(rounds) > 1);
        }
        Arc::clone(rounds.entry(subject).or_default())
    }

    /// One request, and whatever follows on its answer.
    async fn ask(&self, wanted: &Wanted) -> Result<(Found, Option<Arc<Held>>), Failure> {
        let Wanted { object, form, .. } = wanted.clone();
        let (origin, key) = (self.origin(wanted), object.key.clone());
        let variant = form.variant(&self.caps);
        let known = self.with_cache(move |cache| {
            let known = cache.known_object(&origin, &key);
            let is_here = |known: &KnownObject| cache.has(&Key::new(&known.sha256, &variant));
            Ok((known.filter(is_here), cache.begin()?))
        });
        let (known, making) = known.await?;
        let file = making.file("object");
        let etag = known.as_ref().map(|known| ETag(known.etag.clone()));
        let (max_bytes, setting) = form.max_bytes(&self.caps);
        let asked = self
            .store
            .download_if_changed(object.bucket(), &object.key, &file, max_bytes, etag.as_ref())
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
            (Err(StoreError::TooLarge { max_bytes, .. }), _) => {
                return Err(CodeError::TooLarge { object, max_bytes, setting }.into());
            }
            (Err(error), _) => return Err(CodeError::Store(error).into()),
        };
        // Nobody closes it; without a permit it would be unpacked all the same.
        let permit = Arc::clone(&self.unpacking).acquire_owned().await;
        let (origin, caps) = (self.origin(wanted), self.caps);
        let prepared = self.with_cache(move |cache| {
            let _permit = permit;
            let sha256 = sha256_of(&file).map_err(CacheError::io("reading", &file))?;
            let key = Key::new(&sha256, &form.variant(&caps));
            let held = match cache.take(&key)? {
                Some(held) => held,
                None => match form.make(&file, &making.tree()?, &caps) {
                    Ok(notes) => cache.put(&making, &key, notes)?,
                    Err(source @ ArchiveError::Io { .. }) => {
                        return Err(CacheError::other("unpacking", source.to_string()).into());
                    }
                    Err(source) => {
                        let refused = Arc::new(CodeError::Archive { object, source });
                        return Ok((Found { sha256, refused: Some(refused) }, None));
                    }
                },
            };
            let known = KnownObject { etag: etag.0, sha256: sha256.clone() };
            cache.remember(&origin, &object.key, &known)?;
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

    fn key(&self, sha256: &str, form: Form) -> Key {
        Key::new(sha256, &form.variant(&self.caps))
    }

    /// Works on the cache where that is allowed to block.
    pub(super) async fn with_cache<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Cache) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        let cache = Arc::clone(&self.cache);
        let working = self.tracker.spawn_blocking(move || work(&cache));
        working.await.unwrap_or_else(|error| Err(interrupted(error)))
    }
}

fn interrupted(error: tokio::task::JoinError) -> Failure {
    let action = "preparing code or inputs was interrupted".to_owned();
    CodeError::Io { action, source: io::Error::other(error) }.into()
}
