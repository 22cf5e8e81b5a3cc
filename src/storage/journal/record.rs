//! The records of the journal. Unknown fields are ignored: a later version may have written them.

use std::fmt;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::job::{Event, JobId, RunId};
use crate::storage::ETag;

/// A result that the broker has not confirmed. It is published again until it does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Unconfirmed {
    /// The result event.
    pub event: Event,
    /// The queue to which the start message wants an answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<String>,
    /// The correlation id of that answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<String>,
}

/// The entries of a segment's index.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SegmentIndex {
    /// The claims that are not settled, in the order of the jobs' ids.
    pub entries: Vec<IndexEntry>,
    /// The keys of results that the broker has not confirmed.
    pub unconfirmed: Vec<String>,
}

impl SegmentIndex {
    /// Whether nothing is left to do for the segment.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.unconfirmed.is_empty()
    }
}

/// What is in the place of a job's record.
#[derive(Debug, Clone, PartialEq)]
pub enum Seen {
    /// Nothing: neither a start nor a stop of the job has come.
    Nothing,
    /// The mark that only a stop of the job has come, in this version.
    Stopped(ETag),
    /// The record, in this version.
    Record(Box<JobRecord>, ETag),
}

impl Seen {
    /// The record.
    #[must_use]
    pub fn record(&self) -> Option<&JobRecord> {
        match self {
            Self::Record(record, _) => Some(record),
            Self::Nothing | Self::Stopped(_) => None,
        }
    }

    /// The version of what is there.
    #[must_use]
    pub fn version(&self) -> Option<&ETag> {
        match self {
            Self::Record(_, version) | Self::Stopped(version) => Some(version),
            Self::Nothing => None,
        }
    }
}

/// A claim of a job in a segment's index. Each claim has an entry of its own. So entering one says nothing
/// about earlier ones, and removing one never takes another's.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IndexEntry {
    /// The job.
    pub job: JobId,
    /// Which claim: see [`JobRecord::claim`].
    pub claim: Uuid,
}

/// The record of a job's latest run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JobRecord {
    /// The job.
    pub id: JobId,
    /// Its run.
    pub run_id: RunId,
    /// The `message_id` of the start message: the run's identity across redeliveries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message_id: Option<String>,
    /// The claim that wrote the first record of this run, or of its latest try that came back through the
    /// broker. The index of the segment has it until the run is settled.
    #[serde(default)]
    pub claim: Uuid,
    /// The segment that owns the run.
    pub segment: u32,
    /// The epoch of the owner that wrote this: see [`OwnerRecord::epoch`].
    #[serde(default)]
    pub epoch: u64,
    /// Where the latest attempt runs, or will run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<Place>,
    /// Whether the run goes on.
    pub state: RecordState,
    /// Which attempt; the first is 1.
    pub attempt: u32,
    /// The attempt from which tries in a row count: none has run since then.
    #[serde(rename = "since", default = "first")]
    pub first_try: u32,
    /// When the run was claimed.
    pub claimed_at: Timestamp,
    /// When the run ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Timestamp>,
    /// The start message, to run it again without the broker.
    pub message: StoredMessage,
    /// The whole result event, once the run has ended, to publish it again unchanged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<Event>,
}

impl JobRecord {
    /// Its entry in the index of its segment.
    #[must_use]
    pub fn entry(&self) -> IndexEntry {
        IndexEntry { job: self.id.clone(), claim: self.claim }
    }
}

fn first() -> u32 {
    1
}

/// Where containers and their directories are. A worker at the same place can adopt them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The host, from one boot to the next. An engine's id is not enough: hosts that were made from
    /// one image may share it.
    pub host: String,
    /// The engine's own id.
    pub engine: String,
    /// The directory of the jobs' directories on its host.
    pub temp_dir: String,
}

/// Who owns a segment, or owned it last. It is never removed: its epoch only grows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnerRecord {
    /// The segment.
    pub segment: u32,
    /// Counts the owners; each has its own number. A record of a job with a lower number was
    /// written by a former owner.
    pub epoch: u64,
    /// The name of the worker.
    pub worker: String,
    /// Where its containers are.
    pub place: Place,
    /// When it became the owner.
    pub claimed_at: Timestamp,
    /// How long, in seconds, a container may run on without hearing from its worker.
    pub lease_seconds: u64,
    /// When the owner last got back a lock that it had lost for a moment. A worker that waits for
    /// the segment to be free for long enough starts counting again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub regained_at: Option<Timestamp>,
    /// When the owner released the segment, if it ended cleanly.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub released_at: Option<Timestamp>,
}

/// Whether a run goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RecordState {
    /// It will run, or runs.
    Active,
    /// The infrastructure failed. Its message is on its way back through a retry queue.
    Waiting,
    /// It has ended.
    Finished,
}

impl RecordState {
    /// As a word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Waiting => "waiting",
            Self::Finished => "finished",
        }
    }
}

/// A start message as it came. Its debug output leaves out the body, which may contain secrets.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredMessage {
    /// The body, as text.
    pub body: String,
    /// The SHA-256 of that text, in hexadecimal. A start of the same run with another text is
    /// another start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body_sha256: Option<String>,
    /// The AMQP property `correlation_id`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<String>,
    /// The AMQP property `reply_to`: a queue that also gets the result.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<String>,
    /// The AMQP property `timestamp`: when the message was published, to the second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub published_at: Option<Timestamp>,
    /// The header `traceparent`, as W3C Trace Context.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
}

impl fmt::Debug for StoredMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoredMessage")
            .field("bytes", &self.body.len())
            .field("correlation_id", &self.correlation_id)
            .field("reply_to", &self.reply_to)
            .field("published_at", &self.published_at)
            .finish_non_exhaustive()
    }
}

/// The end of a run whose record was replaced by another run's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EndRecord {
    /// The whole result event.
    pub event: Event,
    /// The SHA-256 of the text of its start message, in hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body_sha256: Option<String>,
}

/// The stop of a job. It outlives the stop message, so a start that comes later finds it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Tombstone {
    /// The job.
    pub id: JobId,
    /// The run to stop; any run if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_id: Option<RunId>,
    /// Why, for the result.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// When it was requested. It counts for start messages older than this.
    pub at: Timestamp,
    /// Whether a run has ended by it. It still holds for start messages that say that they are older.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_spent: bool,
}

/// How many runs of a job may have a word of their own that they must stop; beyond, the oldest goes.
const MAX_NAMED_STOPS: usize = 100;

/// The words that a job must stop: one for all its runs, and one for each run that a stop names.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stops {
    /// The words, in the order in which they were noted.
    pub stops: Vec<Tombstone>,
}

impl Stops {
    /// Adds a word. Of two about the same run, or about all, the later one counts.
    pub fn note(&mut self, stop: &Tombstone) {
        if let Some(same) = self.stops.iter_mut().find(|one| one.run_id == stop.run_id) {
            if stop.at >= same.at {
                *same = stop.clone();
            }
            return;
        }
        self.stops.push(stop.clone());
        let named = self.stops.iter().filter(|one| one.run_id.is_some()).count();
        let oldest = self.stops.iter().position(|one| one.run_id.is_some());
        if let Some(oldest) = oldest.filter(|_| named > MAX_NAMED_STOPS) {
            self.stops.remove(oldest);
        }
    }

    /// Notes that a run has ended by the words about it.
    pub fn spend(&mut self, run: &RunId) {
        let about = |one: &&mut Tombstone| one.run_id.as_ref().is_none_or(|named| named == run);
        for stop in self.stops.iter_mut().filter(about) {
            stop.is_spent = true;
        }
    }
}
