//! What programs measured: the series of a run, over its attempts.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use super::FactsError;
use crate::job::series::{
    At, PROGRESS_SERIES, Point, SeriesSummary, attempt_of, read_points, series_prefix,
};
use crate::job::{JobId, RunId};
use crate::storage::{Bucket, Journal, ObjectStore, StoreError};

/// Of how many attempts the series are read, the newest.
const MAX_ATTEMPTS: usize = 10;

/// The series of a run.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct SeriesList {
    /// The run.
    pub run_id: RunId,
    /// Its series, in the order in which they began.
    pub series: Vec<SeriesReport>,
    /// How many older attempts are not among them.
    pub attempts_left_out: usize,
}

/// One series.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct SeriesReport {
    /// Its name.
    pub name: String,
    /// How many points there were, in all attempts.
    pub points: u64,
    /// The newest.
    pub last: f64,
    /// Those that are kept.
    pub values: Vec<SeriesPoint>,
}

/// A point of a series.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct SeriesPoint {
    /// The attempt in which it was measured.
    pub attempt: u32,
    /// Its number in that attempt. The first is 0.
    pub n: u64,
    /// What was measured.
    pub value: f64,
    /// Where on its axis it is, if the program said it.
    pub at: Option<At>,
    /// When the engine received it.
    pub time: Timestamp,
    /// What the program said about its progress.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

/// How far a program said that it is.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct LastProgress {
    /// From 0 to 100.
    pub percent: f64,
    /// What it said about it.
    pub text: Option<String>,
    /// When.
    pub at: Timestamp,
}

/// The stored series of a run: of the latest, where none is named. Series of a run that goes on are a
/// little older than what the program says. Refuses objects over `max_bytes`.
///
/// # Errors
/// When journal or store cannot be read, or know no such run.
pub async fn read(
    journal: &Journal,
    store: &dyn ObjectStore,
    id: &JobId,
    run: Option<&RunId>,
    max_bytes: u64,
) -> Result<SeriesList, FactsError> {
    let run = match run {
        Some(run) => run.clone(),
        None => match journal.read(id).await? {
            Some((record, _)) => record.run_id,
            None => return Err(FactsError::Missing(format!("the journal knows no run of {id}"))),
        },
    };
    Ok(of_run(store, id, run, MAX_ATTEMPTS, max_bytes).await?)
}

/// The stored series of this run, of its newest attempts.
pub(super) async fn of_run(
    store: &dyn ObjectStore,
    id: &JobId,
    run: RunId,
    most: usize,
    max_bytes: u64,
) -> Result<SeriesList, StoreError> {
    let keys = store.list(Bucket::Results, &series_prefix(id, &run)).await?;
    let mut attempts: Vec<_> =
        keys.into_iter().filter_map(|key| Some((attempt_of(&key)?, key))).collect();
    attempts.sort();
    let attempts_left_out = attempts.len().saturating_sub(most);
    let mut series = Vec::new();
    for (attempt, key) in attempts.split_off(attempts_left_out) {
        match store.get(Bucket::Results, &key, max_bytes).await {
            Ok(found) => {
                for point in read_points(&found.bytes) {
                    add(&mut series, attempt, point);
                }
            }
            // It has become too old meanwhile.
            Err(StoreError::NotFound { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(SeriesList { run_id: run, series, attempts_left_out })
}

fn add(series: &mut Vec<SeriesReport>, attempt: u32, point: Point) {
    let Point { name, n, value, at, time, text } = point;
    let index = series.iter().position(|one| one.name == name).unwrap_or_else(|| {
        series.push(SeriesReport { name, points: 0, last: value, values: Vec::new() });
        series.len() - 1
    });
    let one = &mut series[index];
    let before = one.values.last().filter(|last| last.attempt == attempt).map_or(0, |l| l.n + 1);
    one.points += (n + 1).saturating_sub(before);
    one.last = value;
    one.values.push(SeriesPoint { attempt, n, value, at, time, text });
}

impl SeriesList {
    /// Keeps at most so many points of each series, evenly, and always the newest.
    #[must_use]
    pub fn thinned_to(mut self, most: usize) -> Self {
        for one in &mut self.series {
            let step = one.values.len().div_ceil(most.max(1)).max(1);
            let last = one.values.len().saturating_sub(1);
            let mut number = 0;
            one.values.retain(|_| {
                number += 1;
                (last + 1 - number) % step == 0
            });
        }
        self
    }

    /// Each series in short.
    pub(super) fn summary(&self) -> Vec<SeriesSummary> {
        let short = |one: &SeriesReport| SeriesSummary {
            name: one.name.clone(),
            points: one.points,
            last: one.last,
        };
        self.series.iter().map(short).collect()
    }

    /// How far the program said that it is, at last.
    pub(super) fn progress(&self) -> Option<LastProgress> {
        let series = self.series.iter().find(|one| one.name == PROGRESS_SERIES)?;
        let last = series.values.last()?;
        Some(LastProgress { percent: last.value, text: last.text.clone(), at: last.time })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::{Condition, DirectoryStore};

    #[tokio::test]
    async fn the_series_of_all_attempts_follow_each_other() {
        let root = tempfile::tempdir().unwrap();
        let store = DirectoryStore::new(root.path());
        store.ensure_buckets().await.unwrap();
        let (id, run): (JobId, RunId) = ("bot-1".parse().unwrap(), "r".parse().unwrap());
        for attempt in 1..=11_u32 {
            let line = |n: u32| {
                format!(
                    "{{\"name\":\"x\",\"n\":{n},\"value\":{attempt},\"time\":\"2026-03-02T09:15:03Z\"}}\n"
                )
            };
            let text = line(0)
                + &line(2)
                + "{\"name\":\"progress\",\"n\":0,\"value\":40.5,\"time\":\"2026-03-02T09:15:03Z\",\"text\":\"half\"}\n";
            let key = crate::job::series::series_key(&id, &run, attempt);
            let put = store.put(Bucket::Results, &key, text.into(), "x", Condition::None);
            put.await.unwrap();
        }
        let list = of_run(&store, &id, run, MAX_ATTEMPTS, 1 << 20).await.unwrap();
        assert_eq!((list.series.len(), list.attempts_left_out), (2, 1));
        let x = &list.series[0];
        assert_eq!((x.name.as_str(), x.points, x.values.len()), ("x", 30, 20));
        assert!(
            x.values.is_sorted_by_key(|point| point.attempt),
            "the tenth is not before the second"
        );
        let progress = list.progress().unwrap();
        assert_eq!((progress.percent, progress.text.as_deref()), (40.5, Some("half")));
        let thinned = list.thinned_to(7);
        let attempts: Vec<_> = thinned.series[0].values.iter().map(|p| (p.attempt, p.n)).collect();
        assert_eq!(attempts.len(), 7);
        assert_eq!(attempts.last(), Some(&(11, 2)), "the newest stays");
    }
}
