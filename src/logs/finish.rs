//! The end of a container's output: the last chunks, the whole output, the daily log.

use std::sync::Arc;
use std::time::Duration;

use tempfile::TempPath;
use tokio::time::{Instant, sleep, timeout_at};
use tracing::warn;

use super::compact::{LOG_TYPE, compact_run, store_whole};
use super::handle::LogSummary;
use super::key::daily_key;
use super::shipper::Shipper;
use crate::storage::Bucket;

/// The pause after a failed attempt to store the last chunks: at first, and at most.
const PAUSES: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(5));

impl Shipper {
    /// Everything that happens after the output has ended.
    pub(super) async fn settle(mut self, deadline: Instant) -> LogSummary {
        let spooled = self.output.file().await;
        let upload = self.upload(spooled, deadline);
        let series = self.last_series(deadline);
        let (output_key, (), series) = tokio::join!(upload, self.settle_log(deadline), series);
        if let Some(stored) = series {
            self.series_stored(stored);
        }
        let output_key = output_key.unwrap_or_else(|failure| {
            self.output.failure = Some(failure);
            None
        });
        self.summary(output_key)
    }

    /// Everything that happens if the output is not read to its end, or nobody waits for it.
    pub(super) async fn end_early(&mut self, deadline: Instant) {
        let series = self.last_series(deadline);
        let ((), series) = tokio::join!(self.drain(deadline), series);
        if let Some(stored) = series {
            self.series_stored(stored);
        }
    }

    async fn settle_log(&mut self, deadline: Instant) {
        if self.is_all_at_hand() && self.store_whole(deadline).await {
            return;
        }
        let left = deadline.saturating_duration_since(Instant::now());
        self.drain(deadline - left / 2).await;
        if self.backlog.is_empty() && self.cutter.unsealed_lines() == 0 && self.is_located() {
            self.compact(deadline).await;
        }
    }

    /// Whether nothing is stored yet, and the whole log is one chunk: then it is not stored as a
    /// chunk.
    pub(super) fn is_all_at_hand(&self) -> bool {
        let is_fresh = self.is_first_log && self.days.is_empty() && self.put.is_none();
        self.ended
            && is_fresh
            && self.store_failure.is_none()
            && self.cutter.unsealed_lines() == 0
            && self.backlog.only().is_some()
    }

    /// Stores the log of a short run in one piece. Returns whether that worked. It may fail,
    /// because the usual way is still open.
    async fn store_whole(&mut self, deadline: Instant) -> bool {
        let Some((chunk, bytes)) = self.backlog.only() else { return false };
        let left = deadline.saturating_duration_since(Instant::now());
        let (job, day, range) = (&self.source.job, chunk.day, &chunk.range);
        let is_new = self.source.is_new_job;
        let storing = store_whole(&*self.shared.store, job, day, range, bytes, is_new);
        match timeout_at(deadline - left / 2, storing).await {
            Ok(Ok(true)) => {
                self.note_stored();
                true
            }
            Ok(Err(error)) => {
                self.note_store_failure(&error.to_string());
                false
            }
            Ok(Ok(false)) | Err(_) => false,
        }
    }

    /// Stores the remaining chunks, and retries until `deadline`.
    pub(super) async fn drain(&mut self, deadline: Instant) {
        let mut pause = PAUSES.0;
        let work = async {
            loop {
                self.cutter.seal();
                self.stow(false).await;
                self.backlog.tell_gap(false);
                self.launch();
                if !self.is_storing() {
                    return;
                }
                if !self.await_put().await {
                    sleep(pause).await;
                    pause = (pause * 2).min(PAUSES.1);
                }
            }
        };
        // If time ran out, chunks are left.
        let _in_time = timeout_at(deadline, work).await;
    }

    /// Stores the whole output. Returns its key, or what went wrong.
    fn upload(
        &self,
        file: Option<TempPath>,
        deadline: Instant,
    ) -> impl Future<Output = Result<Option<String>, String>> + use<> {
        let (shared, source) = (Arc::clone(&self.shared), self.source.clone());
        async move {
            let Some(file) = file else { return Ok(None) };
            let key = format!("{}/logs.txt", source.job);
            let upload = shared.store.upload(Bucket::Results, &key, &file, LOG_TYPE);
            let failure = match timeout_at(deadline, upload).await {
                Ok(Ok(())) => return Ok(Some(key)),
                Ok(Err(error)) => error.to_string(),
                Err(_) => "there was no time left".to_owned(),
            };
            warn!(job.id = %source.job, run.id = %source.run, failure, "could not store the whole output");
            Err(format!("the whole output could not be stored: {failure}"))
        }
    }

    /// A failure here loses nothing: the chunks stay, are read like the daily log, and the next
    /// compaction takes them.
    async fn compact(&mut self, deadline: Instant) {
        let work = async {
            let _permit = self.shared.compactions.acquire().await;
            compact_run(&*self.shared.store, &self.source.job, &self.origin).await
        };
        let failure = match timeout_at(deadline, work).await {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error.to_string(),
            Err(_) => "there was no time left".to_owned(),
        };
        warn!(job.id = %self.source.job, run.id = %self.source.run, failure, "could not compact the log");
    }

    pub(super) fn summary(self, output_key: Option<String>) -> LogSummary {
        let waiting = self.cutter.unsealed_lines() + self.backlog.lines();
        let because = |what: String| match &self.store_failure {
            Some(reason) => format!("{what}: {reason}"),
            None => what,
        };
        let dropped = self.backlog.dropped() + waiting;
        let problems = [
            self.read_failure.clone(),
            (!self.is_located()).then(|| {
                because("the log was not stored, for where it ends could not be read".to_owned())
            }),
            (self.gaps > 0)
                .then(|| "the engine had thrown away output before it was read".to_owned()),
            (dropped > 0).then(|| because(format!("{dropped} lines are missing in the log"))),
            self.output.failure.clone(),
        ];
        let problems: Vec<_> = problems.into_iter().flatten().collect();
        let told = self.told_series();
        LogSummary {
            lines: self.output.lines,
            bytes: self.output.bytes,
            dropped,
            truncated: self.output.capped,
            output_key,
            log_keys: self.days.iter().map(|day| daily_key(&self.source.job, *day)).collect(),
            series: told.key.as_ref().map_or_else(Vec::new, |_| self.heard.book.summary()),
            series_key: told.key,
            series_problem: told.problem,
            degraded: (!problems.is_empty()).then(|| problems.join("; ")),
            tail: self.output.into_tail(),
        }
    }
}
