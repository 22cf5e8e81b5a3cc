//! What is there when all is over: read from the store, the broker, the engines and the workers'
//! logs.

use std::collections::BTreeMap;

use lapin::message::Delivery;
use lapin::options::{BasicGetOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{Connection, ConnectionProperties};
use longshore::broker::{Inbox, Topology};
use longshore::job::RunId;
use longshore::storage::{Bucket, ObjectStore as _};
use serde_json::Value;

use super::crew::Shift;
use super::plan::{PlannedJob, Work};
use super::programs::STAMP;
use super::stage::Stage;
use super::states::Kept;
use super::watch::Lives;
use super::wire::reason;
use longshore_testing::events::Seen;

/// The largest object that is read, in bytes.
const MAX_OBJECT_BYTES: u64 = 256 * 1024 * 1024;

/// Segments whose mailboxes are looked at: as many as there can be.
const SEGMENTS: u32 = 16;

/// The steps of back-off of every worker, in milliseconds.
const RETRY_STEPS_MS: [u32; 3] = [1000, 2000, 4000];

/// A job as it was published.
#[derive(Debug, Clone)]
pub(crate) struct Ticket {
    pub(crate) job: PlannedJob,
    pub(crate) id: String,
    pub(crate) message_id: String,
    /// A word that only this job's program has been told.
    pub(crate) token: String,
}

impl Ticket {
    /// Whether a result event is about this run of the job.
    pub(crate) fn is_meant(&self, seen: &Seen) -> bool {
        let run = || RunId::derived(&self.id.parse().unwrap(), &self.message_id);
        // One that is refused has no run.
        let is_refused = self.job.work == Work::IsRefused;
        // Nor has one that could not be noted; the job's other runs have ends of their own.
        let is_unclaimed =
            seen.data()["run_id"].is_null() && seen.data()["verdict"] == "unavailable";
        seen.subject() == Some(&self.id)
            && (is_refused || is_unclaimed || seen.data()["run_id"] == run().as_str())
    }
}

/// What a bot's process said in one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// The process's own word.
    pub(crate) nonce: String,
    /// The first line of a process has 1.
    pub(crate) number: u64,
    /// Its wall clock.
    pub(crate) at_ms: i64,
    /// How far it had counted, if it keeps the count as its state.
    pub(crate) count: Option<u64>,
}

/// Everything that the reckoning looks at.
#[derive(Debug, Default)]
pub(crate) struct Evidence {
    /// Every result event, as often as it came.
    pub(crate) results: Vec<Seen>,
    /// Entries of unsettled jobs in the journal.
    pub(crate) index: Vec<String>,
    /// Records of jobs that are not finished, and their state.
    pub(crate) unfinished: Vec<String>,
    pub(crate) containers: Vec<String>,
    pub(crate) directories: Vec<String>,
    /// Queues with messages in them.
    pub(crate) waiting: Vec<String>,
    /// Message id and reason of each dead letter.
    pub(crate) dead: Vec<(String, String)>,
    /// Of each bot, in the order of its log.
    pub(crate) stamps: BTreeMap<String, Vec<Stamp>>,
    /// What was stored of each bot's state, in the order of time.
    pub(crate) kept: BTreeMap<String, Vec<Kept>>,
    /// The text of each artifact, by its key.
    pub(crate) artifacts: BTreeMap<String, String>,
    pub(crate) lives: Lives,
    pub(crate) shifts: Vec<Shift>,
    /// Panics in workers' logs, and workers that did not end well.
    pub(crate) breakdowns: Vec<String>,
}

impl Evidence {
    /// Reads what the servers hold; the workers must have ended.
    pub(crate) async fn gather(stage: &Stage, bots: &[&str], shifts: Vec<Shift>) -> Self {
        let mut stamps = BTreeMap::new();
        for bot in bots {
            stamps.insert((*bot).to_owned(), stamps_in(&log_of(stage, bot).await));
        }
        let directories = stage.directories();
        let url = stage.broker.url();
        let connection = Connection::connect(&url, ConnectionProperties::default()).await.unwrap();
        let breakdowns = shifts.iter().flat_map(panics_in).collect();
        Self {
            results: Vec::new(),
            index: index(stage).await,
            unfinished: unfinished(stage).await,
            containers: stage.containers().await,
            directories: directories.iter().map(|path| path.display().to_string()).collect(),
            waiting: waiting(&connection, stage).await,
            dead: dead_letters(&connection, stage).await,
            stamps,
            kept: BTreeMap::new(),
            artifacts: artifacts(stage).await,
            lives: Lives::default(),
            shifts,
            breakdowns,
        }
    }
}

