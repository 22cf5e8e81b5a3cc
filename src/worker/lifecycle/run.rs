//! A worker's life: it starts, takes messages until it is told to end, and drains.

use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::start_up::{WorkerError, begin};
use super::worker::FLUSH_TIMEOUT;
use crate::http::{self, Readiness};
use crate::settings::{Exposure, Settings};

/// Runs a worker until `shutdown`, then drains it: no new messages, terminating runs have the
/// grace of the settings to end, and what still runs is left to whoever takes the segment next.
pub async fn run(settings: Settings, shutdown: CancellationToken) -> Result<(), WorkerError> {
    let readiness = Readiness::default();
    let tasks = TaskTracker::new();
    let closing = CancellationToken::new();
    let server = http::serve(&settings.http, readiness.clone(), closing.clone());
    let address = settings.http.listen;
    tasks.spawn(server.await.map_err(|source| WorkerError::Http { address, source })?);

    warn_of_exposures(&settings);

    let begun = Box::pin(begin(&settings, &readiness, &tasks, &closing, &shutdown));
    if let Some(worker) = begun.await? {
        shutdown.cancelled().await;
        worker.drain(settings.worker.drain_grace).await;
    }
    closing.cancel();
    tasks.close();
    if timeout(FLUSH_TIMEOUT, tasks.wait()).await.is_err() {
        tracing::warn!("left background tasks behind, because they did not end in time");
    }
    tracing::info!("the worker has ended");
    Ok(())
}

/// Says once, in one line, what the settings leave open to strangers' code.
fn warn_of_exposures(settings: &Settings) {
    let sentence = |exposure: Exposure| format!("{}; {}", exposure.said, exposure.remedy);
    let sentences: Vec<_> = settings.exposures().into_iter().map(sentence).collect();
    if !sentences.is_empty() {
        tracing::warn!("strangers' code could do harm: {}", sentences.join("; "));
    }
}
