//! This worker's share in removing what is old: logs, and records of the journal.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::logs::keep;
use crate::settings::Settings;
use crate::storage::{Journal, ObjectStore, Retention};

/// Removes old logs and records when it is this worker's turn, until `closing`. Does nothing about what is
/// kept for ever.
pub(in crate::worker) fn serve(
    tasks: &TaskTracker,
    store: &Arc<dyn ObjectStore>,
    settings: &Settings,
    closing: &CancellationToken,
) {
    let namespace = settings.broker.namespace.clone();
    let journal = Journal::new(Arc::clone(store), namespace.clone());
    if let Some(days) = settings.worker.record_retention_days {
        let retention = Retention { days, max_keys: settings.worker.record_retention_keys };
        let (journal, closing) = (journal.clone(), closing.clone());
        tasks.spawn(async move {
            closing.run_until_cancelled(journal.keep_young(retention)).await;
        });
    }
    if let Some(days) = settings.logs.retention_days {
        let retention = Retention { days, max_keys: settings.logs.retention_keys };
        let (store, closing) = (Arc::clone(store), closing.clone());
        tasks.spawn(async move {
            closing.run_until_cancelled(keep(&*store, &journal, &namespace, retention)).await;
        });
    }
}
