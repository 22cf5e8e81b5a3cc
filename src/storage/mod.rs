//! The object store: S3, or a local directory with the same layout.
//!
//! Only here: rust-s3. What comes out of here is [`ObjectStore`] with its two implementations, the
//! [`Journal`] on top of either, and their errors. What an object means is decided elsewhere, but
//! for the journal's records.

mod directory;
mod error;
mod journal;
mod key;
mod part_file;
pub mod probe;
mod s3;

use std::fmt;
use std::path::Path;

use async_trait::async_trait;
use bytes::Bytes;

pub use directory::DirectoryStore;
pub use error::StoreError;
pub use journal::{
    EndRecord, JobRecord, Journal, JournalError, OwnerRecord, Place, RecordState, StoredMessage,
    Tombstone,
};
pub use journal::{SegmentIndex, Unconfirmed};
pub use s3::S3Store;

/// The four buckets, by what they are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Bucket {
    /// Zips, as publishers put them.
    Code,
    /// Results and whole outputs.
    Results,
    /// Logs.
    Logs,
    /// The journal.
    State,
}

impl Bucket {
    /// Every bucket.
    pub const ALL: [Self; 4] = [Self::Code, Self::Results, Self::Logs, Self::State];

    /// The bucket's name where the settings say nothing else.
    #[must_use]
    pub fn default_name(self) -> &'static str {
        match self {
            Self::Code => "custom-bots",
            Self::Results => "test-results",
            Self::Logs => "bot-logs",
            Self::State => "longshore-state",
        }
    }
}

/// The version of an object, as the store names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ETag(pub String);

/// An object in memory. Debugging does not show its bytes.
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

/// Under which condition a write takes place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// Always.
    None,
    /// Only where there is no such object yet (`If-None-Match: *`).
    Absent,
    /// Only where the object still has this version (`If-Match`).
    Unchanged(ETag),
}

/// What Longshore asks of an object store.
///
/// Every operation retries by itself what may pass, within its settings; an error that comes out
/// is final for the operation.
#[async_trait]
pub trait ObjectStore: Send + Sync {
    /// Streams an object into the file `to`, which it creates; refuses one over `max_bytes`.
    /// Gives the number of bytes. Leaves no file behind when it fails.
    async fn download(
        &self,
        bucket: Bucket,
        key: &str,
        to: &Path,
        max_bytes: u64,
    ) -> Result<u64, StoreError>;

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

    /// The first keys that begin with `prefix` and come after `after`, in ascending order; `max` at
    /// most, and fewer only where there are no more.
    async fn list_page(
        &self,
        bucket: Bucket,
        prefix: &str,
        after: &str,
        max: usize,
    ) -> Result<Vec<String>, StoreError> {
        let keys = self.list(bucket, prefix).await?;
        Ok(keys.into_iter().filter(|key| key.as_str() > after).take(max).collect())
    }

    /// Removes an object. That there is none is not an error.
    async fn delete(&self, bucket: Bucket, key: &str) -> Result<(), StoreError>;

    /// Creates the buckets that are missing.
    async fn ensure_buckets(&self) -> Result<(), StoreError>;

    /// Whether the store answers, knows us and has the state bucket: one cheap request, not
    /// retried.
    async fn check(&self) -> Result<(), StoreError>;

    /// The name of a bucket, for messages.
    fn bucket_name(&self, bucket: Bucket) -> &str;
}
