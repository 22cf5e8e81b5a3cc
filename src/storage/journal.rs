//! The journal: who runs what, in the state bucket.
//!
//! A typed layer over [`ObjectStore`]: `jobs/{id}.json`, `ended/{id}/{run}.json`, `stops/{id}.json`,
//! the index `segments/{n}/{id}`, `segments/{n}/unconfirmed/` and `owners/{n}.json`, all below the namespace, so that two namespaces
//! may share a bucket. When to write what is the worker's business.

mod record;

use std::sync::Arc;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

pub use self::record::{
    EndRecord, JobRecord, OwnerRecord, Place, RecordState, SegmentIndex, StoredMessage, Tombstone,
    Unconfirmed,
};
use super::{Bucket, Condition, ETag, ObjectStore, StoreError};
use crate::job::{Event, JobId, RunId};

/// The largest record that is read, in bytes: a start message and a result event, with room.
const MAX_RECORD_BYTES: u64 = 16 * 1024 * 1024;

/// Where results that the broker has not confirmed stand below a segment.
const UNCONFIRMED: &str = "unconfirmed/";

const JSON: &str = "application/json";

/// Why the journal could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A record is there, but it is not what the journal writes.
    #[error("the journal's record {key:?} cannot be read: {source}")]
    Corrupt {
        /// The record's key in the state bucket.
        key: String,
        /// What is wrong with it, and where.
        source: serde_path_to_error::Error<serde_json::Error>,
    },
    /// Others kept writing a job's record.
    #[error("the record of the job {id} was written by others again and again")]
    Contended {
        /// The job.
        id: JobId,
    },
    /// A record cannot be written as JSON.
    #[error("the journal's record {key:?} cannot be written: {source}")]
    Unwritable {
        /// The record's key in the state bucket.
        key: String,
        /// What is wrong with it.
        source: serde_json::Error,
    },
}

impl JournalError {
    /// Whether the same operation may go well later.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Store(error) if error.is_transient())
    }
}

/// The journal of all segments.
#[derive(Clone)]
pub struct Journal {
    store: Arc<dyn ObjectStore>,
    namespace: String,
}

impl Journal {
    /// The journal of `namespace` in the state bucket of `store`.
    #[must_use]
    pub fn new(store: Arc<dyn ObjectStore>, namespace: String) -> Self {
        Self { store, namespace }
    }

    /// The record of a job with its version, where there is one.
    pub async fn read(&self, id: &JobId) -> Result<Option<(JobRecord, ETag)>, JournalError> {
        self.read_json(&self.job_key(id)).await
    }

    /// Writes the first record of a job; gives its version, or none where somebody else's is
    /// there.
    pub async fn create(&self, record: &JobRecord) -> Result<Option<ETag>, JournalError> {
        self.write_json(&self.job_key(&record.id), record, Condition::Absent).await
    }

    /// Writes a job's record in the place of the one with the version `seen`; gives the new
    /// version, or none where somebody else has written meanwhile.
    pub async fn replace(
        &self,
        record: &JobRecord,
        seen: &ETag,
    ) -> Result<Option<ETag>, JournalError> {
        let condition = Condition::Unchanged(seen.clone());
        self.write_json(&self.job_key(&record.id), record, condition).await
    }

    /// Enters a job into a segment's index.
    pub async fn add_to_segment(&self, segment: u32, id: &JobId) -> Result<(), JournalError> {
        let key = self.segment_key(segment, id);
        let (body, condition) = (Bytes::new(), Condition::None);
        self.store.put(Bucket::State, &key, body, "text/plain", condition).await?;
        Ok(())
    }

    /// Takes a job out of a segment's index. That it is not there is not an error.
    pub async fn remove_from_segment(&self, segment: u32, id: &JobId) -> Result<(), JournalError> {
        Ok(self.store.delete(Bucket::State, &self.segment_key(segment, id)).await?)
    }

