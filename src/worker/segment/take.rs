//! Takes a segment: by its lock queue, then by its owner's record in the journal.

use std::sync::Arc;

use crate::broker::{BrokerError, OwnershipLock, Proof};
use crate::storage::{ETag, JournalError, OwnerRecord};
use crate::worker::context::Tools;
use crate::worker::ownership::machine::Mark;
use crate::worker::ownership::tenure::{Asked, PROOF_TIMEOUT, Tenure};

/// Why a segment could not be claimed this time.
#[derive(Debug, thiserror::Error)]
pub(in crate::worker) enum ClaimError {
    /// The broker failed.
    #[error(transparent)]
    Broker(#[from] BrokerError),
    /// The journal failed.
    #[error(transparent)]
    Journal(#[from] JournalError),
}

/// Takes the mark at our place, which shows to other processes of this host that an owner of the
/// segment is alive; `None` while another owner is.
pub(in crate::worker) async fn mark_of(tools: &Tools, segment: u32) -> Option<Box<dyn Mark>> {
    let namespace = tools.broker.topology().namespace();
    match tools.machine.mark(tools.place.temp_dir.as_ref(), namespace, segment).await {
        Ok(mark) => mark,
        Err(error) => {
            tracing::warn!(segment, %error, "could not lock the segment's file in TEMP_DIR");
            None
        }
    }
}

/// Takes a segment whose last owner is `seen`, if its lock is free; `None` if another worker was
/// faster.
pub(in crate::worker) async fn take(
    tools: &Tools,
    segment: u32,
    seen: Option<(OwnerRecord, ETag)>,
    mark: Option<Box<dyn Mark>>,
) -> Result<Option<(Arc<Tenure>, Box<dyn OwnershipLock>)>, ClaimError> {
    let Some(lock) = tools.broker.try_lock(segment).await? else {
        return Ok(None);
    };
    let last = seen.as_ref().map(|(last, _)| last);
    let owner = OwnerRecord {
        segment,
        epoch: last.map_or(0, |last| last.epoch) + 1,
        worker: tools.publisher.worker.clone(),
        place: tools.place.clone(),
        claimed_at: tools.machine.now(),
        // Its bots may still have the lease that the last owner gave them.
        lease_seconds: last.map_or(0, |last| last.lease_seconds).max(tools.lease().as_secs()),
        regained_at: None,
        released_at: None,
    };
    let written = tools.journal.write_owner(&owner, seen.as_ref().map(|(_, etag)| etag)).await;
    let asked = Asked::now(tools.machine.uptime());
    match written {
        // Held all the time, so nobody can have regained it without seeing us in the journal.
        Ok(Some(_)) if lock.prove(PROOF_TIMEOUT).await == Proof::Held => {
            Ok(Some((Arc::new(Tenure::new(segment, owner.epoch, asked, mark)), lock)))
        }
        Ok(_) => {
            lock.release().await;
            Ok(None)
        }
        Err(error) => {
            lock.release().await;
            Err(error.into())
        }
    }
}
