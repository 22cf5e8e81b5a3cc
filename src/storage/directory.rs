//! The object store in a local directory: `{root}/{bucket}/{key}`.
//!
//! It follows S3's rules, conditions included, between processes of one machine. It cannot do two
//! things of S3: store content types, and have two keys of which one is the other's folder (`a` and
//! `a/b`).

mod files;
mod lock;

use std::io;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use bytes::Bytes;
use jiff::Timestamp;
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};

use self::lock::WriteLock;
use super::part_file::PartFile;
use super::{Bucket, Condition, Download, ETag, Listed, Object, ObjectStore, StoreError, key};

/// How much of a file is copied at a time, in bytes.
const COPY_BYTES: usize = 256 * 1024;

/// A store in a local directory.
pub struct DirectoryStore {
    root: PathBuf,
}

impl DirectoryStore {
    /// A store in `root`, which need not exist before [`ObjectStore::ensure_buckets`].
    #[must_use]
    pub fn new(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    fn bucket_path(&self, bucket: Bucket) -> PathBuf {
        self.root.join(bucket.default_name())
    }

    /// The file of an object. It is inside its bucket's directory, whatever the key.
    fn path(&self, bucket: Bucket, key: &str) -> Result<PathBuf, StoreError> {
        key::check(key)?;
        let mut path = self.bucket_path(bucket);
        path.extend(key.split('/').filter(|part| !part.is_empty()));
        Ok(path)
    }

    /// Opens an object to read at most `max_bytes`.
    async fn open(
        &self,
        bucket: Bucket,
        key: &str,
        max_bytes: u64,
    ) -> Result<tokio::fs::File, StoreError> {
        let path = self.path(bucket, key)?;
        let opened = async {
            let file = tokio::fs::File::open(&path).await?;
            let metadata = file.metadata().await?;
            Ok((file, metadata))
        };
        match opened.await {
            Ok((_, metadata)) if metadata.is_dir() => Err(self.missing(bucket, key)),
            Ok((_, metadata)) if metadata.len() > max_bytes => {
                Err(self.too_large(bucket, key, max_bytes))
            }
            Ok((file, _)) => Ok(file),
            Err(error) if files::is_missing(&error) => Err(self.missing(bucket, key)),
            Err(error) => Err(failed("reading", &path)(error)),
        }
    }

    fn missing(&self, bucket: Bucket, key: &str) -> StoreError {
        let name = self.bucket_name(bucket).to_owned();
        if self.bucket_path(bucket).is_dir() {
            StoreError::NotFound { bucket: name, key: key.to_owned() }
        } else {
            StoreError::NoBucket { bucket: name }
        }
    }

    fn too_large(&self, bucket: Bucket, key: &str, max_bytes: u64) -> StoreError {
        let bucket = self.bucket_name(bucket).to_owned();
        StoreError::TooLarge { bucket, key: key.to_owned(), max_bytes }
    }

    fn require_bucket(&self, bucket: Bucket) -> Result<(), StoreError> {
        if self.bucket_path(bucket).is_dir() {
            return Ok(());
        }
        Err(StoreError::NoBucket { bucket: self.bucket_name(bucket).to_owned() })
    }

    /// Takes the right to write. Nobody else changes anything here until it is dropped.
    async fn lock(&self) -> Result<WriteLock, StoreError> {
        WriteLock::take(&self.root).await.map_err(failed("locking", &self.root))
    }

    async fn holds(&self, path: &Path, condition: &Condition) -> io::Result<bool> {
        match condition {
            Condition::None => Ok(true),
            Condition::Absent => Ok(!tokio::fs::try_exists(path).await?),
            Condition::Unchanged(expected) => match tokio::fs::read(path).await {
                Ok(bytes) => Ok(files::etag(&bytes) == *expected),
                Err(error) if files::is_missing(&error) => Ok(false),
                Err(error) => Err(error),
            },
        }
    }
}

#[async_trait]
impl ObjectStore for DirectoryStore {
    async fn download_if_changed(
        &self,
        bucket: Bucket,
        key: &str,
        to: &Path,
        max_bytes: u64,
        known: Option<&ETag>,
    ) -> Result<Download, StoreError> {
        let mut source = self.open(bucket, key, max_bytes).await?;
        let etag = version_of(&mut source).await.map_err(failed("reading", to))?;
        if known == Some(&etag) {
            return Ok(Download::Unchanged);
        }
        let mut file = PartFile::create(to).map_err(failed("writing", to))?;
        let copied =
            copy(&mut source, &mut file, max_bytes).await.map_err(failed("writing", to))?;
        if copied > max_bytes {
            return Err(self.too_large(bucket, key, max_bytes));
        }
        file.finish().await.map_err(failed("writing", to))?;
        Ok(Download::Done { bytes: copied, etag })
    }

    async fn get(&self, bucket: Bucket, key: &str, max_bytes: u64) -> Result<Object, StoreError> {
        let file = self.open(bucket, key, max_bytes).await?;
        let mut bytes = Vec::new();
        file.take(max_bytes.saturating_add(1))
            .read_to_end(&mut bytes)
            .await
            .map_err(failed("reading", &self.path(bucket, key)?))?;
        if bytes.len() as u64 > max_bytes {
            return Err(self.too_large(bucket, key, max_bytes));
        }
        Ok(Object { etag: files::etag(&bytes), bytes: bytes.into() })
    }

