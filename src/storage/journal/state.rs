//! The states of bots: one record a job, which outlives its runs.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

use super::{Journal, JournalError};
use crate::job::{JobId, JsonText, RunId};
use crate::storage::{Bucket, Condition, ETag, StoreError};

/// What a job's bot keeps, and who wrote it last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StateRecord {
    /// The segment of the run that wrote it.
    pub segment: u32,
    /// The segment's epoch under which it was written.
    pub epoch: u64,
    /// How often it was written.
    pub seq: u64,
    /// The run that wrote it.
    pub run: RunId,
    /// When it was written.
    pub written_at: Timestamp,
    /// The state; nothing if the run began without one and has kept none yet.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    #[schemars(with = "Option<serde_json::Value>")]
    pub value: Option<JsonText>,
}

/// A state may be `null`, which is another thing than none.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<JsonText>, D::Error> {
    JsonText::deserialize(deserializer).map(Some)
}

impl Journal {
    /// The state of a job with its version, if there is one.
    ///
    /// # Errors
    /// If the store fails, or the record cannot be read.
    pub async fn state(&self, id: &JobId) -> Result<Option<(StateRecord, ETag)>, JournalError> {
        self.read_json(&self.state_key(id)).await
    }

    /// Writes the state of a job. It replaces the version `seen`, or must be the first. Returns the new
    /// version, or `None` if another writer was faster, or removed it.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn write_state(
        &self,
        id: &JobId,
        record: &StateRecord,
        seen: Option<&ETag>,
    ) -> Result<Option<ETag>, JournalError> {
        let condition = seen.map_or(Condition::Absent, |etag| Condition::Unchanged(etag.clone()));
        match self.write_json(&self.state_key(id), record, condition).await {
            // Some stores say so of an object that is gone.
            Err(JournalError::Store(StoreError::NotFound { .. })) => Ok(None),
            written => written,
        }
    }

    /// Removes the state of a job that has the version `seen`. Returns `false` if it has another one.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn remove_state(&self, id: &JobId, seen: &ETag) -> Result<bool, JournalError> {
        Ok(self.store.delete_unchanged(Bucket::State, &self.state_key(id), seen).await?)
    }

    fn state_key(&self, id: &JobId) -> String {
        format!("{}/state/{id}.json", self.namespace)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::storage::{DirectoryStore, ObjectStore};

    fn record(seq: u64, value: Option<&str>) -> StateRecord {
        let value = value.map(|value| value.parse().unwrap());
        let run = "r1".parse().unwrap();
        StateRecord { segment: 3, epoch: 4, seq, run, written_at: Timestamp::UNIX_EPOCH, value }
    }

    #[tokio::test]
    async fn a_state_is_replaced_only_by_whoever_knows_its_version() {
        let root = tempfile::tempdir().unwrap();
        let store: Arc<dyn ObjectStore> = Arc::new(DirectoryStore::new(root.path()));
        store.ensure_buckets().await.unwrap();
        let (journal, id) = (Journal::new(store, "ns".to_owned()), "job".parse().unwrap());
        assert_eq!(journal.state(&id).await.unwrap(), None);
        let first = record(1, Some(r#"{"n":1.50,"big":12345678901234567890123}"#));
        let version = journal.write_state(&id, &first, None).await.unwrap().unwrap();
        assert_eq!(journal.state(&id).await.unwrap(), Some((first.clone(), version.clone())));
        assert_eq!(journal.write_state(&id, &first, None).await.unwrap(), None);
        let second = record(2, Some("null"));
        let newer = journal.write_state(&id, &second, Some(&version)).await.unwrap().unwrap();
        assert_eq!(journal.write_state(&id, &first, Some(&version)).await.unwrap(), None);
        assert_eq!(journal.state(&id).await.unwrap().unwrap().0, second);
        assert!(!journal.remove_state(&id, &version).await.unwrap());
        assert!(journal.remove_state(&id, &newer).await.unwrap());
        assert_eq!(journal.write_state(&id, &first, Some(&newer)).await.unwrap(), None);
        journal.write_state(&id, &record(1, None), None).await.unwrap().unwrap();
        assert_eq!(journal.state(&id).await.unwrap().unwrap().0.value, None);
    }
}