    /// What a segment's index says.
    pub async fn segment_index(&self, segment: u32) -> Result<SegmentIndex, JournalError> {
        let prefix = self.segment_prefix(segment);
        let mut index = SegmentIndex::default();
        for key in self.store.list(Bucket::State, &prefix).await? {
            let Some(name) = key.strip_prefix(&prefix) else { continue };
            if let Ok(id) = name.parse() {
                index.jobs.push(id);
            } else if name.starts_with(UNCONFIRMED) {
                index.unconfirmed.push(key);
            }
        }
        Ok(index)
    }

    /// Keeps a result that the broker did not confirm, for the owner of a segment; gives its key. The same
    /// event has the same key.
    pub async fn keep_unconfirmed(
        &self,
        segment: u32,
        unconfirmed: &Unconfirmed,
    ) -> Result<String, JournalError> {
        let digest = digest_of(&unconfirmed.event.id);
        let key = format!("{}{UNCONFIRMED}{digest}.json", self.segment_prefix(segment));
        self.write_json(&key, unconfirmed, Condition::None).await?;
        Ok(key)
    }

    /// A result that the broker did not confirm, where it is still kept.
    pub async fn unconfirmed(&self, key: &str) -> Result<Option<Unconfirmed>, JournalError> {
        Ok(self.read_json(key).await?.map(|(unconfirmed, _)| unconfirmed))
    }

    /// Removes a result that the broker has confirmed. That it is not there is not an error.
    pub async fn remove_unconfirmed(&self, key: &str) -> Result<(), JournalError> {
        Ok(self.store.delete(Bucket::State, key).await?)
    }

