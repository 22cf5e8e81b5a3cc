//! Removes results and artifacts that are older than a number of days. One worker of a namespace does it,
//! once a day, a bounded piece at a time.
//!
//! The bucket may hold what other programs put there. Only keys that a run writes are looked at.

use std::collections::HashMap;

use jiff::Timestamp;

use crate::job::{JobId, RunId};
use crate::storage::{
    Bucket, Failures, Journal, JournalError, Listed, ObjectStore, Pass, RecordState, Retention,
    Swept, Turn, oldest_kept, probe,
};

/// How long each kind is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResultRetention {
    /// Results, whole outputs, and the rows and tables of sweeps, in days.
    pub results: u32,
    /// Artifacts, in days.
    pub artifacts: u32,
    /// How many keys are checked in one pass.
    pub max_keys: usize,
}

/// What a pass did with each kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SweptResults {
    /// Results, whole outputs, and the rows and tables of sweeps.
    pub results: Swept,
    /// Artifacts.
    pub artifacts: Swept,
}

/// What a key says about its object.
#[derive(Debug, PartialEq, Eq)]
enum Kind {
    Result,
    /// A part of the rows of a sweep, which may still run.
    Rows(JobId, RunId),
    Artifact,
}

/// Removes what is too old. For a daily pass, it takes the turn of the day of `now`, if it is free.
/// `None`: another worker has the turn, or takes it over.
///
/// # Errors
/// If the store fails again and again. The rest is left for the next pass.
pub async fn sweep_results(
    pass: Pass,
    store: &dyn ObjectStore,
    journal: &Journal,
    namespace: &str,
    retention: ResultRetention,
    now: Timestamp,
) -> Result<Option<SweptResults>, JournalError> {
    let (key, day) = (format!("{namespace}/result-retention.json"), now.strftime("%Y%m%d"));
    let Some(mut turn) = Turn::begin(pass, store, key, day.to_string()).await? else {
        return Ok(None);
    };
    let goes = [retention.results, retention.artifacts].iter().any(|d| *d != Retention::FOR_EVER);
    if goes && pass.removes() && !probe::conditional_deletes(store, namespace).await? {
        tracing::warn!(
            "RESULT_RETENTION_DAYS and ARTIFACT_RETENTION_DAYS have no effect: the object store ignores If-Match when \
             it deletes, so a job that ends again could lose its new result"
        );
        return Ok(Some(SweptResults::default()));
    }
    let sweep = Sweep {
        pass,
        store,
        results_since: oldest_kept(now, retention.results),
        artifacts_since: oldest_kept(now, retention.artifacts),
    };
    let (mut swept, mut failures) = (SweptResults::default(), Failures::default());
    while let Some(page) = turn.next_page(Bucket::Results, "", retention.max_keys).await? {
        // Asked anew for each page, because a sweep may have ended meanwhile.
        let mut running = HashMap::new();
        for object in &page {
            let Some(kind) = kind_of(&object.key) else { continue };
            let is_artifact = kind == Kind::Artifact;
            let done = sweep.remove_if_old(journal, &mut running, object, kind).await;
            let before = failures.all;
            let done = failures.note("remove an old result", &object.key, done)?;
            let counts = if is_artifact { &mut swept.artifacts } else { &mut swept.results };
            counts.count(object, done.unwrap_or(false));
            counts.failed += failures.all - before;
        }
    }
    Ok(turn.ended(swept))
}

struct Sweep<'a> {
    pass: Pass,
    store: &'a dyn ObjectStore,
    results_since: Timestamp,
    artifacts_since: Timestamp,
}

impl Sweep<'_> {
    async fn remove_if_old(
        &self,
        journal: &Journal,
        running: &mut HashMap<JobId, Option<RunId>>,
        object: &Listed,
        kind: Kind,
    ) -> Result<bool, JournalError> {
        let is_artifact = kind == Kind::Artifact;
        let since = if is_artifact { self.artifacts_since } else { self.results_since };
        let (Some(at), Some(seen)) = (object.written_at, &object.etag) else { return Ok(false) };
        if at >= since {
            return Ok(false);
        }
        if let Kind::Rows(id, run) = kind {
            if !running.contains_key(&id) {
                running.insert(id.clone(), running_of(journal, &id).await?);
            }
            if running.get(&id).is_some_and(|active| active.as_ref() == Some(&run)) {
                return Ok(false);
            }
        }
        if !self.pass.removes() {
            return Ok(true);
        }
        // A job that ends again writes its new result under the same key.
        Ok(self.store.delete_unchanged(Bucket::Results, &object.key, seen).await?)
    }
}

