//! The way of a stop message: stop the job if it runs here, note the stop, find the worker that runs
//! the job and tell it.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::answer;
use super::validate::text_of;
use crate::broker::{Delivery, Inbox, MessageBroker, MessageOptions, PublishError};
use crate::job::{JobId, MessageError, State, Status, StopRequest, parse_stop};
use crate::storage::{JobRecord, JournalError, RecordState, Tombstone};
use crate::worker::active::{ActiveRun, StopOrder};
use crate::worker::context::Context;
use crate::worker::decide::{self, STOP_MEMORY};
use crate::worker::ownership::machine::Machine;

/// For so long after it came, a stop is for the run that is active, whatever the clocks of publishers say.
const AT_ONCE: Duration = Duration::from_secs(1);

/// Why a stop failed this time.
#[derive(Debug, thiserror::Error)]
enum StopError {
    #[error(transparent)]
    Journal(#[from] JournalError),
    #[error("segment {segment} belongs to another worker now")]
    TakenOver { segment: u32 },
    #[error("forwarding it to segment {segment} failed: {source}")]
    Forward { segment: u32, source: PublishError },
}

/// One stop message, from the shared queue or from our mailbox.
///
/// First it asks the run on this worker, which needs no server. Then it is noted, and then it looks
/// for the job. A job is noted before it looks for a stop. So at least one of them sees the other: see
/// [`claim`](super::claim::claim).
pub(super) struct StopMessage {
    delivery: Delivery,
    stop: StopRequest,
    /// What the journal is to know of it.
    noted: Tombstone,
    /// The run of this worker that was asked, and whether this was the first order to stop it.
    asked: Option<(Arc<ActiveRun>, bool)>,
    read_at: Instant,
}

impl StopMessage {
    /// Reads a message and asks the run on this worker to stop, without waiting for anything.
    ///
    /// # Errors
    /// The message, and what is wrong with it.
    pub(super) fn read(ctx: &Context, delivery: Delivery) -> Result<Self, Box<UnreadStop>> {
        let text = text_of(&ctx.tools, &delivery);
        let stop = match text.and_then(|text| parse_stop(&text)) {
            Ok(stop) => stop,
            Err(error) => return Err(Box::new(UnreadStop { delivery, error })),
        };
        let run = ctx.known.active.get(&stop.id);
        let noted = tombstone(&*ctx.tools.machine, &delivery, &stop);
        let is_meant = |run: &Arc<ActiveRun>| {
            decide::reaches(&noted, was_put_aside(&delivery), &run.run_id, run.published_at)
        };
        let asked = run.filter(is_meant).and_then(|run| {
            let is_first = run.request_stop(order(&stop))?;
            Some((run, is_first))
        });
        Ok(Self { delivery, stop, noted, asked, read_at: Instant::now() })
    }

    /// Whom the message is to stop.
    pub(super) fn id(&self) -> &JobId {
        &self.stop.id
    }

