//! A worker's life: it starts, takes messages until the shutdown, and drains.

use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::start_up::{WorkerError, begin};
use super::worker::FLUSH_TIMEOUT;
use crate::http::{self, Readiness};
use crate::metrics::Metrics;
use crate::settings::{Exposure, Settings};

/// Runs a worker until `shutdown`, then drains it. It takes no new messages, gives terminating runs
/// the grace of the settings to end, and leaves what still runs to the segment's next owner.
pub async fn run(settings: Settings, shutdown: CancellationToken) -> Result<(), WorkerError> {
    let readiness = Readiness::default();
    let runtimes = settings.runner.runtimes.iter().map(|runtime| runtime.name.as_str());
    let metrics = Metrics::of_process(runtimes);
    let tasks = TaskTracker::new();
    let closing = CancellationToken::new();
    let server =
        http::serve(&settings.http, readiness.clone(), metrics.clone(), &tasks, closing.clone());
    let address = settings.http.listen;
    tasks.spawn(server.await.map_err(|source| WorkerError::Http { address, source })?);

    warn_of_exposures(&settings);

    let begun = Box::pin(begin(&settings, &readiness, &metrics, &tasks, &closing, &shutdown));
    if let Some((worker, _kept_from_cleaners)) = begun.await? {
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

/// Logs once, in one line, what the settings leave open to strangers' code.
fn warn_of_exposures(settings: &Settings) {
    let sentence = |exposure: Exposure| format!("{}; {}", exposure.said, exposure.remedy);
    let sentences: Vec<_> = settings.exposures().into_iter().map(sentence).collect();
    if !sentences.is_empty() {
        tracing::warn!("strangers' code could do harm: {}", sentences.join("; "));
    }
}