/// The run of a job that goes on, as far as this namespace knows.
async fn running_of(journal: &Journal, id: &JobId) -> Result<Option<RunId>, JournalError> {
    let known = journal.read(id).await?;
    let active = known.filter(|(record, _)| record.state != RecordState::Finished);
    Ok(active.map(|(record, _)| record.run_id))
}

fn kind_of(key: &str) -> Option<Kind> {
    let (id, rest) = key.split_once('/')?;
    let id: JobId = id.parse().ok()?;
    if matches!(rest, "analysis.json" | "logs.txt") {
        return Some(Kind::Result);
    }
    let (run, rest) = rest.split_once('/')?;
    let run: RunId = run.parse().ok()?;
    match rest {
        "sweep.jsonl" | "sweep.csv" => Some(Kind::Result),
        // Those of a bot that goes on are written again and again, so they do not get old.
        _ if rest.starts_with("series/") => Some(Kind::Result),
        _ if rest.starts_with("sweep/") => Some(Kind::Rows(id, run)),
        _ if rest.starts_with("artifacts/") => Some(Kind::Artifact),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use jiff::SignedDuration;

    use super::*;
    use crate::storage::{Condition, DirectoryStore, JobRecord};

    #[test]
    fn only_what_a_run_writes_is_a_result() {
        let rows = Kind::Rows("bot-1".parse().unwrap(), "run-1".parse().unwrap());
        for (key, kind) in [
            ("bot-1/analysis.json", Some(Kind::Result)),
            ("bot-1/logs.txt", Some(Kind::Result)),
            ("bot-1/run-1/sweep.csv", Some(Kind::Result)),
            ("bot-1/run-1/sweep/0000000-0000009.1.ab.jsonl", Some(rows)),
            ("bot-1/run-1/series/1.jsonl", Some(Kind::Result)),
            ("bot-1/run-1/artifacts/a/b.png", Some(Kind::Artifact)),
            ("bot-1/notes.txt", None),
            ("bot-1/run-1/other/x", None),
            ("analysis.json", None),
            ("a b/analysis.json", None),
        ] {
            assert_eq!(kind_of(key), kind, "{key}");
        }
    }

    #[tokio::test]
    async fn what_is_too_old_goes_but_for_the_rows_of_a_sweep_that_runs() {
        let root = tempfile::tempdir().unwrap();
        let store: Arc<dyn ObjectStore> = Arc::new(DirectoryStore::new(root.path()));
        store.ensure_buckets().await.unwrap();
        let journal = Journal::new(Arc::clone(&store), "ns".to_owned());
        let active: JobRecord = serde_json::from_value(serde_json::json!({
            "id": "sweep-1", "run_id": "run-1", "segment": 1, "state": "active", "attempt": 1,
            "claimed_at": "2026-03-02T09:15:03Z", "message": { "body": "{}" },
        }))
        .unwrap();
        journal.create(&active).await.unwrap().unwrap();
        let rows = format!("sweep-1/{}/sweep/0000000-0000001.1.ab.jsonl", active.run_id);
        let keys = [
            "bot-1/analysis.json",
            "bot-1/notes.txt",
            "bot-1/run-1/artifacts/plot.png",
            "sweep-1/earlier/sweep/0000000-0000001.1.ab.jsonl",
            &rows,
        ];
        for key in keys {
            let body = "12345".into();
            store.put(Bucket::Results, key, body, "text/plain", Condition::None).await.unwrap();
        }
        let pass = async |pass, results, artifacts, days: i64| {
            let retention = ResultRetention { results, artifacts, max_keys: 1_000 };
            let now = Timestamp::now() + SignedDuration::from_hours(24 * days);
            let swept = sweep_results(pass, &*store, &journal, "ns", retention, now).await;
            let swept = swept.unwrap().unwrap();
            let left = store.list(Bucket::Results, "").await.unwrap();
            (swept.results.removed, swept.artifacts.removed, left.len())
        };
        let never = Retention::FOR_EVER;
        assert_eq!(pass(Pass::Now, 30, 30, 29).await, (0, 0, 5), "they are too young");
        assert_eq!(pass(Pass::Now, never, never, 400).await, (0, 0, 5));
        assert_eq!(pass(Pass::DryRun, 30, 30, 31).await, (2, 1, 5));
        assert_eq!(pass(Pass::Now, never, 30, 31).await, (0, 1, 4));
        assert_eq!(pass(Pass::Daily, 30, never, 31).await, (2, 0, 2));
        assert_eq!(store.list(Bucket::Results, "").await.unwrap(), ["bot-1/notes.txt", &rows]);
    }
}
