//! The cache: take an entry, make one, throw one away, keep within the bounds.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use parking_lot::Mutex;

use super::directory::{CacheError, Directory, names_in, remove_tree};
use super::entry::{Held, Key, MANIFEST, TREE, USE, Usage, lock_for_use};
use super::evict::{Bounds, Candidate, evict};
use super::making::{self, Making};
use super::manifest::Manifest;
use super::objects::{KnownObject, Objects};

/// A cache in a directory, which other processes may use as well.
#[derive(Debug)]
pub(in crate::runner) struct Cache {
    directory: Directory,
    objects: Objects,
    bounds: Bounds,
    /// The entries that this process has made, or read once and found as they were made.
    verified: Mutex<HashSet<Key>>,
    /// How much it took when room was last looked for, and what this process has made since.
    bytes: AtomicU64,
}

impl Cache {
    /// The cache in the directory `root`. What processes that died have left there is removed.
    pub(in crate::runner) fn open(root: PathBuf, bounds: Bounds) -> Result<Self, CacheError> {
        let directory = Directory::open(root)?;
        let objects = Objects::of(directory.clone());
        let cache = Self {
            directory,
            objects,
            bounds,
            verified: Mutex::default(),
            bytes: AtomicU64::new(0),
        };
        cache.tidy()?;
        Ok(cache)
    }

    /// Takes an entry into use. One that is not what it was when it was made is thrown away; the
    /// first time after a start every file of it is read to see that.
    pub(in crate::runner) fn take(&self, key: &Key) -> Result<Option<Held>, CacheError> {
        let path = self.path(key);
        let Some(used) = lock_for_use(&path) else {
            // Without its `use`, nobody can use it, and another one could not take its place.
            if path.exists() && !path.join(USE).exists() {
                self.throw_away(key)?;
            }
            return Ok(None);
        };
        let was_verified = self.verified.lock().contains(key);
        let manifest = Manifest::read(&path.join(MANIFEST))
            .filter(|manifest| was_verified || manifest.holds(&path.join(TREE)));
        let Some(manifest) = manifest else {
            tracing::warn!(entry = %key, "an entry of the cache is damaged; it is made again");
            self.throw_away(key)?;
            return Ok(None);
        };
        self.verified.lock().insert(key.clone());
        // Only a time: the next one who looks for room sees it.
        used.set_modified(SystemTime::now()).map_err(CacheError::io("writing", &path))?;
        Ok(Some(Held::new(key.clone(), path, manifest, used)))
    }

    /// About how much it takes, in bytes: see [`Cache::tidy`].
    pub(in crate::runner) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Whether there is such an entry, sound or not.
    pub(in crate::runner) fn has(&self, key: &Key) -> bool {
        self.path(key).is_dir()
    }

    /// A folder in which an entry can be made.
    pub(in crate::runner) fn begin(&self) -> Result<Making, CacheError> {
        Making::begin(&self.directory)
    }

    /// Whether whoever began to make something in this folder still works on it; `None` where the
    /// folder is not of this cache.
    pub(in crate::runner) fn is_in_work(&self, making: &Path) -> Option<bool> {
        let is_ours = making.parent() == Some(self.directory.making().as_path());
        is_ours.then(|| making::is_in_work(making))
    }

    /// Makes an entry of the tree that is in `making`, and takes it into use. Where another process
    /// was faster, its entry is taken. The bounds are kept from the next [`tidy`](Self::tidy) on.
    pub(in crate::runner) fn put(
        &self,
        making: &Making,
        key: &Key,
        notes: Vec<String>,
    ) -> Result<Held, CacheError> {
        let made = making.entry();
        let manifest = Manifest::of(&made.join(TREE), notes)?;
        manifest.write(&made.join(MANIFEST))?;
        Usage::of(&manifest).write(&made)?;
        let path = self.path(key);
        let failed = || CacheError::io("moving an entry to", &path);
        // Before anybody can see it.
        let used = File::open(made.join(USE)).map_err(failed())?;
        used.try_lock_shared().map_err(|error| failed()(error.into()))?;
        for _ in 0..2 {
            if self.move_there(&made, &path)? {
                self.verified.lock().insert(key.clone());
                self.bytes.fetch_add(manifest.disk_bytes(), Ordering::Relaxed);
                return Ok(Held::new(key.clone(), path, manifest, used));
            }
            if let Some(held) = self.take(key)? {
                return Ok(held);
            }
        }
        Err(failed()(io::ErrorKind::AlreadyExists.into()))
    }