    async fn put(
        &self,
        bucket: Bucket,
        key: &str,
        body: Bytes,
        _content_type: &str,
        condition: Condition,
    ) -> Result<ETag, StoreError> {
        let path = self.path(bucket, key)?;
        self.require_bucket(bucket)?;
        let _lock = self.lock().await?;
        if !self.holds(&path, &condition).await.map_err(failed("reading", &path))? {
            let bucket = self.bucket_name(bucket).to_owned();
            return Err(StoreError::ConditionFailed { bucket, key: key.to_owned() });
        }
        let written = async {
            files::create_parents(&path)?;
            let mut file = PartFile::create(&path)?;
            file.write(&body).await?;
            file.finish().await
        };
        written.await.map_err(failed("writing", &path))?;
        Ok(files::etag(&body))
    }

    async fn upload(
        &self,
        bucket: Bucket,
        key: &str,
        from: &Path,
        _content_type: &str,
    ) -> Result<(), StoreError> {
        let path = self.path(bucket, key)?;
        self.require_bucket(bucket)?;
        let mut source = tokio::fs::File::open(from).await.map_err(failed("reading", from))?;
        let mut file = {
            // From here on the folder has a file, so nobody removes the folder as empty.
            let _lock = self.lock().await?;
            files::create_parents(&path)
                .and_then(|()| PartFile::create(&path))
                .map_err(failed("writing", &path))?
        };
        copy(&mut source, &mut file, u64::MAX).await.map_err(failed("copying", from))?;
        let _lock = self.lock().await?;
        file.finish().await.map_err(failed("writing", &path))
    }

    async fn list(&self, bucket: Bucket, prefix: &str) -> Result<Vec<String>, StoreError> {
        self.require_bucket(bucket)?;
        let directory = self.bucket_path(bucket);
        let listed = files::list(directory.clone(), prefix.to_owned()).await;
        listed.map_err(failed("listing", &directory))
    }

    async fn list_dated(
        &self,
        bucket: Bucket,
        prefix: &str,
        max: usize,
    ) -> Result<Vec<Listed>, StoreError> {
        let mut listed = Vec::new();
        for key in self.list(bucket, prefix).await?.into_iter().take(max) {
            let metadata = tokio::fs::metadata(self.path(bucket, &key)?).await;
            let written = metadata.and_then(|metadata| metadata.modified());
            let written_at = written.ok().and_then(|time| Timestamp::try_from(time).ok());
            let bytes = tokio::fs::read(self.path(bucket, &key)?).await;
            let bytes = bytes.ok();
            let etag = bytes.as_ref().map(|bytes| files::etag(bytes));
            let bytes = bytes.map(|bytes| bytes.len() as u64);
            listed.push(Listed { key, written_at, etag, bytes });
        }
        Ok(listed)
    }

    async fn delete(&self, bucket: Bucket, key: &str) -> Result<(), StoreError> {
        let path = self.path(bucket, key)?;
        self.require_bucket(bucket)?;
        let _lock = self.lock().await?;
        files::remove(&path, &self.bucket_path(bucket)).map_err(failed("removing", &path))
    }

    async fn delete_unchanged(
        &self,
        bucket: Bucket,
        key: &str,
        seen: &ETag,
    ) -> Result<bool, StoreError> {
        let path = self.path(bucket, key)?;
        self.require_bucket(bucket)?;
        let _lock = self.lock().await?;
        let is_same = self.holds(&path, &Condition::Unchanged(seen.clone())).await;
        if !is_same.map_err(failed("reading", &path))? {
            return Ok(false);
        }
        files::remove(&path, &self.bucket_path(bucket)).map_err(failed("removing", &path))?;
        Ok(true)
    }

    async fn ensure_buckets(&self) -> Result<(), StoreError> {
        for bucket in Bucket::ALL {
            let path = self.bucket_path(bucket);
            tokio::fs::create_dir_all(&path).await.map_err(failed("creating", &path))?;
        }
        Ok(())
    }

    async fn check(&self) -> Result<(), StoreError> {
        self.require_bucket(Bucket::State)
    }

    fn bucket_name(&self, bucket: Bucket) -> &str {
        bucket.default_name()
    }

    fn origin(&self, bucket: Bucket) -> String {
        self.bucket_path(bucket).to_string_lossy().into_owned()
    }
}

/// Copies `source` to its end, or to just beyond `max_bytes`. Returns the number of bytes.
async fn copy(source: &mut tokio::fs::File, to: &mut PartFile, max_bytes: u64) -> io::Result<u64> {
    let mut buffer = vec![0; COPY_BYTES];
    let mut copied = 0;
    while copied <= max_bytes {
        let length = source.read(&mut buffer).await?;
        if length == 0 {
            break;
        }
        to.write(&buffer[..length]).await?;
        copied += length as u64;
    }
    Ok(copied)
}

/// The version of an object, whose file is at its beginning, before and after.
async fn version_of(source: &mut tokio::fs::File) -> io::Result<ETag> {
    let (mut hash, mut buffer) = (Sha256::new(), vec![0; COPY_BYTES]);
    loop {
        let length = source.read(&mut buffer).await?;
        if length == 0 {
            break;
        }
        hash.update(&buffer[..length]);
    }
    source.rewind().await?;
    Ok(files::etag_of(hash))
}

fn failed(verb: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StoreError + use<> {
    let action = format!("{verb} {}", path.display());
    move |source| StoreError::LocalFile { action, source }
}

#[cfg(test)]
mod tests;
