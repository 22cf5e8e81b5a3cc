//! Connects listeners of logs with the log loop: who listens, and what they get.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::broker::Broker;
use crate::job::LogLines;
use crate::logs::LogCollector;

/// The pause between two attempts to hear listeners.
const RETRY: Duration = Duration::from_secs(1);

/// Hears who listens, and sends `lines` to them, until `closing`.
pub(in crate::worker) fn serve(
    tasks: &TaskTracker,
    broker: &Broker,
    logs: &Arc<LogCollector>,
    lines: mpsc::Receiver<LogLines>,
    closing: &CancellationToken,
) {
    let hearing = hear(broker.clone(), Arc::clone(logs), closing.clone());
    let sending = send(broker.clone(), lines);
    let (to_hear, to_send) = (closing.clone(), closing.clone());
    tasks.spawn(async move { to_hear.run_until_cancelled(hearing).await });
    tasks.spawn(async move { to_send.run_until_cancelled(sending).await });
}

async fn hear(broker: Broker, logs: Arc<LogCollector>, closing: CancellationToken) {
    loop {
        match broker.listeners(closing.clone()).await {
            Ok(mut listeners) => {
                while let Some(listening) = listeners.next().await {
                    logs.listen(&listening);
                }
                return;
            }
            Err(error) => tracing::warn!(%error, "could not hear who follows logs; trying again"),
        }
        tokio::time::sleep(RETRY).await;
    }
}

/// Lines that cannot be sent are not sent again. A listener that misses them reads them from the
/// store.
async fn send(broker: Broker, mut lines: mpsc::Receiver<LogLines>) {
    while let Some(message) = lines.recv().await {
        if let Err(error) = broker.publish_lines(&message).await {
            tracing::debug!(job.id = %message.id, %error, "could not send log lines to followers");
        }
    }
}
