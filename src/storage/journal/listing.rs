//! What the journal has: lists of jobs, of runs, of segments. One listing each, and no record is read.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::{Journal, JournalError, entry_of};
use crate::job::{JobId, RunId};
use crate::storage::{Bucket, ETag};

/// A job or a run of which the journal has something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Noted<Id> {
    /// Its id.
    pub id: Id,
    /// When that was last written, to the second, if the store says it.
    pub written_at: Option<Timestamp>,
    /// The version of what was listed, if the store's listing says it.
    pub version: Option<ETag>,
}

/// A segment that has, or had, an owner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnedSegment {
    /// Its number.
    pub segment: u32,
    /// The version of its owner's record, if the store's listing says it.
    pub version: Option<ETag>,
}

impl Journal {
    /// The segments that have had an owner, in ascending order.
    pub async fn owned_segments(&self) -> Result<Vec<OwnedSegment>, JournalError> {
        let prefix = format!("{}/owners/", self.namespace);
        let listed = self.store.list_dated(Bucket::State, &prefix, usize::MAX).await?;
        let owned = listed.into_iter().filter_map(|object| {
            let number = object.key.strip_prefix(&prefix)?.strip_suffix(".json")?;
            Some(OwnedSegment { segment: number.parse().ok()?, version: object.etag })
        });
        let mut segments: Vec<_> = owned.collect();
        segments.sort_unstable_by_key(|owned| owned.segment);
        Ok(segments)
    }

    /// The segments in which there is something: a job that is not settled, or a result that the
    /// broker has not confirmed.
    pub async fn segments_in_use(&self) -> Result<BTreeSet<u32>, JournalError> {
        let prefix = format!("{}/segments/", self.namespace);
        let keys = self.store.list(Bucket::State, &prefix).await?;
        let numbers = keys.iter().filter_map(|key| key.strip_prefix(&prefix)?.split_once('/'));
        Ok(numbers.filter_map(|(number, _)| number.parse().ok()).collect())
    }

    /// The jobs that have a record: the first `max`, in the order of their ids.
    pub async fn jobs(&self, max: usize) -> Result<Vec<Noted<JobId>>, JournalError> {
        self.noted(&format!("{}/jobs/", self.namespace), max).await
    }

    /// The runs of a job that are stored apart from its record, because another run followed: the
    /// first `max`, in the order of their ids.
    pub async fn earlier_runs(
        &self,
        id: &JobId,
        max: usize,
    ) -> Result<Vec<Noted<RunId>>, JournalError> {
        self.noted(&format!("{}/ended/{id}/", self.namespace), max).await
    }

    /// The jobs in the index of a segment, or of every segment: of the first `max` entries. A job may be in
    /// it more than once.
    pub async fn unsettled(
        &self,
        segment: Option<u32>,
        max: usize,
    ) -> Result<Vec<Noted<JobId>>, JournalError> {
        let all = format!("{}/segments/", self.namespace);
        let prefix = segment.map_or_else(|| all.clone(), |number| self.segment_prefix(number));
        let listed = self.store.list_dated(Bucket::State, &prefix, max).await?;
        let noted = listed.into_iter().filter_map(|object| {
            let (_, name) = object.key.strip_prefix(&all)?.split_once('/')?;
            Some(Noted {
                id: entry_of(name)?.job,
                written_at: object.written_at,
                version: object.etag,
            })
        });
        Ok(noted.collect())
    }

    async fn noted<Id: std::str::FromStr>(
        &self,
        prefix: &str,
        max: usize,
    ) -> Result<Vec<Noted<Id>>, JournalError> {
        let listed = self.store.list_dated(Bucket::State, prefix, max).await?;
        let noted = listed.into_iter().filter_map(|object| {
            let name = object.key.strip_prefix(prefix)?.strip_suffix(".json")?;
            Some(Noted {
                id: name.parse().ok()?,
                written_at: object.written_at,
                version: object.etag,
            })
        });
        Ok(noted.collect())
    }
}
