//! Objects that say what their bytes hash to.

use std::path::Path;

use super::S3Store;
use super::request::Described;
use crate::storage::{Bucket, StoreError, key};

impl S3Store {
    /// The size of an object in bytes, and what its bytes hash to if whoever stored it said so; `None`
    /// if there is none, or if this user may not look.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store cannot be asked.
    pub async fn describe(
        &self,
        bucket: Bucket,
        key: &str,
    ) -> Result<Option<Described>, StoreError> {
        key::check(key)?;
        let place = self.place(bucket);
        let asked = self.retrying("head", |_| place.describe(key)).await;
        asked.map_err(self.failed("looking for", bucket, Some(key)))
    }

    /// The size of an object in bytes; `None` if there is none, or if this user may not look.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store cannot be asked.
    pub async fn size_of(&self, bucket: Bucket, key: &str) -> Result<Option<u64>, StoreError> {
        Ok(self.describe(bucket, key).await?.and_then(|found| found.bytes))
    }

    /// As [`S3Store::upload_showing`], with what the file hashes to, and into a bucket that is made
    /// if it is missing.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the file is not in the store.
    pub async fn upload_described(
        &self,
        bucket: Bucket,
        key: &str,
        (from, sha256): (&Path, &str),
        content_type: &str,
        sent: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<(), StoreError> {
        key::check(key)?;
        let place = self.place(bucket);
        let upload = async || {
            let attempt = |_| place.upload(key, from, content_type, Some(sha256), sent);
            let uploaded = self.retrying("upload", attempt).await;
            uploaded.map_err(self.failed("uploading", bucket, Some(key)))
        };
        match upload().await {
            Err(StoreError::NoBucket { .. }) => {
                self.ensure_bucket(bucket).await?;
                upload().await
            }
            uploaded => uploaded,
        }
    }
}
