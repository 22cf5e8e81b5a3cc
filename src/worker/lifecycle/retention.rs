//! This worker's share in removing what is old: logs, results, and records of the journal.

use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::logs;
use crate::metrics::Metrics;
use crate::runner::{ResultRetention, SweptResults, sweep_results};
use crate::settings::Settings;
use crate::storage::{Journal, ObjectStore, Pass, Retention, Swept};

/// How often a worker checks whether a new day has begun that no worker has taken.
const LOOK: Duration = Duration::from_hours(1);

/// Removes what is old when it is this worker's turn, until `closing`. Does nothing about what is kept for
/// ever.
pub(in crate::worker) fn serve(
    tasks: &TaskTracker,
    store: &Arc<dyn ObjectStore>,
    settings: &Settings,
    metrics: &Metrics,
    closing: &CancellationToken,
) {
    let namespace = settings.broker.namespace.clone();
    let journal = Journal::new(Arc::clone(store), namespace.clone());
    let worker = &settings.worker;
    if let Some(days) = worker.record_retention_days {
        let retention = Retention { days, max_keys: worker.record_retention_keys };
        let (journal, metrics) = (journal.clone(), metrics.clone());
        spawn(tasks, closing, async move {
            loop {
                let swept = journal.sweep(Pass::Daily, retention, Timestamp::now()).await;
                told(&metrics, "records", swept);
                sleep(LOOK).await;
            }
        });
    }
    if let Some(days) = settings.logs.retention_days {
        let retention = Retention { days, max_keys: settings.logs.retention_keys };
        let (store, journal) = (Arc::clone(store), journal.clone());
        let (namespace, metrics) = (namespace.clone(), metrics.clone());
        spawn(tasks, closing, async move {
            loop {
                let now = Timestamp::now();
                let swept = logs::sweep(Pass::Daily, &*store, &journal, &namespace, retention, now);
                told(&metrics, "logs", swept.await);
                sleep(LOOK).await;
            }
        });
    }
    let days = [worker.result_retention_days, worker.artifact_retention_days];
    if days.iter().any(Option::is_some) {
        let [results, artifacts] = days.map(|days| days.unwrap_or(Retention::FOR_EVER));
        let max_keys = worker.result_retention_keys;
        let retention = ResultRetention { results, artifacts, max_keys };
        let (store, metrics) = (Arc::clone(store), metrics.clone());
        spawn(tasks, closing, async move {
            loop {
                let now = Timestamp::now();
                let swept =
                    sweep_results(Pass::Daily, &*store, &journal, &namespace, retention, now);
                told_of_results(&metrics, swept.await);
                sleep(LOOK).await;
            }
        });
    }
}

fn spawn(
    tasks: &TaskTracker,
    closing: &CancellationToken,
    work: impl Future<Output = std::convert::Infallible> + Send + 'static,
) {
    let closing = closing.clone();
    tasks.spawn(async move {
        closing.run_until_cancelled(work).await;
    });
}

fn told<E: Display>(metrics: &Metrics, what: &'static str, swept: Result<Option<Swept>, E>) {
    match swept {
        Ok(None) => {}
        Ok(Some(swept)) => {
            let Swept { seen, removed, failed, .. } = swept;
            tracing::info!(seen, removed, failed, "removed old {what}");
            metrics.swept(what, [seen, removed, failed], swept.removed_bytes);
        }
        Err(error) => {
            tracing::warn!(%error, "could not remove old {what}; the next day goes on there");
        }
    }
}

fn told_of_results<E: Display>(metrics: &Metrics, swept: Result<Option<SweptResults>, E>) {
    match swept {
        Ok(swept) => {
            let each = |part: fn(SweptResults) -> Swept| Ok::<_, E>(swept.map(part));
            told(metrics, "results", each(|swept| swept.results));
            told(metrics, "artifacts", each(|swept| swept.artifacts));
        }
        Err(error) => told(metrics, "results", Err(error)),
    }
}
