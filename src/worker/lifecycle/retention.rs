//! This worker's share in removing old logs.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::logs::{Retention, keep};
use crate::settings::Settings;
use crate::storage::{Journal, ObjectStore};

/// Removes old logs when it is this worker's turn, until `closing`. Does nothing if logs are kept
/// for ever.
pub(in crate::worker) fn serve(
    tasks: &TaskTracker,
    store: &Arc<dyn ObjectStore>,
    settings: &Settings,
    closing: &CancellationToken,
) {
    let Some(days) = settings.logs.retention_days else { return };
    let retention = Retention { days, max_keys: settings.logs.retention_keys };
    let (store, namespace) = (Arc::clone(store), settings.broker.namespace.clone());
    let closing = closing.clone();
    tasks.spawn(async move {
        let journal = Journal::new(Arc::clone(&store), namespace.clone());
        closing.run_until_cancelled(keep(&*store, &journal, &namespace, retention)).await;
    });
}
