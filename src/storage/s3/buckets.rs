//! Makes the buckets that are missing.

use super::S3Store;
use crate::storage::{Bucket, ObjectStore as _, StoreError};

impl S3Store {
    /// Creates a bucket if it is missing.
    pub(super) async fn ensure_bucket(&self, bucket: Bucket) -> Result<(), StoreError> {
        let place = self.place(bucket);
        let is_there = |_| place.look();
        let looked =
            self.retrying("list", is_there).await.map_err(self.failed("looking for", bucket, None));
        match looked {
            Ok(()) => return Ok(()),
            Err(StoreError::NoBucket { .. }) => {}
            Err(error) => return Err(error),
        }
        let created = self.retrying("create_bucket", |_| place.create()).await;
        match created {
            Ok(()) => {
                tracing::info!(bucket = self.bucket_name(bucket), "created a bucket");
                return Ok(());
            }
            // Another worker was faster, or another account owns the name. Looking again tells
            // which.
            Err((fault, _)) if fault.is_bucket_there() => {}
            Err(failure) => return Err(self.failed("creating", bucket, None)(failure)),
        }
        self.retrying("list", is_there).await.map_err(self.failed("looking for", bucket, None))
    }
}
