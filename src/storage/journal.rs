//! The journal: who runs what, in the state bucket.
//!
//! A typed layer over [`ObjectStore`]: `jobs/{id}.json`, `ended/{id}/{run}.json`,
//! `stops/{id}.json`, `state/{id}.json`, the index `segments/{n}/claims/{id}/{claim}`, `segments/{n}/unconfirmed/` and
//! `owners/{n}.json`, all below the namespace, so that two namespaces may share a bucket. The
//! worker decides when to write what.

mod error;
mod listing;
mod record;
mod retention;
mod state;

use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;

pub use self::error::JournalError;
use self::error::MAX_RECORD_BYTES;
pub use self::listing::{Noted, OwnedSegment};
pub use self::record::{
    EndRecord, IndexEntry, JobRecord, OwnerRecord, Place, RecordState, Seen, SegmentIndex, Stops,
    StoredMessage, Tombstone, Unconfirmed,
};
pub use self::state::StateRecord;
use super::{Bucket, Condition, ETag, Object, ObjectStore, StoreError};
use crate::job::{Event, JobId, RunId};

/// The folder, below a segment, of results that the broker has not confirmed.
const UNCONFIRMED: &str = "unconfirmed/";

/// The folder, below a segment, of the claims that are not settled.
const CLAIMS: &str = "claims/";

/// How the mark begins that is in the place of a job's record if there was only a stop so far.
const STOPPED: &[u8] = br#"{"stopped":""#;

/// How often a change is tried again that somebody else's crossed.
const MAX_CROSSINGS: usize = 10;

