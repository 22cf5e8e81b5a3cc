//! One segment, from when it was taken to its release: shown to be ours beat by beat, and regained where
//! the connection was lost for a moment.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::sleep;

use super::recover;
use super::take::mark_of;
use crate::broker::{BrokerError, Flow, Inbox, Proof, SegmentLock};
use crate::runner::Uptime;
use crate::storage::{Journal, JournalError, OwnerRecord};
use crate::worker::context::{Context, Known, Tools};
use crate::worker::message::intake::take_stops;
use crate::worker::ownership::tenure::{Asked, BEAT, PROOF_TIMEOUT, Tenure};

/// Pause between two attempts at something that did not go well.
pub(in crate::worker) const RETRY: Duration = Duration::from_secs(1);

/// Deliveries of stop messages that may be under way at a time.
pub(in crate::worker) const STOP_PREFETCH: u16 = 8;

/// Begins a tenure: its mailbox, its holder, and what its last owner left. Returns once all of that
/// is taken up, or the tenure is over.
pub(in crate::worker) async fn begin(
    ctx: &Arc<Context>,
    tenure: &Arc<Tenure>,
    lock: SegmentLock,
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
        // Until the tenure is over or no more messages are taken, whichever comes first.
        let until = ctx.drain.no_more_messages().child_token();
        let flow = Flow::Prefetch(STOP_PREFETCH);
        let consumer = ctx.tools.broker.consumer(Inbox::Mailbox(segment), flow, until.clone());
        let (tenure, ctx) = (Arc::clone(tenure), Arc::clone(ctx));
        let stops = take_stops(Arc::clone(&ctx), consumer);
        ctx.drain.spawn_intake(async move {
            tokio::select! {
                () = stops => {}
                () = tenure.over().cancelled() => until.cancel(),
            }
        });
    }
    Ok(())
}

/// Holds a segment: shows beat by beat that it is ours, and renews the leases of its bots on that.
/// Ends when somebody else has taken it over, or the worker lets go of it.
async fn hold(ctx: Arc<Context>, tenure: Arc<Tenure>, mut lock: SegmentLock) {
    let Context { tools, known, drain } = &*ctx;
    let segment = tenure.segment;
    let mut leases_are_ours = false;
    loop {
        let asked = Asked::now();
        match lock.prove(PROOF_TIMEOUT).await {
            Proof::Held => {
                tenure.prove(asked);
                known.tenures.show(&tenure, true);
                let were_all_taken_up = tenure.is_settled_in();
                let (stamp, lease) = (tenure.next_stamp(), tools.lease());
                tools.runner.renew_leases(segment, stamp, lease, asked.uptime()).await;
                if were_all_taken_up && !leases_are_ours {
                    leases_are_ours = note_our_leases(tools, &tenure).await;
                }
                if !tenure.has_mark() {
                    tenure.keep_mark(mark_of(tools, segment));
                }
            }
            Proof::Unknown => tracing::warn!(
                segment,
                "got no proof in time that this worker still owns the segment"
            ),
            Proof::Lost => {
                tracing::warn!(segment, "lost the segment's lock; claiming it again");
                known.tenures.show(&tenure, false);
                // While it is held, also when it is lost, nobody in this process can claim it.
                drop(lock);
                let regained = tokio::select! {
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
            () = sleep(BEAT) => {}
            () = lock.lost().cancelled_owned() => {}
            () = drain.released() => return let_go(tools, known, &tenure, lock).await,
            () = tenure.resigned().cancelled() => return let_go(tools, known, &tenure, lock).await,
        }
    }
}

/// Notes that every bot of the segment has a lease of ours by now, so that whoever comes after us need
/// not wait for a longer one. Gives whether that is done.
async fn note_our_leases(tools: &Tools, tenure: &Tenure) -> bool {
    let ours = tools.lease().as_secs();
    let noted = amend_owner(&tools.journal, tenure, |owner| owner.lease_seconds = ours);
    // A store that is away must not hold up the next proof.
    match tokio::time::timeout(PROOF_TIMEOUT, noted).await {
        Ok(Ok(amended)) => amended != Amended::Crossed,
        Ok(Err(error)) => {
            tracing::debug!(segment = tenure.segment, %error, "could not record the length of leases");
            false
        }
        Err(_) => false,
    }
}

/// Claims a lock again that was lost with the connection, and notes that, for whoever watches the segment
/// may not have seen it held; `None` where somebody else has taken the segment meanwhile.
async fn regain(tools: &Tools, tenure: &Tenure) -> Option<SegmentLock> {
    let segment = tenure.segment;
    let mut regained = None;
    loop {
        if regained.is_none() {
            match tools.broker.try_lock(segment).await {
                Ok(lock) => regained = lock,
                Err(error) => {
                    tracing::debug!(segment, %error, "could not claim the segment again yet");
                }
            }
        }
        // Not there: somebody else's, or our last connection's that the broker has not missed yet.
        let is_there = regained.is_some();
        let note = |owner: &mut OwnerRecord| {
            if is_there {
                owner.regained_at = Some(Timestamp::now());
            }
        };
        match amend_owner(&tools.journal, tenure, note).await {
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

/// Lets go of a segment that is ours: whoever comes next finds that we ended well, and its bots have
/// the time of a handover to be found.
async fn let_go(tools: &Tools, known: &Known, tenure: &Arc<Tenure>, lock: SegmentLock) {
    let segment = tenure.segment;
    let handover = tools.settings.handover_grace;
    let note = |owner: &mut OwnerRecord| {
        owner.released_at = Some(Timestamp::now());
        owner.lease_seconds = handover.as_secs().max(owner.lease_seconds);
    };
    match amend_owner(&tools.journal, tenure, note).await {
        // After it is noted how long, for whoever takes the segment elsewhere waits for that.
        Ok(Amended::Yes) => {
            let stamp = tenure.next_stamp();
            tools.runner.renew_leases(segment, stamp, handover, Uptime::now()).await;
        }
        Ok(Amended::Crossed | Amended::NotOurs) => {}
        Err(error) => tracing::warn!(segment, %error, "could not record that the segment is free"),
    }
    known.tenures.remove(tenure);
    lock.release().await;
    tracing::info!(segment, "released a segment");
}

/// What came of a change to our record as a segment's owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Amended {
    /// The record says so now.
    Yes,
    /// Somebody wrote at the same time.
    Crossed,
    /// The segment has another owner.
    NotOurs,
}

/// Changes the record of a segment's owner while that is us.
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
