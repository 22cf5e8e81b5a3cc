//! What is counted of a sweep's rows: how many there are of each verdict, the best ones, the rate.

use std::cmp::Ordering;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use crate::job::Verdict;
use crate::job::sweep::{Best, BestSoFar, Goal, SweepProgress, SweepRow, SweepSummary};

/// Over how many looks the rate is taken. There is a look each second.
const LOOKS: usize = 10;

/// What is counted of the rows so far.
#[derive(Debug)]
pub(super) struct Tally {
    total: u64,
    done: u64,
    failed: u64,
    verdicts: BTreeMap<String, u64>,
    best: Option<Best>,
    /// Value and number of the best rows, the best first.
    ranked: Vec<(Option<f64>, u64)>,
    looks: VecDeque<(Instant, u64)>,
    /// Why the first of those that failed did so.
    first_failure: Option<(u64, String)>,
}

impl Tally {
    /// Of a sweep with so many configs.
    pub(super) fn new(total: u64, best: Option<Best>) -> Self {
        Self {
            total,
            done: 0,
            failed: 0,
            verdicts: BTreeMap::new(),
            best,
            ranked: Vec::new(),
            looks: VecDeque::new(),
            first_failure: None,
        }
    }

    /// Counts a row.
    pub(super) fn add(&mut self, row: &SweepRow) {
        self.done += 1;
        *self.verdicts.entry(row.verdict.as_str().to_owned()).or_default() += 1;
        if row.verdict != Verdict::Succeeded {
            self.failed += 1;
            if self.first_failure.as_ref().is_none_or(|(index, _)| row.index < *index) {
                self.first_failure = Some((row.index, row.message.clone()));
            }
            return;
        }
        let Some(best) = &self.best else { return };
        let result = row.result.as_ref();
        let result = result.and_then(|text| serde_json::from_str::<Value>(text.as_str()).ok());
        let value = result.as_ref().and_then(|result| best.by.find(result)).and_then(Value::as_f64);
        let entry = (value, row.index);
        let at = self.ranked.partition_point(|other| order(best.goal, other, &entry).is_lt());
        if at < best.keep {
            self.ranked.insert(at, entry);
            self.ranked.truncate(best.keep);
        }
    }

    /// Value and number of the best rows, the best first.
    pub(super) fn ranked(&self) -> &[(Option<f64>, u64)] {
        &self.ranked
    }

    /// Number and message of the first config that did not succeed.
    pub(super) fn first_failure(&self) -> Option<(u64, &str)> {
        self.first_failure.as_ref().map(|(index, message)| (*index, message.as_str()))
    }

    /// How far the sweep is. Call it about once a second.
    pub(super) fn progress(&mut self, now: Instant) -> SweepProgress {
        self.looks.push_back((now, self.done));
        if self.looks.len() > LOOKS {
            self.looks.pop_front();
        }
        let per_second = self.looks.front().map_or(0.0, |(then, before)| {
            let seconds = now.duration_since(*then).max(Duration::from_millis(1)).as_secs_f64();
            if self.looks.len() > 1 { float(self.done - before) / seconds } else { 0.0 }
        });
        let left = float(self.total.saturating_sub(self.done));
        let best = self
            .ranked
            .first()
            .and_then(|(value, index)| Some(BestSoFar { index: *index, value: (*value)? }));
        SweepProgress {
            done: self.done,
            failed: self.failed,
            total: self.total,
            per_second: (per_second * 10.0).round() / 10.0,
            seconds_left: (per_second > 0.0).then(|| (left / per_second).round()),
            best,
        }
    }

    /// What the result event says, without the best rows.
    pub(super) fn summary(&self) -> SweepSummary {
        let (total, done, failed) = (self.total, self.done, self.failed);
        SweepSummary { total, done, failed, verdicts: self.verdicts.clone(), best: Vec::new() }
    }
}

/// The better one is less. Of equal values the lower number comes first; missing ones come last.
fn order(goal: Goal, a: &(Option<f64>, u64), b: &(Option<f64>, u64)) -> Ordering {
    let by_value = match (a.0, b.0) {
        (Some(a), Some(b)) if goal == Goal::Max => b.total_cmp(&a),
        (Some(a), Some(b)) => a.total_cmp(&b),
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (None, None) => Ordering::Equal,
    };
    by_value.then(a.1.cmp(&b.1))
}

#[allow(clippy::cast_precision_loss, reason = "for people")]
fn float(number: u64) -> f64 {
    number as f64
}
