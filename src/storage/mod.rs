//! The object store: S3, or a local directory with the same layout.
//!
//! Only here: rust-s3. This room offers [`ObjectStore`] with its two implementations, the
//! [`Journal`] on top of either, and their errors. Except for the journal's records, other rooms
//! decide what an object means.

mod directory;
mod error;
mod journal;
mod key;
mod part_file;
pub mod probe;
mod s3;
mod turn;

use std::fmt;
use std::path::Path;

use async_trait::async_trait;
use bytes::Bytes;
use jiff::Timestamp;

pub use directory::DirectoryStore;
pub use error::StoreError;
pub use journal::{
    EndRecord, IndexEntry, JobRecord, Journal, JournalError, OwnerRecord, Place, RecordState, Seen,
    Stops, StoredMessage, Tombstone,
};
pub use journal::{Noted, OwnedSegment, SegmentIndex, StateRecord, Unconfirmed};
pub use s3::{Described, S3Store};
pub use turn::{Failures, Pass, Retention, Swept, Turn, oldest_kept};

/// The buckets, by their purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Bucket {
    /// Zips, as publishers put them.
    Code,
    /// Data sets, as people put them.
    Inputs,
    /// Results and whole outputs.
    Results,
    /// Logs.
    Logs,
    /// The journal.
    State,
}

impl Bucket {
    /// Every bucket.
    pub const ALL: [Self; 5] = [Self::Code, Self::Inputs, Self::Results, Self::Logs, Self::State];

    /// The bucket's default name.
    #[must_use]
    pub fn default_name(self) -> &'static str {
        match self {
            Self::Code => "custom-bots",
            Self::Inputs => "inputs",
            Self::Results => "test-results",
            Self::Logs => "bot-logs",
            Self::State => "longshore-state",
        }
    }
}

/// The version of an object, as the store names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ETag(pub String);

/// An object in memory. Its debug output leaves out its bytes.
#[derive(Clone)]
pub struct Object {
    /// Its bytes.
    pub bytes: Bytes,
    /// Its version.
    pub etag: ETag,
}

impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Object")
            .field("bytes", &self.bytes.len())
            .field("etag", &self.etag)
            .finish()
    }
}

/// An object in a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its key.
    pub key: String,
    /// When it was last written, to the second, if the store says it.
    pub written_at: Option<Timestamp>,
    /// Its version, if the store says it.
    pub etag: Option<ETag>,
    /// Its size, if the store says it.
    pub bytes: Option<u64>,
}

impl Listed {
    /// An object of which the listing tells nothing but the key.
    #[must_use]
    pub fn new(key: String) -> Self {
        Self { key, written_at: None, etag: None, bytes: None }
    }
}

/// How a conditional download ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Download {
    /// The object still has the version that the caller knows. No file was written.
    Unchanged,
    /// The object is in the file.
    Done {
        /// Its size.
        bytes: u64,
        /// Its version.
        etag: ETag,
    },
}

/// The condition of a write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// Always.
    None,
    /// Only if there is no such object yet (`If-None-Match: *`).
    Absent,
    /// Only if the object still has this version (`If-Match`).
    Unchanged(ETag),
}

/// What Longshore asks of an object store.
///
/// Every operation retries transient failures by itself, within its settings. An error is final for
/// the operation.
#[async_trait]
pub trait ObjectStore: Send + Sync {
    /// Streams an object into the file `to`, unless it still has the version `known`. That takes one
    /// request (`If-None-Match`). Refuses an object over `max_bytes`. Leaves no file behind when it
    /// fails.
    async fn download_if_changed(
        &self,
        bucket: Bucket,
        key: &str,
        to: &Path,
        max_bytes: u64,
        known: Option<&ETag>,
    ) -> Result<Download, StoreError>;

    /// Streams an object into the file `to`, which it creates. Refuses an object over `max_bytes`.
    /// Returns the number of bytes. Leaves no file behind when it fails.
    async fn download(
        &self,
        bucket: Bucket,
        key: &str,
        to: &Path,
        max_bytes: u64,
    ) -> Result<u64, StoreError> {
        match self.download_if_changed(bucket, key, to, max_bytes, None).await? {
            Download::Done { bytes, .. } => Ok(bytes),
            // Without a version to compare with, no object is unchanged.
            Download::Unchanged => Ok(0),
        }
    }

    /// Reads an object into memory; refuses one over `max_bytes`.
    async fn get(&self, bucket: Bucket, key: &str, max_bytes: u64) -> Result<Object, StoreError>;

    /// Writes an object from memory.
    async fn put(
        &self,
        bucket: Bucket,
        key: &str,
        body: Bytes,
        content_type: &str,
        condition: Condition,
    ) -> Result<ETag, StoreError>;

    /// Streams the file `from` into an object.
    async fn upload(
        &self,
        bucket: Bucket,
        key: &str,
        from: &Path,
        content_type: &str,
    ) -> Result<(), StoreError>;

    /// The keys that begin with `prefix`, in ascending order.
    async fn list(&self, bucket: Bucket, prefix: &str) -> Result<Vec<String>, StoreError>;

    /// The first `max` objects whose keys begin with `prefix`, in ascending order, with the time of
    /// their last write.
    async fn list_dated(
        &self,
        bucket: Bucket,
        prefix: &str,
        max: usize,
    ) -> Result<Vec<Listed>, StoreError> {
        let keys = self.list(bucket, prefix).await?;
        Ok(keys.into_iter().take(max).map(Listed::new).collect())
    }

    /// The first objects whose keys begin with `prefix` and come after `after`, in ascending order: at
    /// most `max`, and fewer only if there are no more.
    async fn list_page(
        &self,
        bucket: Bucket,
        prefix: &str,
        after: &str,
        max: usize,
    ) -> Result<Vec<Listed>, StoreError> {
        let listed = self.list_dated(bucket, prefix, usize::MAX).await?;
        Ok(listed.into_iter().filter(|object| object.key.as_str() > after).take(max).collect())
    }

    /// Removes an object. A missing one is not an error.
    async fn delete(&self, bucket: Bucket, key: &str) -> Result<(), StoreError>;

    /// Removes an object if it still has the version `seen` (`If-Match`). `false` means that it has
    /// another version. One that is gone already may give either: stores differ there.
    async fn delete_unchanged(
        &self,
        bucket: Bucket,
        key: &str,
        seen: &ETag,
    ) -> Result<bool, StoreError>;

    /// Creates the buckets that are missing. That of inputs may stay missing: only jobs that have some
    /// need it.
    async fn ensure_buckets(&self) -> Result<(), StoreError>;

    /// Whether the store answers, accepts our credentials and has the state bucket: one cheap
    /// request, without a retry.
    async fn check(&self) -> Result<(), StoreError>;

    /// The name of a bucket, for messages.
    fn bucket_name(&self, bucket: Bucket) -> &str;

    /// Where a bucket is. Only buckets of one and the same store have the same text.
    fn origin(&self, bucket: Bucket) -> String;
}
