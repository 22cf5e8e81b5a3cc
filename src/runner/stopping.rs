//! Stops a container whose helper may not have begun yet.
//!
//! A container runs for the engine before its process 1 has asked for its signals, and until then
//! the kernel drops a SIGTERM for it. So the signal waits until the helper has noted that it began.

use std::time::{Duration, Instant};

use super::exit_note;
use super::managed::Managed;
use super::orchestrator::EngineError;
use super::site::Site;

/// How long SIGTERM waits for the helper at most. A program that has emptied the note of its helper
/// gets its SIGTERM that much later.
const AT_MOST: Duration = Duration::from_secs(3);

/// Between two looks at the note.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// SIGTERM once the helper in the container listens, then SIGKILL `grace` after this call.
///
/// # Errors
///
/// What the engine says.
pub(super) async fn stop(
    site: &Site,
    managed: &Managed,
    container: &str,
    grace: Duration,
) -> Result<(), EngineError> {
    let asked = Instant::now();
    let waits = helper_listens(site, managed);
    if tokio::time::timeout(AT_MOST.min(grace / 2), waits).await.is_err() {
        tracing::debug!(
            container.id = container,
            "stopping a container whose helper is not heard of"
        );
    }
    site.engine.stop(container, grace.saturating_sub(asked.elapsed())).await
}

async fn helper_listens(site: &Site, managed: &Managed) {
    let directory = site.directory_of(&managed.run);
    while !exit_note::read(&directory, None).await.begun {
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
