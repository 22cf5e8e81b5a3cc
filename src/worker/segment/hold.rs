//! Holds one segment, from taking it to its release: proves beat by beat that it is ours, and
//! regains it after a short loss of the connection.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use super::patience::Patience;
use super::recover;
use super::renew::{self, RenewalWatch};
use super::take::mark_of;
use crate::broker::{BrokerError, Flow, Inbox, OwnershipLock, Proof};
use crate::storage::{Journal, JournalError, OwnerRecord};
use crate::worker::context::{Context, Known, Tools};
use crate::worker::message::intake::{STOP_PREFETCH, take_stops};
use crate::worker::ownership::tenure::{Asked, BEAT, PROOF_TIMEOUT, Tenure};

/// The pause between two attempts at something that failed.
pub(in crate::worker) const RETRY: Duration = Duration::from_secs(1);

/// Begins a tenure: its mailbox, its holder, and everything that its last owner left. Returns when
/// all of that is adopted, or the tenure is over.
pub(in crate::worker) async fn begin(
    ctx: &Arc<Context>,
    tenure: &Arc<Tenure>,
    lock: Box<dyn OwnershipLock>,
) -> Result<(), BrokerError> {
    let segment = tenure.segment;
    tracing::info!(segment, epoch = tenure.epoch, "acquired a segment");
    ctx.known.tenures.add(tenure);
    ctx.drain.spawn_holder(hold(Arc::clone(ctx), Arc::clone(tenure), lock));
    while let Err(error) = ctx.tools.broker.declare_mailbox(segment).await {
        if matches!(error, BrokerError::Mismatch { .. }) {
            return Err(error);
        }
        tracing::warn!(%error, "could not declare the segment's mailbox; trying again");
        tokio::select! {
            biased;
            () = sleep(RETRY) => {}
            () = tenure.over().cancelled() => return Ok(()),
        }
    }
    let recovered = async {
        while let Err(error) = recover::recover(ctx, tenure).await {
            tracing::warn!(segment, %error, "could not take up what the segment's last owner left; trying again");
            sleep(RETRY).await;
        }
    };
    if tenure.over().run_until_cancelled(Box::pin(recovered)).await.is_some() {
        tenure.settle_in();
        // Also during a drain, because runs can be stopped until they are left to the next owner.
        let until = ctx.drain.detached().child_token();
        let flow = Flow::Prefetch(STOP_PREFETCH);
        let consumer = ctx.tools.broker.consumer(Inbox::Mailbox(segment), flow, until.clone());
        let (tenure, ctx) = (Arc::clone(tenure), Arc::clone(ctx));
        let stops = take_stops(Arc::clone(&ctx), consumer);
        ctx.drain.spawn_holder(async move {
            let mut stops = std::pin::pin!(stops);
            tokio::select! {
                biased;
                () = &mut stops => return,
                () = tenure.over().cancelled() => until.cancel(),
            }
            // What it has taken is settled.
            stops.await;
        });
    }
    Ok(())
}

/// Holds a segment: proves beat by beat that it is ours, and renews the leases of its bots after
/// each proof. Ends when another worker has taken it over, or this worker releases it.
async fn hold(ctx: Arc<Context>, tenure: Arc<Tenure>, mut lock: Box<dyn OwnershipLock>) {
    let Context { tools, known, drain } = &*ctx;
    let segment = tenure.segment;
    let (mut renewals, mut leases_are_ours) = (RenewalWatch::new(tools), false);
    loop {
        let asked = Asked::now(tools.machine.uptime());
        match lock.prove(PROOF_TIMEOUT).await {
            Proof::Held => {
                tenure.prove(asked);
                known.tenures.show(&tenure, true);
                let were_all_taken_up = tenure.is_settled_in();
                if let Err(reason) = renewals.after_proof(tools, &tenure, asked).await {
                    tracing::error!(segment, %reason, "leaving the segment to another worker");
                    known.gate.close();
                    return let_go(tools, known, &tenure, lock, None).await;
                }
                if were_all_taken_up && !leases_are_ours {
                    leases_are_ours = note_our_leases(tools, &tenure).await;
                }
                if !tenure.has_mark() {
                    tenure.keep_mark(mark_of(tools, segment).await);
                }
            }
            Proof::Unknown => tracing::warn!(
                segment,
                "got no proof in time that this worker still owns the segment"
            ),
            Proof::Lost => {
                tracing::warn!(segment, "lost the segment's lock; claiming it again");
                known.tenures.show(&tenure, false);
                // While this is held, also after a loss, no other task of this process can claim
                // it.
                drop(lock);
                let regained = tokio::select! {
                    biased;
                    regained = regain(tools, &tenure) => regained,
                    () = drain.released() => None,
                };
                let Some(again) = regained else {
                    tracing::warn!(segment, "another worker owns the segment now");
                    return known.tenures.remove(&tenure);
                };
                tracing::info!(segment, "claimed the segment again");
                lock = again;
                continue;
            }
        }
        tokio::select! {
            biased;
            () = sleep(BEAT) => {}
            () = lock.lost().cancelled_owned() => {}
            () = drain.released() => break,
            () = tenure.resigned().cancelled() => break,
        }
    }
    let_go(tools, known, &tenure, lock, Some(tools.settings.handover_grace)).await;
}

