//! Whether a store keeps the promise that the journal rests on: conditional writes.

use bytes::Bytes;

use super::{Bucket, Condition, ETag, ObjectStore, StoreError};

/// Which conditional writes a store took although it should not have.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Broken {
    /// A write with `If-None-Match: *` over an object that was there.
    pub if_absent: bool,
    /// A write with an `If-Match` that did not match.
    pub if_unchanged: bool,
}

impl Broken {
    /// What is wrong, in one sentence; none where all is well.
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

/// Tries out the store's conditional writes on an object of its own below `namespace`, and removes
/// it again.
///
/// # Errors
/// [`StoreError`] where the store could not be asked.
pub async fn conditional_writes(
    store: &dyn ObjectStore,
    namespace: &str,
) -> Result<Broken, StoreError> {
    let key = format!("{namespace}/probes/{}", uuid::Uuid::new_v4());
    let write = async |body: &'static str, condition| {
        let body = Bytes::from_static(body.as_bytes());
        store.put(Bucket::State, &key, body, "text/plain", condition).await
    };
    let probed = async {
        let first = write("1", Condition::Absent).await?;
        let if_absent = was_taken(write("2", Condition::Absent).await)?;
        write("3", Condition::None).await?;
        let if_unchanged = was_taken(write("4", Condition::Unchanged(first)).await)?;
        Ok(Broken { if_absent, if_unchanged })
    };
    let outcome = probed.await;
    store.delete(Bucket::State, &key).await?;
    outcome
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
