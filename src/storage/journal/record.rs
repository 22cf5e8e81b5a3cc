//! What stands in the journal. Unknown fields are read over: a later version may have written them.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::job::{Event, JobId, RunId};

/// A result that the broker has not confirmed. It is published again until it does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Unconfirmed {
    /// The result event.
    pub event: Event,
    /// The queue that the start message asked to answer to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<String>,
    /// What that answer must carry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<String>,
}

/// What a segment's index says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SegmentIndex {
    /// The jobs that are not settled, by id.
    pub jobs: Vec<JobId>,
    /// The keys of results that the broker has not confirmed.
    pub unconfirmed: Vec<String>,
}

impl SegmentIndex {
    /// Whether nothing is left to do for the segment.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.jobs.is_empty() && self.unconfirmed.is_empty()
    }
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
    /// The segment that owns the run.
    pub segment: u32,
    /// Which ownership of that segment wrote this: see [`OwnerRecord::epoch`].
    #[serde(default)]
    pub epoch: u64,
    /// Where the latest attempt runs, or is to run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<Place>,
    /// Whether the run goes on.
    pub state: RecordState,
    /// Which attempt; the first is 1.
    pub attempt: u32,
    /// The attempt from which tries in a row are counted: none has run since then.
    #[serde(rename = "since", default = "first")]
    pub first_try: u32,
    /// When the run was claimed.
    pub claimed_at: Timestamp,
    /// When the run ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Timestamp>,
    /// The start message, to run it again without the broker.
    pub message: StoredMessage,
    /// The whole result event, once the run has ended: to publish it again as it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<Event>,
}

fn first() -> u32 {
    1
}

/// Where containers and their directories are: whoever is at the same place can take them up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The host, from its start to its next one. An engine's id does not do: hosts that were made
    /// from one image may have it in common.
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
    /// Counts the owners: each has its own. A record of a job that carries an older one was written
    /// by an owner that is none any more.
    pub epoch: u64,
    /// The name of the worker.
    pub worker: String,
    /// Where its containers are.
    pub place: Place,
    /// When it became the owner.
    pub claimed_at: Timestamp,
    /// How long, in seconds, a container may run on without a word from its worker.
    pub lease_seconds: u64,
    /// When the owner last got back the lock that it had lost for a moment: whoever counts how long the
    /// segment has been free begins anew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub regained_at: Option<Timestamp>,
    /// When the owner let the segment go, where it ended well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub released_at: Option<Timestamp>,
}

/// Whether a run goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RecordState {
    /// It is to run, or runs.
    Active,
    /// Our infrastructure failed it; its message is on its way back through a retry queue.
    Waiting,
    /// It has ended.
    Finished,
}

/// A start message as it came. Debugging does not show the body, for secrets are in it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredMessage {
    /// The body, as text.
    pub body: String,
    /// The SHA-256 of that text, in hexadecimal: a start of the same run with another text is not the
    /// same start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body_sha256: Option<String>,
    /// The AMQP property `correlation_id`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<String>,
    /// The AMQP property `reply_to`: where the result goes as well.
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

/// The end of a run whose record has given way to another run's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EndRecord {
    /// The whole result event.
    pub event: Event,
    /// The SHA-256 of the text of its start message, in hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body_sha256: Option<String>,
}

/// The word that a job is to stop. It outlives the stop message, so that a start that comes later
/// finds it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tombstone {
    /// The job.
    pub id: JobId,
    /// The run that is meant; any where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_id: Option<RunId>,
    /// Why, for the result.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// When it was asked for: it holds for start messages older than this.
    pub at: Timestamp,
}
