//! What is stored of the bots' states, read again and again while a round goes on.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use jiff::Timestamp;
use longshore::storage::{Bucket, ObjectStore as _, S3Store};
use serde_json::Value;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

/// Time between two looks.
const INTERVAL: Duration = Duration::from_secs(1);

/// How long a look may take: the store may be away.
const PATIENCE: Duration = Duration::from_secs(2);

/// The largest record that is read, in bytes.
const MAX_RECORD_BYTES: u64 = 1024 * 1024;

/// A bot's stored count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Kept {
    /// When it had been read.
    pub(crate) at_ms: i64,
    pub(crate) epoch: u64,
    pub(crate) count: u64,
}

/// Looks until `done`.
pub(crate) async fn watch(
    store: &S3Store,
    namespace: &str,
    bots: &[String],
    found: &Mutex<BTreeMap<String, Vec<Kept>>>,
    done: CancellationToken,
) {
    while done.run_until_cancelled(sleep(INTERVAL)).await.is_some() {
        for bot in bots {
            if let Ok(Some(kept)) = timeout(PATIENCE, kept(store, namespace, bot)).await {
                found.lock().unwrap().entry(bot.clone()).or_default().push(kept);
            }
        }
    }
}

/// What is stored of a bot now, if anything is and the store says so.
pub(crate) async fn kept(store: &S3Store, namespace: &str, bot: &str) -> Option<Kept> {
    let key = format!("{namespace}/state/{bot}.json");
    let record = store.get(Bucket::State, &key, MAX_RECORD_BYTES).await.ok()?;
    let record: Value = serde_json::from_slice(&record.bytes).unwrap();
    let count = record["value"]["n"].as_u64().unwrap_or_default();
    let at_ms = Timestamp::now().as_millisecond();
    Some(Kept { at_ms, epoch: record["epoch"].as_u64().unwrap(), count })
}
