//! Stores a container's chunks: one PUT at a time, of bytes that do not change.

use std::sync::Arc;

use tokio::time::timeout;
use tracing::warn;

use super::compact::LOG_TYPE;
use super::key::{Day, LogKey};
use super::shared::{PUT_PATIENCE, permits};
use super::shipper::{Shipper, or_never};
use crate::storage::{Bucket, Condition, StoreError};

impl Shipper {
    /// Begins to store the next chunk, unless one is on its way.
    pub(super) fn launch(&mut self) {
        let Some(chunk) = self.backlog.front().filter(|_| self.put.is_none()) else { return };
        let key = LogKey::Chunk(chunk.day, chunk.range.clone()).key(&self.source.job);
        let (shared, bytes, size) = (Arc::clone(&self.shared), chunk.bytes(), chunk.size());
        self.put = Some(Box::pin(async move {
            let _permits = shared.puts.acquire_many(permits(size)).await;
            let bytes = bytes.await.map_err(|error| format!("read waiting lines: {error}"))?;
            let put = shared.store.put(Bucket::Logs, &key, bytes, LOG_TYPE, Condition::Absent);
            match timeout(PUT_PATIENCE, put).await {
                // The name says which frames it has, so this is our own PUT, whose answer was lost.
                Ok(Ok(_) | Err(StoreError::ConditionFailed { .. })) => Ok(()),
                Ok(Err(error)) => Err(error.to_string()),
                Err(_) => Err(format!("no answer in {} seconds", PUT_PATIENCE.as_secs())),
            }
        }));
    }

    /// Waits for the chunk on its way, if there is one. Returns whether it was stored.
    pub(super) async fn await_put(&mut self) -> bool {
        let stored = or_never(self.put.as_mut()).await;
        let well = stored.is_ok();
        self.put_done(stored);
        well
    }

    pub(super) fn put_done(&mut self, stored: Result<(), String>) {
        self.put = None;
        match stored {
            Ok(()) => {
                self.store_failure = None;
                if let Some(day) = self.note_stored() {
                    self.pulse.stored_on(day);
                }
                self.launch();
            }
            Err(reason) => self.note_store_failure(&reason),
        }
    }

    /// Forgets the chunk to store next, which is stored, and counts it. Gives its day.
    pub(super) fn note_stored(&mut self) -> Option<Day> {
        let chunk = self.backlog.stored()?;
        self.shared.metrics.stored_log(chunk.size());
        self.days.insert(chunk.day);
        Some(chunk.day)
    }

    pub(super) fn note_store_failure(&mut self, reason: &str) {
        if self.store_failure.is_none() {
            warn!(job.id = %self.source.job, run.id = %self.source.run, reason, "could not store log lines; trying again");
        }
        self.store_failure = Some(reason.to_owned());
    }

    /// Moves sealed chunks to the backlog. While chunks cannot be stored, those that do not fit are
    /// dropped if they `may_drop`.
    pub(super) async fn stow(&mut self, may_drop: bool) {
        while let Some(chunk) = self.cutter.take() {
            self.backlog.push(chunk, may_drop).await;
        }
    }

    pub(super) fn is_storing(&self) -> bool {
        self.put.is_some()
    }
}