    /// Notes the stop, and has whoever runs the job carry it out.
    pub(super) async fn follow(self, ctx: &Context) {
        match carry_out(ctx, &self).await {
            Ok(()) => answer::ack(&self.delivery, &self.stop.id).await,
            Err(error) => {
                tracing::warn!(job.id = %self.stop.id, %error, "could not carry out a stop");
                answer::retry_stop(&*ctx.tools.broker, self.delivery, &error.to_string()).await;
            }
        }
    }
}

async fn carry_out(ctx: &Context, message: &StopMessage) -> Result<(), StopError> {
    let StopMessage { delivery, stop, noted, asked, read_at } = message;
    // A stop in a mailbox was noted by whoever sent it.
    if !matches!(delivery.inbox(), Inbox::Mailbox(_)) {
        ctx.tools.journal.note_stop(noted).await?;
    }
    // A run that is not claimed yet may turn out to be another worker's, a run that we cannot prove
    // to be ours may have been taken over, and one that waits for a retry may have gone elsewhere.
    if let Some((run, is_first)) = asked
        && run.is_held()
        && !run.has_ended()
    {
        if !is_first {
            answer(ctx, delivery, stop, State::Stopping, "the job is stopping already").await;
        }
        return Ok(());
    }
    let now = ctx.tools.machine.now();
    let owner = match ctx.tools.journal.read_or_mark_stopped(&stop.id, now).await? {
        Some(record) if record.state == RecordState::Active => {
            let published_at = record.message.published_at;
            let is_next = asked.as_ref().is_some_and(|(run, _)| run.run_id != record.run_id);
            // The job's next run may have begun while the store was asked.
            let is_late = is_next || was_put_aside(delivery) || read_at.elapsed() > AT_ONCE;
            decide::reaches(noted, is_late, &record.run_id, published_at).then_some(record)
        }
        _ => None,
    };
    match owner {
        Some(record) if ctx.known.tenures.have(&record) => {
            // It may have begun after the message was read, and before the stop was noted above.
            let run = ctx.known.active.get(&stop.id).filter(|run| run.run_id == record.run_id);
            if run.and_then(|run| run.request_stop(order(stop))) != Some(true) {
                // If we are adopting it now, that looks for the stop that was noted above.
                let said = "the job is being taken up, and stops then";
                answer(ctx, delivery, stop, State::Stopping, said).await;
            }
            Ok(())
        }
        Some(JobRecord { segment, run_id, .. }) => {
            // A later owner's record. What we forward, we might take out of the mailbox ourselves.
            if let Some(lost) = ctx.known.tenures.of(segment) {
                lost.resign();
                return Err(StopError::TakenOver { segment });
            }
            // The run by its name: the job's next one may be active when this arrives.
            let stop = StopRequest { run_id: Some(run_id), ..stop.clone() };
            let options = options_of(&*ctx.tools.machine, delivery);
            let forwarded = ctx.tools.broker.forward_stop(segment, &stop, &options).await;
            forwarded.map_err(|source| StopError::Forward { segment, source })?;
            ctx.known.tenures.wrote_to(segment);
            Ok(())
        }
        // The run that was asked has ended, and says so itself.
        None if asked.as_ref().is_some_and(|(run, is_first)| *is_first && run.has_ended()) => {
            Ok(())
        }
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

fn options_of(machine: &dyn Machine, delivery: &Delivery) -> MessageOptions {
    let fresh = || machine.random_id().to_string();
    MessageOptions {
        message_id: delivery.properties.message_id.clone().unwrap_or_else(fresh),
        correlation_id: delivery.properties.correlation_id.clone(),
        // Only status events answer a stop.
        reply_to: None,
        traceparent: delivery.properties.traceparent.clone(),
    }
}

/// Whether a stop could not be carried out before, and has waited since.
fn was_put_aside(delivery: &Delivery) -> bool {
    delivery.properties.attempt > 1
}

fn order(stop: &StopRequest) -> StopOrder {
    StopOrder { reason: stop.reason.clone(), timeout: Duration::from_secs(stop.timeout_seconds) }
}

fn tombstone(machine: &dyn Machine, delivery: &Delivery, stop: &StopRequest) -> Tombstone {
    Tombstone {
        id: stop.id.clone(),
        run_id: stop.run_id.clone(),
        reason: stop.reason.clone(),
        at: delivery.properties.timestamp.unwrap_or_else(|| machine.now()),
        is_spent: false,
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
        progress: None,
    };
    ctx.tools.publisher.status(status, delivery.properties.traceparent.clone()).await;
}

/// A stop that cannot be read. It stops nothing.
pub(super) struct UnreadStop {
    delivery: Delivery,
    error: MessageError,
}

impl UnreadStop {
    /// Puts it among the dead letters, with the reason.
    pub(super) async fn reject(&self, broker: &dyn MessageBroker) {
        let reason = self.error.to_string();
        tracing::warn!(job.id = self.error.id.as_ref().map(JobId::as_str), %reason, "rejected a stop message");
        let moved = broker.dead_letter(&self.delivery, &reason).await;
        answer::moved_or_back(&self.delivery, moved, "dead-letter a stop").await;
    }
}