    /// Whether a job is in a segment's index.
    pub async fn is_in_segment(&self, segment: u32, id: &JobId) -> Result<bool, JournalError> {
        match self.store.get(Bucket::State, &self.segment_key(segment, id), 0).await {
            Ok(_) => Ok(true),
            Err(StoreError::NotFound { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Who owns a segment, or owned it last, with the record's version.
    pub async fn owner(&self, segment: u32) -> Result<Option<(OwnerRecord, ETag)>, JournalError> {
        self.read_json(&self.owner_key(segment)).await
    }

    /// Writes who owns a segment in the place of the version `seen`, or where there is none; gives
    /// the new version, or none where somebody else has written meanwhile.
    pub async fn write_owner(
        &self,
        owner: &OwnerRecord,
        seen: Option<&ETag>,
    ) -> Result<Option<ETag>, JournalError> {
        let condition = seen.map_or(Condition::Absent, |etag| Condition::Unchanged(etag.clone()));
        self.write_json(&self.owner_key(owner.segment), owner, condition).await
    }

    /// The segments that have had an owner, in ascending order.
    pub async fn owned_segments(&self) -> Result<Vec<u32>, JournalError> {
        let prefix = format!("{}/owners/", self.namespace);
        let keys = self.store.list(Bucket::State, &prefix).await?;
        let numbers =
            keys.iter().filter_map(|key| key.strip_prefix(&prefix)?.strip_suffix(".json"));
        let mut segments: Vec<u32> = numbers.filter_map(|number| number.parse().ok()).collect();
        segments.sort_unstable();
        Ok(segments)
    }

    /// Keeps the result event of a message that could not be followed; gives the one that is kept
    /// already where the message has come before.
    pub async fn keep_rejection(&self, event: &Event) -> Result<Event, JournalError> {
        let key = format!("{}/rejected/{}.json", self.namespace, digest_of(&event.id));
        if self.write_json(&key, event, Condition::Absent).await?.is_some() {
            return Ok(event.clone());
        }
        let kept = self.read_json(&key).await?;
        Ok(kept.map_or_else(|| event.clone(), |(event, _)| event))
    }

    /// Keeps the result event of a run whose record is about to give way to another run's: what the
    /// record says, in the place of whatever is kept.
    pub async fn keep_end(&self, record: &JobRecord, event: &Event) -> Result<(), JournalError> {
        let key = self.ended_key(&record.id, &record.run_id);
        self.write_json(&key, &end_of(record, event), Condition::None).await.map(drop)
    }

    /// Keeps an end for a run whose record has none and is about to give way to another run's, unless
    /// one is kept already.
    pub async fn keep_first_end(
        &self,
        record: &JobRecord,
        event: &Event,
    ) -> Result<(), JournalError> {
        let key = self.ended_key(&record.id, &record.run_id);
        self.write_json(&key, &end_of(record, event), Condition::Absent).await.map(drop)
    }

    /// The end of a run whose record has given way to another run's. It says nothing of the run
    /// that the job's record is about.
    pub async fn ended(&self, id: &JobId, run: &RunId) -> Result<Option<EndRecord>, JournalError> {
        Ok(self.read_json(&self.ended_key(id, run)).await?.map(|(end, _)| end))
    }

    /// Writes that a job is to stop, in the place of an earlier word on it.
    pub async fn put_tombstone(&self, tombstone: &Tombstone) -> Result<(), JournalError> {
        let key = self.stop_key(&tombstone.id);
        self.write_json(&key, tombstone, Condition::None).await.map(drop)
    }

    /// The word that a job is to stop, where there is one.
    pub async fn tombstone(&self, id: &JobId) -> Result<Option<Tombstone>, JournalError> {
        Ok(self.read_json(&self.stop_key(id)).await?.map(|(tombstone, _)| tombstone))
    }

    /// Removes the word that a job is to stop. That there is none is not an error.
    pub async fn remove_tombstone(&self, id: &JobId) -> Result<(), JournalError> {
        Ok(self.store.delete(Bucket::State, &self.stop_key(id)).await?)
    }

    fn job_key(&self, id: &JobId) -> String {
        format!("{}/jobs/{id}.json", self.namespace)
    }

    fn ended_key(&self, id: &JobId, run: &RunId) -> String {
        format!("{}/ended/{id}/{run}.json", self.namespace)
    }

    fn stop_key(&self, id: &JobId) -> String {
        format!("{}/stops/{id}.json", self.namespace)
    }

    fn owner_key(&self, segment: u32) -> String {
        format!("{}/owners/{segment}.json", self.namespace)
    }

    fn segment_prefix(&self, segment: u32) -> String {
        format!("{}/segments/{segment}/", self.namespace)
    }

    fn segment_key(&self, segment: u32, id: &JobId) -> String {
        format!("{}{id}", self.segment_prefix(segment))
    }

    async fn read_json<T: DeserializeOwned>(
        &self,
        key: &str,
    ) -> Result<Option<(T, ETag)>, JournalError> {
        let object = match self.store.get(Bucket::State, key, MAX_RECORD_BYTES).await {
            Ok(object) => object,
            Err(StoreError::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let mut json = serde_json::Deserializer::from_slice(&object.bytes);
        let value = serde_path_to_error::deserialize(&mut json)
            .map_err(|source| JournalError::Corrupt { key: key.to_owned(), source })?;
        Ok(Some((value, object.etag)))
    }

    async fn write_json<T: Serialize>(
        &self,
        key: &str,
        value: &T,
        condition: Condition,
    ) -> Result<Option<ETag>, JournalError> {
        let body = serde_json::to_vec(value)
            .map_err(|source| JournalError::Unwritable { key: key.to_owned(), source })?;
        match self.store.put(Bucket::State, key, body.into(), JSON, condition).await {
            Ok(etag) => Ok(Some(etag)),
            Err(StoreError::ConditionFailed { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

/// An event's id as a part of a key.
fn digest_of(event_id: &str) -> uuid::Uuid {
    uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_OID, event_id.as_bytes())
}

fn end_of(record: &JobRecord, event: &Event) -> EndRecord {
    EndRecord { event: event.clone(), body_sha256: record.message.body_sha256.clone() }
}

#[cfg(test)]
mod tests;
