//! The segments: who owns each, and how many jobs it has.

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use super::FactsError;
use crate::broker::Broker;
use crate::storage::{Journal, OwnerRecord};

/// How many segments are asked about at a time.
const CONCURRENCY: usize = 8;

/// Whether a segment has an owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SegmentState {
    /// A worker is connected and owns it.
    Held,
    /// Nobody owns it.
    Free,
    /// Nobody owns it, and its last owner ended in good order.
    Left,
}

impl SegmentState {
    /// As a word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::Free => "free",
            Self::Left => "left",
        }
    }
}

/// One segment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct SegmentReport {
    /// Its number.
    pub segment: u32,
    /// Whether it has an owner.
    pub state: SegmentState,
    /// The name of its owner, or of the last one.
    pub worker: String,
    /// How many of its jobs are not settled.
    pub jobs: usize,
    /// How many owners it has had.
    pub epoch: u64,
    /// Since when the worker owns it, or owned it.
    pub claimed_at: Timestamp,
    /// When the worker released it, if it ended in good order.
    pub released_at: Option<Timestamp>,
    /// The host of its containers, from one boot to the next.
    pub host: String,
    /// The engine of its containers.
    pub engine: String,
    /// The directory of its jobs' directories.
    pub temp_dir: String,
}

impl SegmentReport {
    fn of(owner: OwnerRecord, is_held: bool, jobs: usize) -> Self {
        let state = match (is_held, owner.released_at) {
            (true, _) => SegmentState::Held,
            (false, Some(_)) => SegmentState::Left,
            (false, None) => SegmentState::Free,
        };
        Self {
            segment: owner.segment,
            state,
            worker: owner.worker,
            jobs,
            epoch: owner.epoch,
            claimed_at: owner.claimed_at,
            released_at: owner.released_at,
            host: owner.place.host,
            engine: owner.place.engine,
            temp_dir: owner.place.temp_dir,
        }
    }
}

/// Looks at every segment that has had an owner, in ascending order.
///
/// # Errors
/// When the broker or the journal cannot be asked.
pub async fn look(broker: &Broker, journal: &Journal) -> Result<Vec<SegmentReport>, FactsError> {
    let segments = journal.owned_segments().await?;
    stream::iter(segments)
        .map(|one| async move {
            let number = one.segment;
            let Some((owner, _)) = journal.owner(number).await? else { return Ok(None) };
            let is_held = broker.is_locked(number).await?;
            let jobs = journal.segment_index(number).await?.entries.len();
            Ok::<_, FactsError>(Some(SegmentReport::of(owner, is_held, jobs)))
        })
        .buffered(CONCURRENCY)
        .try_filter_map(|report| async move { Ok(report) })
        .try_collect()
        .await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::Place;

    #[test]
    fn a_segment_is_held_free_or_left() {
        let at = "2026-03-02T09:15:03.5Z".parse().unwrap();
        let state = |is_held, released: bool| {
            let place = Place { host: "h".into(), engine: "e".into(), temp_dir: "/t".into() };
            let owner = OwnerRecord {
                segment: 3,
                epoch: 7,
                worker: "w-1".to_owned(),
                place,
                claimed_at: at,
                lease_seconds: 15,
                regained_at: None,
                released_at: released.then_some(at),
            };
            SegmentReport::of(owner, is_held, 2).state.as_str()
        };
        assert_eq!((state(true, false), state(true, true)), ("held", "held"));
        assert_eq!((state(false, false), state(false, true)), ("free", "left"));
    }
}