const JSON: &str = "application/json";

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

    /// The record of a job with its version, if there is one.
    pub async fn read(&self, id: &JobId) -> Result<Option<(JobRecord, ETag)>, JournalError> {
        Ok(match self.look(id).await? {
            Seen::Record(record, version) => Some((*record, version)),
            Seen::Nothing | Seen::Stopped(_) => None,
        })
    }

    /// What is in the place of a job's record.
    pub async fn look(&self, id: &JobId) -> Result<Seen, JournalError> {
        let key = self.job_key(id);
        Ok(match self.get(&key).await? {
            None => Seen::Nothing,
            Some(object) if object.bytes.starts_with(STOPPED) => Seen::Stopped(object.etag),
            Some(object) => Seen::Record(Box::new(parsed(&key, &object.bytes)?), object.etag),
        })
    }

    /// The record of a job, for a stop that is noted already. If there is none, a mark takes its place,
    /// and keeps a claim that comes later from [creating](Self::create) the record without looking for
    /// stops. The mark says the day of the latest stop, so it is not removed as an old one.
    pub async fn read_or_mark_stopped(
        &self,
        id: &JobId,
        now: Timestamp,
    ) -> Result<Option<JobRecord>, JournalError> {
        let (key, mut mark) = (self.job_key(id), STOPPED.to_vec());
        mark.extend_from_slice(format!("{}\"}}", day_of(now)).as_bytes());
        let mark = Bytes::from(mark);
        for _ in 0..MAX_CROSSINGS {
            let condition = match self.get(&key).await? {
                None => Condition::Absent,
                Some(object) if object.bytes == mark => return Ok(None),
                Some(object) if object.bytes.starts_with(STOPPED) => {
                    Condition::Unchanged(object.etag)
                }
                Some(object) => return parsed(&key, &object.bytes).map(Some),
            };
            if self.put_json(&key, mark.clone(), condition).await?.is_some() {
                return Ok(None);
            }
        }
        Err(JournalError::Contended { id: id.clone() })
    }

    /// Writes the first record of a job. Returns its version, or `None` if another writer's record or the
    /// mark of a stop exists.
    pub async fn create(&self, record: &JobRecord) -> Result<Option<ETag>, JournalError> {
        self.write_json(&self.job_key(&record.id), record, Condition::Absent).await
    }

    /// Replaces a job's record that has the version `seen`. Returns the new version, or `None` if
    /// another writer was faster.
    pub async fn replace(
        &self,
        record: &JobRecord,
        seen: &ETag,
    ) -> Result<Option<ETag>, JournalError> {
        let condition = Condition::Unchanged(seen.clone());
        self.write_json(&self.job_key(&record.id), record, condition).await
    }

    /// Enters a claim in a segment's index.
    pub async fn enter(&self, segment: u32, entry: &IndexEntry) -> Result<(), JournalError> {
        let key = self.entry_key(segment, entry);
        let (body, condition) = (Bytes::new(), Condition::None);
        self.store.put(Bucket::State, &key, body, "text/plain", condition).await?;
        Ok(())
    }

    /// Removes a claim from a segment's index. A missing entry is not an error.
    pub async fn leave(&self, segment: u32, entry: &IndexEntry) -> Result<(), JournalError> {
        Ok(self.store.delete(Bucket::State, &self.entry_key(segment, entry)).await?)
    }

    /// Whether a record's claim is in the index of its segment.
    pub async fn is_entered(&self, record: &JobRecord) -> Result<bool, JournalError> {
        let key = self.entry_key(record.segment, &record.entry());
        match self.store.get(Bucket::State, &key, 0).await {
            Ok(_) => Ok(true),
            Err(StoreError::NotFound { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// The entries of a segment's index.
    pub async fn segment_index(&self, segment: u32) -> Result<SegmentIndex, JournalError> {
        let prefix = self.segment_prefix(segment);
        let mut index = SegmentIndex::default();
        for key in self.store.list(Bucket::State, &prefix).await? {
            let Some(name) = key.strip_prefix(&prefix) else { continue };
            if let Some(entry) = entry_of(name) {
                index.entries.push(entry);
            } else if name.starts_with(UNCONFIRMED) {
                index.unconfirmed.push(key);
            }
        }
        Ok(index)
    }

    /// Stores a result that the broker did not confirm, for the owner of a segment. Returns its
    /// key. The same event has the same key.
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

    /// A result that the broker did not confirm, if it is still stored.
    pub async fn unconfirmed(&self, key: &str) -> Result<Option<Unconfirmed>, JournalError> {
        Ok(self.read_json(key).await?.map(|(unconfirmed, _)| unconfirmed))
    }

    /// Removes a result that the broker has confirmed. A missing one is not an error.
    pub async fn remove_unconfirmed(&self, key: &str) -> Result<(), JournalError> {
        Ok(self.store.delete(Bucket::State, key).await?)
    }

    /// The owner of a segment, or its last owner, with the record's version.
    pub async fn owner(&self, segment: u32) -> Result<Option<(OwnerRecord, ETag)>, JournalError> {
        self.read_json(&self.owner_key(segment)).await
    }

    /// Writes the owner of a segment. It replaces the version `seen`, or must be the first. Returns
    /// the new version, or `None` if another writer was faster.
    pub async fn write_owner(
        &self,
        owner: &OwnerRecord,
        seen: Option<&ETag>,
    ) -> Result<Option<ETag>, JournalError> {
        let condition = seen.map_or(Condition::Absent, |etag| Condition::Unchanged(etag.clone()));
        self.write_json(&self.owner_key(owner.segment), owner, condition).await
    }

    /// Stores the result event of a refused message. If the message has come before, returns the
    /// event that is already stored.
    pub async fn keep_rejection(&self, event: &Event) -> Result<Event, JournalError> {
        let key = format!("{}/rejected/{}.json", self.namespace, digest_of(&event.id));
        if self.write_json(&key, event, Condition::Absent).await?.is_some() {
            return Ok(event.clone());
        }
        let kept = self.read_json(&key).await?;
        Ok(kept.map_or_else(|| event.clone(), |(event, _)| event))
    }

    /// Stores the result event of a run before another run's record replaces its record. It is the
    /// record's event, and it overwrites any stored one.
    pub async fn keep_end(&self, record: &JobRecord, event: &Event) -> Result<(), JournalError> {
        let key = self.ended_key(&record.id, &record.run_id);
        self.write_json(&key, &end_of(record, event), Condition::None).await.map(drop)
    }

    /// Stores an end for a run whose record has none, before another run's record replaces it. An
    /// end that is already stored stays.
    pub async fn keep_first_end(
        &self,
        record: &JobRecord,
        event: &Event,
    ) -> Result<(), JournalError> {
        let key = self.ended_key(&record.id, &record.run_id);
        self.write_json(&key, &end_of(record, event), Condition::Absent).await.map(drop)
    }

    /// The end of a run whose record was replaced by another run's. It says nothing about the run
    /// in the job's record.
    pub async fn ended(&self, id: &JobId, run: &RunId) -> Result<Option<EndRecord>, JournalError> {
        Ok(self.read_json(&self.ended_key(id, run)).await?.map(|(end, _)| end))
    }

    /// Records that a job must stop, beside earlier words on it: see [`Stops::note`].
    pub async fn note_stop(&self, stop: &Tombstone) -> Result<(), JournalError> {
        self.change_stops(&stop.id, |stops| stops.note(stop)).await
    }

    /// The words that a job must stop.
    pub async fn stops(&self, id: &JobId) -> Result<Vec<Tombstone>, JournalError> {
        let found = self.read_json::<Stops>(&self.stop_key(id)).await?;
        Ok(found.map(|(stops, _)| stops.stops).unwrap_or_default())
    }

    /// Marks the words as carried out that a run of a job has ended by.
    pub async fn spend_stops(&self, id: &JobId, run: &RunId) -> Result<(), JournalError> {
        self.change_stops(id, |stops| stops.spend(run)).await
    }

    /// Changes the words on a job, whoever else does at the same time.
    async fn change_stops(
        &self,
        id: &JobId,
        change: impl Fn(&mut Stops),
    ) -> Result<(), JournalError> {
        let key = self.stop_key(id);
        for _ in 0..MAX_CROSSINGS {
            let seen = self.read_json::<Stops>(&key).await?;
            let (before, etag) =
                seen.map_or_else(Default::default, |(stops, etag)| (stops, Some(etag)));
            let mut stops = before.clone();
            change(&mut stops);
            let condition = etag.map_or(Condition::Absent, Condition::Unchanged);
            if stops == before || self.write_json(&key, &stops, condition).await?.is_some() {
                return Ok(());
            }
        }
        Err(JournalError::Contended { id: id.clone() })
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

    fn entry_key(&self, segment: u32, entry: &IndexEntry) -> String {
        let IndexEntry { job, claim } = entry;
        format!("{}{CLAIMS}{job}/{}", self.segment_prefix(segment), claim.simple())
    }

    async fn read_json<T: DeserializeOwned>(
        &self,
        key: &str,
    ) -> Result<Option<(T, ETag)>, JournalError> {
        let Some(object) = self.get(key).await? else { return Ok(None) };
        Ok(Some((parsed(key, &object.bytes)?, object.etag)))
    }

    async fn get(&self, key: &str) -> Result<Option<Object>, JournalError> {
        match self.store.get(Bucket::State, key, MAX_RECORD_BYTES).await {
            Ok(object) => Ok(Some(object)),
            Err(StoreError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    async fn write_json<T: Serialize>(
        &self,
        key: &str,
        value: &T,
        condition: Condition,
    ) -> Result<Option<ETag>, JournalError> {
        let body = serde_json::to_vec(value)
            .map_err(|source| JournalError::Unwritable { key: key.to_owned(), source })?;
        let bytes = body.len();
        if u64::try_from(bytes).is_ok_and(|bytes| bytes > MAX_RECORD_BYTES) {
            return Err(JournalError::TooLarge { key: key.to_owned(), bytes });
        }
        self.put_json(key, body.into(), condition).await
    }

    /// Writes JSON as it is. `None`: the condition does not hold.
    async fn put_json(
        &self,
        key: &str,
        body: Bytes,
        condition: Condition,
    ) -> Result<Option<ETag>, JournalError> {
        match self.store.put(Bucket::State, key, body, JSON, condition).await {
            Ok(etag) => Ok(Some(etag)),
            Err(StoreError::ConditionFailed { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

/// The day of a time, in UTC: `YYYY-MM-DD`.
fn day_of(time: Timestamp) -> String {
    jiff::tz::Offset::UTC.to_datetime(time).date().to_string()
}

fn parsed<T: DeserializeOwned>(key: &str, bytes: &[u8]) -> Result<T, JournalError> {
    let mut json = serde_json::Deserializer::from_slice(bytes);
    serde_path_to_error::deserialize(&mut json)
        .map_err(|source| JournalError::Corrupt { key: key.to_owned(), source })
}

/// The entry that a key below a segment's prefix names.
fn entry_of(name: &str) -> Option<IndexEntry> {
    let (job, claim) = name.strip_prefix(CLAIMS)?.split_once('/')?;
    Some(IndexEntry { job: job.parse().ok()?, claim: claim.parse().ok()? })
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
