//! The end of a container's output: the last chunks, the whole output, the daily log.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};
use tracing::warn;

use super::compact::{LOG_TYPE, compact_run};
use super::handle::LogSummary;
use super::key::daily_key;
use super::shipper::Shipper;
use crate::storage::Bucket;

/// The pause after a failed attempt to store the last chunks: at first, and at most.
const PAUSES: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(5));

impl Shipper {
    /// Everything that is done once the output has ended.
    pub(super) async fn settle(mut self, deadline: Instant) -> LogSummary {
        let left = deadline.saturating_duration_since(Instant::now());
        self.drain(deadline - left / 2).await;
        let output_key = self.store_output(deadline).await;
        if self.cutter.is_idle() && self.first.is_some() {
            self.compact(deadline).await;
        }
        self.summary(output_key)
    }

    /// Stores the chunks that are left, again and again until `deadline`.
    pub(super) async fn drain(&mut self, deadline: Instant) {
        let mut pause = PAUSES.0;
        let work = async {
            loop {
                self.cutter.seal();
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
        // That the time is over shows in what is left.
        let _in_time = timeout_at(deadline, work).await;
    }

    async fn store_output(&mut self, deadline: Instant) -> Option<String> {
        let file = self.output.file().await?;
        let key = format!("{}/logs.txt", self.source.job);
        let upload = self.shared.store.upload(Bucket::Results, &key, &file, LOG_TYPE);
        let failure = match timeout_at(deadline, upload).await {
            Ok(Ok(())) => return Some(key),
            Ok(Err(error)) => error.to_string(),
            Err(_) => "there was no time left".to_owned(),
        };
        warn!(job = %self.source.job, run = %self.source.run, failure, "store the whole output");
        self.output.failure = Some(format!("the whole output could not be stored: {failure}"));
        None
    }

    /// What fails here is not lost: the chunks stay, are read like the daily log, and the next
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
        warn!(job = %self.source.job, run = %self.source.run, failure, "compact the log");
    }

    pub(super) fn summary(self, output_key: Option<String>) -> LogSummary {
        let waiting = self.cutter.waiting();
        let because = |what: String| match &self.store_failure {
            Some(reason) => format!("{what}: {reason}"),
            None => what,
        };
        let dropped = self.cutter.dropped() + waiting;
        let problems = [
            self.read_failure.clone(),
            self.first.is_none().then(|| {
                because("the log was not stored, for where it ends could not be read".to_owned())
            }),
            (dropped > 0).then(|| because(format!("{dropped} lines are missing in the log"))),
            self.output.failure.clone(),
        ];
        let problems: Vec<_> = problems.into_iter().flatten().collect();
        LogSummary {
            lines: self.output.lines,
            bytes: self.output.bytes,
            dropped,
            truncated: self.output.capped,
            output_key,
            log_keys: self.days.iter().map(|day| daily_key(&self.source.job, *day)).collect(),
            degraded: (!problems.is_empty()).then(|| problems.join("; ")),
            tail: self.output.into_tail(),
        }
    }
}