/// Notes that every bot of the segment has our lease by now, so the next owner need not wait for a
/// longer one. Returns whether that worked.
async fn note_our_leases(tools: &Tools, tenure: &Tenure) -> bool {
    let ours = tools.lease().as_secs();
    let noted = amend_owner(&tools.journal, tenure, |owner| owner.lease_seconds = ours);
    // A store that is away must not delay the next proof.
    match tokio::time::timeout(PROOF_TIMEOUT, noted).await {
        Ok(Ok(amended)) => amended != Amended::Crossed,
        Ok(Err(error)) => {
            tracing::debug!(segment = tenure.segment, %error, "could not record the length of leases");
            false
        }
        Err(_) => false,
    }
}

/// Claims a lock again that was lost with the connection, and notes that, because a worker that
/// watches the segment may not have seen it held. `None` if another worker has taken the segment.
async fn regain(tools: &Tools, tenure: &Tenure) -> Option<Box<dyn OwnershipLock>> {
    let segment = tenure.segment;
    let (mut regained, mut patience) = (None, Patience::default());
    loop {
        if regained.is_none() {
            match tools.broker.try_lock(segment).await {
                Ok(lock) => regained = lock,
                Err(error) => {
                    tracing::debug!(segment, %error, "could not claim the segment again yet");
                }
            }
        }
        // Not ours: another worker has it, or our last connection, whose loss the broker has not
        // noticed yet.
        let is_there = regained.is_some();
        let note = |owner: &mut OwnerRecord| {
            if is_there {
                owner.regained_at = Some(tools.machine.now());
            }
        };
        match patience.within(amend_owner(&tools.journal, tenure, note)).await {
            Ok(Amended::NotOurs) => {
                if let Some(lock) = regained {
                    lock.release().await;
                }
                return None;
            }
            Ok(Amended::Yes) => {
                if let Some(lock) = regained.take_if(|lock| !lock.lost().is_cancelled()) {
                    return Some(lock);
                }
            }
            Ok(Amended::Crossed) => {}
            Err(error) => {
                tracing::warn!(segment, %error, "could not record that this worker owns the segment");
            }
        }
        regained = regained.filter(|lock| !lock.lost().is_cancelled());
        sleep(RETRY).await;
    }
}

/// Releases a segment of ours. The next owner sees that we ended cleanly, and the bots have the
/// time of a handover until they are adopted. `None`: their leases stay as they are.
async fn let_go(
    tools: &Tools,
    known: &Known,
    tenure: &Arc<Tenure>,
    lock: Box<dyn OwnershipLock>,
    handover: Option<Duration>,
) {
    let segment = tenure.segment;
    let note = |owner: &mut OwnerRecord| {
        owner.released_at = Some(tools.machine.now());
        let handed_over = handover.map_or(0, |grace| grace.as_secs());
        owner.lease_seconds = handed_over.max(owner.lease_seconds);
    };
    match amend_owner(&tools.journal, tenure, note).await {
        // After the length is noted, because a worker that takes the segment elsewhere waits for
        // that long.
        Ok(Amended::Yes) => {
            if let Some(grace) = handover {
                renew::renew(tools, tenure, grace, tools.machine.uptime()).await;
            }
        }
        Ok(Amended::Crossed | Amended::NotOurs) => {}
        Err(error) => tracing::warn!(segment, %error, "could not record that the segment is free"),
    }
    known.tenures.remove(tenure);
    lock.release().await;
    tracing::info!(segment, "released a segment");
}

/// The outcome of a change to our record as a segment's owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Amended {
    /// The record says so now.
    Yes,
    /// Another worker wrote at the same time.
    Crossed,
    /// The segment has another owner.
    NotOurs,
}

/// Changes the record of a segment's owner while we are the owner.
async fn amend_owner(
    journal: &Journal,
    tenure: &Tenure,
    change: impl FnOnce(&mut OwnerRecord),
) -> Result<Amended, JournalError> {
    let found = journal.owner(tenure.segment).await?;
    let Some((owner, etag)) = found.filter(|(owner, _)| owner.epoch == tenure.epoch) else {
        return Ok(Amended::NotOurs);
    };
    let mut amended = owner.clone();
    change(&mut amended);
    if amended == owner || journal.write_owner(&amended, Some(&etag)).await?.is_some() {
        Ok(Amended::Yes)
    } else {
        Ok(Amended::Crossed)
    }
}
