//! Whether a store keeps the promise that the journal depends on: conditional writes.

use bytes::Bytes;
use futures_util::future::join_all;

use super::{Bucket, Condition, ETag, ObjectStore, StoreError};

/// The largest object of the probe's own that is read, in bytes.
const MAX_PROBE_BYTES: u64 = 1024;

/// Writers that race for one object: a store may keep its promise to one after the other and not to several at
/// once.
const WRITERS: usize = 8;

/// Which conditional writes a store took although it should not have.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Broken {
    /// A write with `If-None-Match: *` over an object that was there, or more than one of several at once.
    pub if_absent: bool,
    /// A write with an `If-Match` that did not match, or more than one of several at once.
    pub if_unchanged: bool,
}

impl Broken {
    /// What is wrong, in one sentence; `None` if nothing is.
    #[must_use]
    pub fn sentence(self) -> Option<String> {
        let ignored = match (self.if_absent, self.if_unchanged) {
            (false, false) => return None,
            (true, false) => "If-None-Match",
            (false, true) => "If-Match",
            (true, true) => "If-None-Match and If-Match",
        };
        Some(format!(
            "the object store ignores {ignored}: two workers could take the same job, and the log of \
             a restarted worker could repeat lines; use a store with conditional writes, such as \
             AWS S3, MinIO or SeaweedFS 4.48"
        ))
    }
}

/// Tries the store's conditional writes on a probe object below `namespace`, and removes it again.
///
/// # Errors
/// [`StoreError`] if the store could not be asked.
pub async fn conditional_writes(
    store: &dyn ObjectStore,
    namespace: &str,
) -> Result<Broken, StoreError> {
    let key = format!("{namespace}/probes/{}", uuid::Uuid::new_v4());
    let raced = format!("{key}.raced");
    let write = async |body: &'static str, condition| {
        let body = Bytes::from_static(body.as_bytes());
        store.put(Bucket::State, &key, body, "text/plain", condition).await
    };
    let probed = async {
        let first = write("1", Condition::Absent).await?;
        let if_absent = was_taken(write("2", Condition::Absent).await)?;
        write("3", Condition::None).await?;
        let if_unchanged = was_taken(write("4", Condition::Unchanged(first)).await)?;
        let absent = race(store, &raced, &Condition::Absent).await?;
        let version = store.get(Bucket::State, &raced, MAX_PROBE_BYTES).await?.etag;
        let unchanged = race(store, &raced, &Condition::Unchanged(version)).await?;
        Ok(Broken {
            if_absent: if_absent || absent > 1,
            if_unchanged: if_unchanged || unchanged > 1,
        })
    };
    let outcome = probed.await;
    for key in [&key, &raced] {
        store.delete(Bucket::State, key).await?;
    }
    outcome
}

/// Whether the store keeps an object that is to be removed in another version than it has.
///
/// # Errors
/// [`StoreError`] if the store could not be asked.
pub async fn conditional_deletes(
    store: &dyn ObjectStore,
    namespace: &str,
) -> Result<bool, StoreError> {
    let key = format!("{namespace}/probes/{}", uuid::Uuid::new_v4());
    let write = async |body: &'static str| {
        let body = Bytes::from_static(body.as_bytes());
        store.put(Bucket::State, &key, body, "text/plain", Condition::None).await
    };
    let first = write("1").await?;
    write("2").await?;
    let is_refused = !store.delete_unchanged(Bucket::State, &key, &first).await?;
    let is_there = match store.get(Bucket::State, &key, MAX_PROBE_BYTES).await {
        Ok(_) => true,
        Err(StoreError::NotFound { .. }) => false,
        Err(error) => return Err(error),
    };
    store.delete(Bucket::State, &key).await?;
    Ok(is_refused && is_there)
}

/// How many of several writes at once a store takes: one, if it keeps its promise.
async fn race(
    store: &dyn ObjectStore,
    key: &str,
    condition: &Condition,
) -> Result<usize, StoreError> {
    let write = |writer: usize| {
        // Never what is there already: a version may be a digest of the object.
        let body = Bytes::from(format!("{condition:?} {writer}"));
        store.put(Bucket::State, key, body, "text/plain", condition.clone())
    };
    let mut taken = 0;
    for written in join_all((0..WRITERS).map(write)).await {
        taken += usize::from(was_taken(written)?);
    }
    Ok(taken)
}

fn was_taken(written: Result<ETag, StoreError>) -> Result<bool, StoreError> {
    match written {
        Ok(_) => Ok(true),
        Err(StoreError::ConditionFailed { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests;
