//! The way of a stop message: note it, find who runs the job, stop it or tell its owner.

use std::time::Duration;

use jiff::Timestamp;

use super::answer;
use super::validate::text_of;
use crate::broker::{Broker, Delivery, Inbox, MessageOptions, PublishError};
use crate::job::{MessageError, RunId, State, Status, StopRequest, parse_stop};
use crate::storage::{JobRecord, JournalError, RecordState, Tombstone};
use crate::worker::active::StopOrder;
use crate::worker::context::Context;
use crate::worker::decide::STOP_MEMORY;

/// Why a stop could not be followed this time.
#[derive(Debug, thiserror::Error)]
enum StopError {
    #[error(transparent)]
    Journal(#[from] JournalError),
    #[error("forwarding it to segment {segment} failed: {source}")]
    Forward { segment: u32, source: PublishError },
}

/// Follows one stop message, from the shared queue or from our mailbox.
///
/// The stop is noted before anybody looks for the job, and a job is noted before anybody looks for
/// a stop: so one of the two always sees the other.
pub(in crate::worker) async fn follow_stop(ctx: &Context, delivery: Delivery) {
    let text = text_of(&ctx.tools, &delivery);
    let stop = match text.and_then(|text| parse_stop(&text)) {
        Ok(stop) => stop,
        Err(error) => return reject_stop(&ctx.tools.broker, delivery, &error).await,
    };
    match carry_out(ctx, &delivery, &stop).await {
        Ok(()) => answer::ack(&delivery, &stop.id).await,
        Err(error) => {
            tracing::warn!(job.id = %stop.id, %error, "could not carry out a stop");
            answer::retry_stop(&ctx.tools.broker, delivery, &error.to_string()).await;
        }
    }
}

async fn carry_out(
    ctx: &Context,
    delivery: &Delivery,
    stop: &StopRequest,
) -> Result<(), StopError> {
    let noted = match delivery.inbox() {
        Inbox::Mailbox(_) => Ok(()),
        _ => ctx.tools.journal.put_tombstone(&tombstone(delivery, stop)).await,
    };
    if let Some(run) = ctx.known.active.get(&stop.id)
        && is_meant(stop, &run.run_id)
        && !run.has_ended()
    {
        let timeout = Duration::from_secs(stop.timeout_seconds);
        let is_first = run.request_stop(StopOrder { reason: stop.reason.clone(), timeout });
        // One that is not claimed yet may turn out to be another worker's, and one that we cannot show
        // to be ours may have been taken over.
        if run.is_held() {
            if !is_first {
                answer(ctx, delivery, stop, State::Stopping, "the job is stopping already").await;
            }
            return Ok(());
        }
    }
    noted?;
    let owner = match ctx.tools.journal.read(&stop.id).await? {
        Some((record, _)) if record.state == RecordState::Active => {
            is_meant(stop, &record.run_id).then_some(record)
        }
        _ => None,
    };
    match owner {
        // It is being taken up right now, by us: that looks for the stop which was noted above.
        Some(record) if ctx.known.tenures.have(&record) => {
            answer(
                ctx,
                delivery,
                stop,
                State::Stopping,
                "the job is being taken up, and stops then",
            )
            .await;
            Ok(())
        }
        Some(JobRecord { segment, .. }) => ctx
            .tools
            .broker
            .forward_stop(segment, stop, &options_of(delivery))
            .await
            .map_err(|source| StopError::Forward { segment, source }),
        None => {
            answer(ctx, delivery, stop, State::NotRunning, &not_running(stop)).await;
            Ok(())
        }
    }
}

/// The answer to a stop that found nothing to stop.
fn not_running(stop: &StopRequest) -> String {
    match &stop.run_id {
        Some(run) => format!("run {run} of this job is not active; its start will be cancelled"),
        None => format!(
            "no run of this job is active; a start that was published before this stop will be \
             cancelled, and one without a timestamp if it comes within {} s",
            STOP_MEMORY.as_secs()
        ),
    }
}

fn options_of(delivery: &Delivery) -> MessageOptions {
    let fresh = || uuid::Uuid::new_v4().to_string();
    MessageOptions {
        message_id: delivery.properties.message_id.clone().unwrap_or_else(fresh),
        correlation_id: delivery.properties.correlation_id.clone(),
        // A stop is answered by status events alone.
        reply_to: None,
        traceparent: delivery.properties.traceparent.clone(),
    }
}

fn is_meant(stop: &StopRequest, run: &RunId) -> bool {
    stop.run_id.as_ref().is_none_or(|wanted| wanted == run)
}

fn tombstone(delivery: &Delivery, stop: &StopRequest) -> Tombstone {
    Tombstone {
        id: stop.id.clone(),
        run_id: stop.run_id.clone(),
        reason: stop.reason.clone(),
        at: delivery.properties.timestamp.unwrap_or_else(Timestamp::now),
    }
}

async fn answer(
    ctx: &Context,
    delivery: &Delivery,
    stop: &StopRequest,
    state: State,
    message: &str,
) {
    let status = Status {
        id: stop.id.clone(),
        run_id: stop.run_id.clone(),
        state,
        entrypoint: None,
        attempt: 0,
        segment: ctx.known.home_segment(),
        worker: ctx.tools.publisher.worker.clone(),
        container_id: None,
        verdict: None,
        message: Some(message.to_owned()),
    };
    ctx.tools.publisher.status(status, delivery.properties.traceparent.clone()).await;
}

/// A stop that cannot be read stops nothing: it goes to the dead letters, with the reason.
async fn reject_stop(broker: &Broker, delivery: Delivery, error: &MessageError) {
    let reason = error.to_string();
    tracing::warn!(job.id = error.id.as_ref().map(crate::job::JobId::as_str), %reason, "rejected a stop message");
    if let Err(error) = broker.dead_letter(&delivery, &reason).await {
        tracing::error!(%error, "could not dead-letter a stop");
    }
}
