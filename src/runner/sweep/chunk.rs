//! Chunks of rows in the store: what they are called, and how they are read again. A chunk never
//! changes: its name depends on its content, and it is only written where there is none.

use std::collections::HashMap;

use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use crate::job::{Job, Run, Verdict};
use crate::runner::site::Site;
use crate::storage::{Bucket, Condition, StoreError};

/// The type of JSON Lines.
pub(super) const LINES_TYPE: &str = "application/jsonl";

/// A chunk has no more than this, in bytes, unless a single row has.
pub(super) const MAX_CHUNK_BYTES: usize = 1 << 20;

/// Rows in the order in which they came.
#[derive(Debug, Clone)]
pub(super) struct Chunk {
    key: String,
    bytes: Bytes,
    /// How many of its rows have each verdict.
    verdicts: HashMap<Verdict, u64>,
}

impl Chunk {
    /// The rows `first` to `last` of an attempt, though perhaps not all that are between.
    pub(super) fn new(
        run: &Run,
        (first, last): (u64, u64),
        text: Vec<u8>,
        verdicts: HashMap<Verdict, u64>,
    ) -> Self {
        let hash = hex::encode(&Sha256::digest(&text)[..6]);
        let (folder, attempt) = (folder(&run.job), run.attempt);
        let key = format!("{folder}{first:07}-{last:07}.{attempt}.{hash}.jsonl");
        Self { key, bytes: text.into(), verdicts }
    }

    /// Stores it.
    pub(super) async fn store(&self, site: &Site) -> Result<(), StoreError> {
        let (key, bytes) = (&self.key, self.bytes.clone());
        let stored = site.store.put(Bucket::Results, key, bytes, LINES_TYPE, Condition::Absent);
        match stored.await {
            // An earlier try, whose answer did not come: the name says that the content is the same.
            Ok(_) | Err(StoreError::ConditionFailed { .. }) => {}
            Err(error) => return Err(error),
        }
        for (verdict, count) in &self.verdicts {
            site.metrics.sweep_rows(*verdict, *count);
        }
        Ok(())
    }
}

/// Where the chunks of a run are.
fn folder(job: &Job) -> String {
    format!("{}/{}/sweep/", job.id, job.run_id)
}

/// The keys of a run's chunks.
pub(super) async fn list(site: &Site, run: &Run) -> Result<Vec<String>, StoreError> {
    site.store.list(Bucket::Results, &folder(&run.job)).await
}

/// The rows of a chunk.
pub(super) async fn read(site: &Site, run: &Run, key: &str) -> Result<Bytes, StoreError> {
    let sweep = run.job.sweep.as_ref();
    let most = sweep.map_or(0, |sweep| sweep.bounds.max_bytes.saturating_mul(2));
    // A single row can be larger than a chunk should be.
    let most = most.max(2 * MAX_CHUNK_BYTES as u64);
    Ok(site.store.get(Bucket::Results, key, most).await?.bytes)
}
