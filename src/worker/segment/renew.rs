//! Renews the leases of a segment's bots after each proof that the segment is ours.

use std::time::Duration;

use tokio::time::{Instant, timeout};

use crate::runner::Uptime;
use crate::worker::context::Tools;
use crate::worker::ownership::tenure::{Asked, PROOF_TIMEOUT, Tenure};

/// Whether the leases of a segment can still be renewed.
pub(super) struct RenewalWatch {
    lease: Duration,
    /// When the leases were last renewed, or the segment was taken.
    last: Instant,
}

/// Nothing could be written in `TEMP_DIR` for as long as a lease. So the segment's bots have ended,
/// and no job can begin here.
#[derive(Debug, thiserror::Error)]
#[error("nothing could be written in TEMP_DIR for {} s", .0.as_secs())]
pub(super) struct Hangs(Duration);

impl RenewalWatch {
    pub(super) fn new(tools: &Tools) -> Self {
        Self { lease: tools.lease(), last: Instant::now() }
    }

    /// Renews the leases of the segment's bots, also of those that are still to be taken up.
    ///
    /// # Errors
    /// If that has not been possible for too long.
    pub(super) async fn after_proof(
        &mut self,
        tools: &Tools,
        tenure: &Tenure,
        asked: Asked,
    ) -> Result<(), Hangs> {
        if renew(tools, tenure, self.lease, asked.uptime()).await {
            self.last = Instant::now();
        } else if self.last.elapsed() >= self.lease {
            return Err(Hangs(self.lease));
        }
        if !tenure.is_settled_in() {
            renew_left(tools, tenure, asked).await;
        }
        Ok(())
    }
}

/// Renews the leases of the bots that have been taken up. Returns whether that worked in time.
pub(super) async fn renew(
    tools: &Tools,
    tenure: &Tenure,
    lifetime: Duration,
    proven_at: Option<Uptime>,
) -> bool {
    let (segment, stamp) = (tenure.segment, tenure.next_stamp());
    let renewed = tools.runner.renew_leases(segment, stamp, lifetime, proven_at);
    // A disk that hangs must not delay the next proof.
    match timeout(PROOF_TIMEOUT, renewed).await {
        Ok(Ok(())) => true,
        Ok(Err(error)) => {
            tracing::warn!(segment, %error, "could not renew the leases, because nothing can be written in TEMP_DIR");
            false
        }
        Err(_) => {
            tracing::warn!(
                segment,
                "could not renew the leases in time, because TEMP_DIR does not answer"
            );
            false
        }
    }
}

/// Renews the leases of the bots that are still to be taken up.
async fn renew_left(tools: &Tools, tenure: &Tenure, asked: Asked) {
    let (segment, stamp, lease) = (tenure.segment, tenure.next_stamp(), tools.lease());
    let renewed = tools.runner.renew_left_leases(segment, stamp, lease, asked.uptime());
    // An engine that hangs must not delay the next proof.
    match timeout(PROOF_TIMEOUT, renewed).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            tracing::warn!(segment, %error, "could not renew the leases of bots that are to be taken up");
        }
        Err(_) => {
            tracing::warn!(
                segment,
                "the engine did not list the bots that are to be taken up in time"
            );
        }
    }
}