    fn move_there(&self, made: &Path, path: &Path) -> Result<bool, CacheError> {
        let _all = self.directory.lock()?;
        if path.exists() {
            return Ok(false);
        }
        fs::rename(made, path).map_err(CacheError::io("moving an entry to", path))?;
        Ok(true)
    }

    /// Throws an entry away that is not what it was when it was made, whoever uses it.
    pub(in crate::runner) fn throw_away(&self, key: &Key) -> Result<(), CacheError> {
        self.verified.lock().remove(key);
        let moved = {
            let _all = self.directory.lock()?;
            self.move_away(key.as_str())?
        };
        moved.map_or(Ok(()), |moved| remove_tree(&moved))
    }

    /// Takes an entry from where it is found; gives where it is then. `None` where there is none.
    fn move_away(&self, name: &str) -> Result<Option<PathBuf>, CacheError> {
        let from = self.directory.entries().join(name);
        let to = self.directory.making().join(format!("gone-{}", uuid::Uuid::new_v4().simple()));
        match fs::rename(&from, &to) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            moved => moved.map(|()| Some(to)).map_err(CacheError::io("removing", &from)),
        }
    }

    /// Removes what processes that died have left, and what is beyond the bounds and not in use.
    pub(in crate::runner) fn tidy(&self) -> Result<(), CacheError> {
        self.keep_within(self.bounds)
    }

    /// Removes everything that is not in use: the disk may be needed for more than this.
    pub(in crate::runner) fn give_way(&self) -> Result<(), CacheError> {
        self.keep_within(Bounds { max_bytes: 0, max_entries: 0 })
    }

    fn keep_within(&self, bounds: Bounds) -> Result<(), CacheError> {
        self.directory.make_folders()?;
        let left = making::remove_left_over(&self.directory)?;
        if left > 0 {
            tracing::info!(left, "removed what was left half-made in the cache");
        }
        self.objects.tidy()?;
        let mut gone = Vec::new();
        {
            let _all = self.directory.lock()?;
            let candidates = self.candidates(&mut gone)?;
            let left = evict(candidates, bounds, |candidate| {
                let moved = self.move_away_unused(&candidate.name)?;
                Ok::<_, CacheError>(moved.map(|moved| gone.push(moved)).is_some())
            })?;
            self.bytes.store(left, Ordering::Relaxed);
        }
        for moved in &gone {
            remove_tree(moved)?;
        }
        if !gone.is_empty() {
            tracing::debug!(entries = gone.len(), "removed entries of the cache to make room");
        }
        Ok(())
    }

    /// The entries. What is not whole, and so of no use, is taken away.
    fn candidates(&self, gone: &mut Vec<PathBuf>) -> Result<Vec<Candidate>, CacheError> {
        let mut found = Vec::new();
        for name in names_in(&self.directory.entries())? {
            match Usage::read(&self.directory.entries().join(&name)) {
                Some((usage, used_at)) => {
                    found.push(Candidate { name, bytes: usage.bytes, used_at });
                }
                None => gone.extend(self.move_away_unused(&name)?),
            }
        }
        Ok(found)
    }

    /// Takes an entry away unless somebody uses it: a process that has locked it, or a job whose
    /// directory has its files.
    fn move_away_unused(&self, name: &str) -> Result<Option<PathBuf>, CacheError> {
        let path = self.directory.entries().join(name);
        let locked = File::open(path.join(USE)).ok();
        let is_free = match (&locked, Usage::read(&path)) {
            (Some(file), Some((usage, _))) => file.try_lock().is_ok() && !usage.is_linked(&path),
            (Some(file), None) => file.try_lock().is_ok(),
            (None, _) => true,
        };
        if !is_free {
            return Ok(None);
        }
        let moved = self.move_away(name)?;
        self.verified.lock().retain(|key| key.as_str() != name);
        Ok(moved)
    }

    /// What is known of the object `key` of the bucket at `origin`.
    pub(in crate::runner) fn known_object(&self, origin: &str, key: &str) -> Option<KnownObject> {
        self.objects.find(origin, key)
    }

    /// Whether a content came from the bucket at `origin` before.
    pub(in crate::runner) fn came_from(&self, origin: &str, sha256: &str) -> bool {
        self.objects.knows(origin, sha256)
    }

    /// Remembers what the object `key` of the bucket at `origin` is.
    pub(in crate::runner) fn remember(
        &self,
        origin: &str,
        key: &str,
        known: &KnownObject,
    ) -> Result<(), CacheError> {
        self.objects.remember(origin, key, known)
    }

    fn path(&self, key: &Key) -> PathBuf {
        self.directory.entries().join(key.as_str())
    }
}
