//! Makes the buckets that are missing.

use super::S3Store;
use crate::storage::{Bucket, ObjectStore as _, StoreError};

/// A prefix below which there is nothing. The list of it shows whether a bucket can be reached. A list of the
/// whole bucket takes some stores long: SeaweedFS goes through what was deleted lately.
pub(super) const NOTHING: &str = ".longshore-check/";

impl S3Store {
    /// Creates a bucket if it is missing.
    pub(super) async fn ensure_bucket(&self, bucket: Bucket) -> Result<(), StoreError> {
        let place = self.place(bucket);
        let is_there = |_| place.list_page(NOTHING, None, None, Some(1));
        let looked =
            self.retrying("list", is_there).await.map_err(self.failed("looking for", bucket, None));
        match looked {
            Ok(_) => return Ok(()),
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
        self.retrying("list", is_there)
            .await
            .map_err(self.failed("looking for", bucket, None))
            .map(drop)
    }
}
