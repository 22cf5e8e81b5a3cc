//! The segment that this worker owns: claimed by its lock queue, claimed again when the lock is
//! lost with the connection.

use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::broker::{Broker, SegmentLock};

/// Pause between two rounds when every segment is taken or a lost one is not free yet.
const RETRY: Duration = Duration::from_secs(1);

/// Claims the lowest free segment; waits where all are taken. `None`: shutdown came first.
pub(super) async fn claim(
    broker: &Broker,
    max_segments: u32,
    shutdown: &CancellationToken,
) -> Option<(u32, SegmentLock)> {
    let search = async {
        loop {
            for segment in 0..max_segments {
                if let Some(lock) = try_lock(broker, segment).await {
                    tracing::info!(segment, "claim segment");
                    return (segment, lock);
                }
            }
            tracing::warn!(max_segments, "wait for a free segment: all are taken");
            tokio::time::sleep(RETRY).await;
        }
    };
    shutdown.run_until_cancelled(search).await
}

async fn try_lock(broker: &Broker, segment: u32) -> Option<SegmentLock> {
    match broker.try_lock(segment).await {
        Ok(lock) => lock,
        Err(error) => {
            tracing::warn!(segment, %error, "claim segment");
            None
        }
    }
}

/// Holds a segment until shutdown: a lock that is lost with the connection is claimed again, for
/// this segment's containers are ours. `held` says whether we have it right now.
pub(super) async fn hold(
    broker: Broker,
    segment: u32,
    mut lock: SegmentLock,
    held: watch::Sender<bool>,
    shutdown: CancellationToken,
) {
    let keep = async {
        loop {
            lock.lost().cancelled().await;
            if shutdown.is_cancelled() {
                return;
            }
            held.send_replace(false);
            tracing::warn!(segment, "lost the segment's lock; claim it again");
            // While it is held, also when it is lost, nobody in this process can claim it.
            drop(lock);
            lock = loop {
                tokio::time::sleep(RETRY).await;
                if let Some(lock) = try_lock(&broker, segment).await {
                    break lock;
                }
            };
            held.send_replace(true);
            tracing::info!(segment, "claimed the segment again");
        }
    };
    shutdown.run_until_cancelled(keep).await;
}