/// The journal's entries of unsettled jobs.
pub(crate) async fn index(stage: &Stage) -> Vec<String> {
    let prefix = format!("{}/segments/", stage.namespace);
    let keys = stage.store.list(Bucket::State, &prefix).await.unwrap();
    // Jobs' names begin with the namespace; what else is there is about the segment itself.
    let is_job = |key: &String| {
        let name = key.rsplit('/').next().unwrap_or_default();
        name.starts_with(&stage.namespace)
    };
    keys.into_iter().filter(is_job).collect()
}

async fn unfinished(stage: &Stage) -> Vec<String> {
    let prefix = format!("{}/jobs/", stage.namespace);
    let mut open = Vec::new();
    for key in stage.store.list(Bucket::State, &prefix).await.unwrap() {
        let record = read(stage, Bucket::State, &key).await;
        let record: Value = serde_json::from_str(&record).unwrap();
        if record["state"] != "finished" {
            open.push(format!("{key}: {}", record["state"]));
        }
    }
    open
}

async fn artifacts(stage: &Stage) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for key in stage.store.list(Bucket::Results, &stage.namespace).await.unwrap() {
        if key.contains("/artifacts/") {
            let text = read(stage, Bucket::Results, &key).await;
            found.insert(key, text);
        }
    }
    found
}

async fn log_of(stage: &Stage, bot: &str) -> String {
    let mut all = String::new();
    for key in stage.store.list(Bucket::Logs, &format!("logs/{bot}/")).await.unwrap() {
        all.push_str(&read(stage, Bucket::Logs, &key).await);
    }
    all
}

async fn read(stage: &Stage, bucket: Bucket, key: &str) -> String {
    let object = stage.store.get(bucket, key, MAX_OBJECT_BYTES).await.unwrap();
    String::from_utf8(object.bytes.to_vec()).unwrap()
}

fn stamps_in(log: &str) -> Vec<Stamp> {
    let parse = |line: &str| {
        let (_, said) = line.split_once(STAMP)?;
        let mut words = said.split_whitespace();
        let nonce = words.next()?.to_owned();
        let number = words.next()?.parse().ok()?;
        let at_ms = words.next()?.parse().ok()?;
        let count = words.next().and_then(|word| word.parse().ok());
        Some(Stamp { nonce, number, at_ms, count })
    };
    log.lines().filter_map(parse).collect()
}

async fn waiting(connection: &Connection, stage: &Stage) -> Vec<String> {
    let topology = Topology::new(&stage.namespace, &[]);
    let inboxes = Inbox::SHARED
        .into_iter()
        .chain([Inbox::Undelivered])
        .chain((0..SEGMENTS).map(Inbox::Mailbox));
    let retries = RETRY_STEPS_MS.map(|step| format!("{}.retry.{step}ms", stage.namespace));
    let mut waiting = Vec::new();
    for queue in inboxes.map(|inbox| topology.inbox(inbox)).chain(retries) {
        // A queue that is not there costs its channel.
        let channel = connection.create_channel().await.unwrap();
        let passive = QueueDeclareOptions { passive: true, ..Default::default() };
        let found = channel.queue_declare(queue.as_str().into(), passive, FieldTable::default());
        if let Ok(found) = found.await
            && found.message_count() > 0
        {
            waiting.push(format!("{queue}: {}", found.message_count()));
        }
    }
    waiting
}

async fn dead_letters(connection: &Connection, stage: &Stage) -> Vec<(String, String)> {
    let queue = Topology::new(&stage.namespace, &[]).dead();
    let channel = connection.create_channel().await.unwrap();
    let message_id = |delivery: &Delivery| {
        let id = delivery.properties.message_id().as_ref();
        id.map(ToString::to_string).unwrap_or_default()
    };
    let mut dead = Vec::new();
    let options = BasicGetOptions { no_ack: true };
    while let Some(got) = channel.basic_get(queue.as_str().into(), options).await.unwrap() {
        dead.push((message_id(&got.delivery), reason(&got.delivery)));
    }
    dead
}

fn panics_in(shift: &Shift) -> Vec<String> {
    let log = std::fs::read_to_string(&shift.log).unwrap_or_default();
    let lines = log.lines().filter(|line| line.contains("panicked at"));
    lines.map(|line| format!("{}: {line}", shift.log.display())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_are_read_from_the_lines_of_a_stored_log() {
        let log = "2026-11-26T10:00:00.000000000Z stdout stamp ab12 7 1795687200123\n\
                   2026-11-26T10:00:00.000000000Z stderr something else\n\
                   2026-11-26T10:00:00.000000000Z stdout stamp ab12 8 1795687200123 42\n";
        let stamp = |number, count| Stamp {
            nonce: "ab12".to_owned(),
            number,
            at_ms: 1_795_687_200_123,
            count,
        };
        assert_eq!(stamps_in(log), [stamp(7, None), stamp(8, Some(42))]);
    }
}
