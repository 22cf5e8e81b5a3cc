//! A piece of work that one worker of a namespace does once a day, and how far it came.
//!
//! One object in the state bucket says whose turn it is. It is written by compare-and-set. If a worker dies
//! during its turn, the rest is left for the next day.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{Bucket, Condition, ETag, ObjectStore, StoreError};

/// The largest size of the object, in bytes.
const MAX_TURN_BYTES: u64 = 64 << 10;

/// A turn that is ours.
pub struct Turn<'a> {
    store: &'a dyn ObjectStore,
    key: String,
    written: Written,
    version: ETag,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Written {
    day: String,
    /// The key after which to go on; empty at the beginning.
    after: String,
}

impl<'a> Turn<'a> {
    /// Takes the turn of a day; `None` if it has been taken.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be asked.
    pub async fn take(
        store: &'a dyn ObjectStore,
        key: String,
        day: String,
    ) -> Result<Option<Self>, StoreError> {
        let (written, condition) = match store.get(Bucket::State, &key, MAX_TURN_BYTES).await {
            // If it cannot be read, begin again.
            Ok(object) => {
                let written: Written = serde_json::from_slice(&object.bytes).unwrap_or_default();
                (written, Condition::Unchanged(object.etag))
            }
            Err(StoreError::NotFound { .. }) => (Written::default(), Condition::Absent),
            Err(error) => return Err(error),
        };
        if written.day == day {
            return Ok(None);
        }
        let written = Written { day, ..written };
        let version = write(store, &key, &written, condition).await?;
        Ok(version.map(|version| Self { store, key, written, version }))
    }

    /// The key after which to go on; empty at the beginning.
    #[must_use]
    pub fn after(&self) -> &str {
        &self.written.after
    }

    /// Notes how far it came. Returns whether the turn is still ours.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be asked.
    pub async fn advance(&mut self, after: String) -> Result<bool, StoreError> {
        self.written.after = after;
        let condition = Condition::Unchanged(self.version.clone());
        let version = write(self.store, &self.key, &self.written, condition).await?;
        let is_ours = version.is_some();
        self.version = version.unwrap_or_else(|| self.version.clone());
        Ok(is_ours)
    }
}

/// `None`: another worker has written it.
async fn write(
    store: &dyn ObjectStore,
    key: &str,
    written: &Written,
    condition: Condition,
) -> Result<Option<ETag>, StoreError> {
    let body = Bytes::from(serde_json::json!(written).to_string());
    match store.put(Bucket::State, key, body, "application/json", condition).await {
        Ok(version) => Ok(Some(version)),
        Err(StoreError::ConditionFailed { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}
