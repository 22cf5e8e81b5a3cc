//! Settles deliveries that are not claimed: one function for each case. The ends of a claimed run
//! are in `ending`.

use std::sync::Arc;

use super::claim::is_same_start;
use super::validate::Start;
use crate::broker::{Delivery, Inbox, MessageBroker, MessageProperties, ReplyTo, SettleError};
use crate::job::{
    Event, EventData, ExecutionResult, Job, JobId, MessageError, Run, RunId, State, Status,
    Verdict, refusal_id, sentence,
};
use crate::storage::{JobRecord, JournalError, RecordState};
use crate::worker::active::ActiveRun;
use crate::worker::context::Context;
use crate::worker::decide::{is_stopping, may_retry, next_try, tries};
use crate::worker::run::publisher::Publisher;
use crate::worker::run::reporter::Reporter;

/// Acknowledges a delivery. If that fails, it comes again, and its run shows that it is not new. So
/// a worker that has its job in the journal goes on in any case.
pub(in crate::worker) async fn ack(delivery: &Delivery, id: &JobId) {
    if let Err(error) = delivery.ack().await {
        tracing::warn!(job.id = %id, %error, "could not acknowledge a delivery");
    }
}

/// Refuses a message: a `rejected` result that says why, a copy among the dead letters, an ack. If
/// one of them fails, the message comes again and makes the same event, because the event is stored
/// before it is published.
pub(in crate::worker) async fn reject(ctx: &Context, delivery: Delivery, error: &MessageError) {
    let reason = error.to_string();
    tracing::warn!(job.id = error.id.as_ref().map(JobId::as_str), %reason, "rejected a start message");
    let segment = ctx.known.home_segment();
    let mut result = ExecutionResult::rejected(error, ctx.tools.runner.worker(), segment);
    let kept = async {
        // A reader that follows a job must not take this for the end of an active run.
        if let Some(id) = &result.id
            && is_going_on(ctx, id).await?
        {
            result.id = None;
        }
        ctx.tools.journal.keep_rejection(&unclaimed(&ctx.tools.publisher, &delivery, result)).await
    };
    let event = match kept.await {
        Ok(event) => event,
        Err(error) => {
            tracing::warn!(%error, "could not keep a rejection in the journal");
            ctx.known.gate.close();
            return put_aside(&*ctx.tools.broker, &delivery, 1, delivery.properties.attempt).await;
        }
    };
    if !publish_end(ctx, &event, reply_to(&delivery.properties)).await {
        return put_aside(&*ctx.tools.broker, &delivery, 1, delivery.properties.attempt).await;
    }
    ctx.tools.metrics.ended(Verdict::Rejected.as_str(), None, None);
    let moved = ctx.tools.broker.dead_letter(&delivery, &reason).await;
    moved_or_back(&delivery, moved, "dead-letter a start message").await;
}

/// Whether the journal has a run of a job that has not ended.
async fn is_going_on(ctx: &Context, id: &JobId) -> Result<bool, JournalError> {
    if ctx.known.active.get(id).is_some_and(|run| !run.has_ended()) {
        return Ok(true);
    }
    let record = ctx.tools.journal.read(id).await?;
    Ok(record.is_some_and(|(record, _)| record.state != RecordState::Finished))
}

/// The event about a message that led to no run. Its id comes from the message, not from the run
/// that the message names: that may be another message's run, with its own end.
fn unclaimed(publisher: &Publisher, delivery: &Delivery, result: ExecutionResult) -> Event {
    Event::new(
        refusal_id(delivery.properties.message_id.as_deref(), &delivery.content()),
        publisher.source_of(result.segment),
        delivery.properties.traceparent.clone(),
        EventData::Result(result),
    )
}

/// A start for a job that this worker runs. It is deferred if that run is about to end, because
/// then it is the next version; also if the run is not claimed yet or not shown to be ours any more,
/// because it may be the last copy of that start. Another worker may have taken the run over and put it
/// back while this one stood still.
pub(in crate::worker) async fn already_active(
    ctx: &Context,
    delivery: Delivery,
    start: &Start,
    run: &ActiveRun,
) {
    let Start { job, text, .. } = start;
    if !run.is_held() || run.has_ended() || (run.stop_order().is_some() && run.run_id != job.run_id)
    {
        return later(&*ctx.tools.broker, delivery, job).await;
    }
    let answered = async {
        if run.run_id == job.run_id {
            let record = ctx.tools.journal.read(&job.id).await?;
            let record = record.filter(|(record, _)| record.run_id == job.run_id);
            // Another claim has put the run aside since, and this may be the message that brings it back.
            if record.as_ref().is_some_and(|(record, _)| !run.may_have(record.claim)) {
                return Ok(None);
            }
            let stored = record.and_then(|(record, _)| record.message.body_sha256);
            return Ok(Some((stored, None)));
        }
        let end = ctx.tools.journal.ended(&job.id, &job.run_id).await?;
        let end = end.map_or((None, None), |end| (end.body_sha256, Some(end.event)));
        Ok::<_, JournalError>(Some(end))
    };
    match answered.await {
        Ok(None) => later(&*ctx.tools.broker, delivery, job).await,
        Ok(Some((stored, _))) if !is_same_start(stored.as_deref(), text) => {
            taken_run(ctx, delivery, job).await;
        }
        Ok(Some((_, Some(event)))) => republish(ctx, delivery, job, Some(&event)).await,
        Ok(Some((_, None))) if run.run_id == job.run_id => drop_repeat(&delivery, job).await,
        Ok(Some((_, None))) => {
            tell_duplicate(ctx, &delivery, job, &run.run_id).await;
            ack(&delivery, &job.id).await;
        }
        Err(error) => {
            tracing::warn!(job.id = %job.id, %error, "could not look for the message that started a run");
            later(&*ctx.tools.broker, delivery, job).await;
        }
    }
}

/// A start that names the run of another message.
pub(in crate::worker) async fn taken_run(ctx: &Context, delivery: Delivery, job: &Job) {
    reject(ctx, delivery, &MessageError::of_taken_run(job)).await;
}

/// A start for a job that another worker runs. It is not for an earlier run.
pub(in crate::worker) async fn duplicate(
    ctx: &Context,
    delivery: Delivery,
    job: &Job,
    record: &JobRecord,
) {
    if record.run_id == job.run_id {
        return drop_repeat(&delivery, job).await;
    }
    match ctx.tools.journal.stops(&job.id).await {
        Ok(stops) if stops.iter().any(|stop| is_stopping(stop, record)) => {
            return later(&*ctx.tools.broker, delivery, job).await;
        }
        Ok(_) => {}
        Err(error) => tracing::warn!(job.id = %job.id, %error, "could not look for a stop"),
    }
    tell_duplicate(ctx, &delivery, job, &record.run_id).await;
    ack(&delivery, &job.id).await;
}

async fn drop_repeat(delivery: &Delivery, job: &Job) {
    tracing::info!(job.id = %job.id, "dropped a repeated delivery of an active run");
    ack(delivery, &job.id).await;
}

pub(in crate::worker) async fn tell_duplicate(
    ctx: &Context,
    delivery: &Delivery,
    job: &Job,
    by: &RunId,
) {
    let message = format!("the job is active already, as run {by}");
    let status = Status {
        id: job.id.clone(),
        run_id: Some(job.run_id.clone()),
        state: State::Duplicate,
        entrypoint: Some(job.entrypoint),
        attempt: 0,
        segment: ctx.known.home_segment(),
        worker: ctx.tools.publisher.worker.clone(),
        container_id: None,
        verdict: None,
        message: Some(message),
        progress: None,
    };
    ctx.tools.publisher.status(status, delivery.properties.traceparent.clone()).await;
}

/// Defers a start for the shortest back-off step. Its attempt does not count.
async fn later(broker: &dyn MessageBroker, delivery: Delivery, job: &Job) {
    tracing::info!(job.id = %job.id, "deferred a start, because the job's previous run is still settling");
    put_aside(broker, &delivery, 1, delivery.properties.attempt).await;
}

/// Sends a delivery through the retry queue for `after` attempts, as `attempt`. If that fails, the
/// broker delivers it again.
async fn put_aside(broker: &dyn MessageBroker, delivery: &Delivery, after: u32, attempt: u32) {
    let Some(step) = broker.topology().retry_step_or_last(after) else {
        tracing::error!(
            "could not defer a message, because RETRY_DELAYS_SECONDS names no retry queue"
        );
        return;
    };
    moved_or_back(delivery, broker.retry(delivery, &step, attempt).await, "defer a message").await;
}

/// Gives a delivery back to its queue if it could not be moved, for example because the broker is short of memory:
/// one that nobody settles stays with this worker for as long as the connection lives.
pub(in crate::worker) async fn moved_or_back(
    delivery: &Delivery,
    moved: Result<(), SettleError>,
    action: &'static str,
) {
    let Err(error) = moved else { return };
    tracing::error!(%error, "could not {action}; returning it to its queue");
    if let Err(error) = delivery.requeue().await {
        tracing::debug!(%error, "could not return a message to its queue");
    }
}

/// How often a stop is tried: with the default back-off for some three hours. Nobody hears of a
/// failed stop, so it does not give up as early as a start.
const MAX_STOP_ATTEMPTS: u32 = 100;

/// A stop that failed this time: it is tried again, and in the end becomes a dead letter.
pub(in crate::worker) async fn retry_stop(
    broker: &dyn MessageBroker,
    delivery: Delivery,
    reason: &str,
) {
    let attempt = delivery.properties.attempt;
    if may_retry(attempt, MAX_STOP_ATTEMPTS) {
        put_aside(broker, &delivery, attempt, attempt.saturating_add(1)).await;
    } else {
        let moved = broker.dead_letter(&delivery, reason).await;
        moved_or_back(&delivery, moved, "dead-letter a stop").await;
    }
}

/// A start whose run has already ended: publishes its result again, with the same event id.
pub(in crate::worker) async fn republish(
    ctx: &Context,
    delivery: Delivery,
    job: &Job,
    result: Option<&Event>,
) {
    if let Some(event) = result
        && !publish_end(ctx, event, reply_to(&delivery.properties)).await
    {
        return put_aside(&*ctx.tools.broker, &delivery, 1, delivery.properties.attempt).await;
    }
    ack(&delivery, &job.id).await;
}

/// A start from the queue of the other kind. It goes to its own queue, where a worker takes it only
/// with a slot of its kind.
pub(in crate::worker) async fn redirect(
    broker: &dyn MessageBroker,
    delivery: Delivery,
    job: &Job,
    inbox: Inbox,
) {
    let routing_key = &delivery.routing_key;
    tracing::warn!(job.id = %job.id, routing_key, "the routing key disagrees with is_long_running; is_long_running decides");
    let moved = broker.redirect(&delivery, inbox).await;
    moved_or_back(&delivery, moved, "move a start to the queue of its kind").await;
}

/// A start whose segment now belongs to another worker: the broker delivers it again.
pub(in crate::worker) async fn too_late(delivery: Delivery, job: &Job) {
    tracing::warn!(job.id = %job.id, "returned a start to its queue, because another worker took over the segment");
    if let Err(error) = delivery.requeue().await {
        tracing::debug!(job.id = %job.id, %error, "could not return a start to its queue");
    }
}

/// A start for which the infrastructure failed before it was claimed.
pub(in crate::worker) async fn unavailable(
    ctx: &Context,
    delivery: Delivery,
    job: &Job,
    reason: &str,
) {
    tracing::warn!(job.id = %job.id, reason, "could not claim a job");
    let MessageProperties { attempt, first_try, .. } = delivery.properties;
    if let Some(tries) = next_try(job, attempt, first_try) {
        return put_aside(&*ctx.tools.broker, &delivery, tries, attempt.saturating_add(1)).await;
    }
    let tries = tries(job.is_long_running, attempt, first_try);
    let segment = ctx.known.home_segment().unwrap_or(0);
    let run = Run { job: Arc::new(job.clone()), attempt, segment, is_new: false };
    let why = sentence::gave_up(tries, reason);
    let result =
        ExecutionResult::failed(&run, ctx.tools.runner.worker(), Verdict::Unavailable, why);
    let traceparent = delivery.properties.traceparent.clone();
    let reporter = Reporter::new(ctx.tools.publisher.clone(), run, traceparent);
    let mut result = reporter.masked(result);
    // The journal does not have this run, but may have another message's run with this name.
    result.run_id = None;
    let event = unclaimed(&ctx.tools.publisher, &delivery, result);
    if publish_end(ctx, &event, reply_to(&delivery.properties)).await {
        ack(&delivery, &job.id).await;
    } else {
        put_aside(&*ctx.tools.broker, &delivery, tries, attempt).await;
    }
}

/// Publishes the end of a run that is not claimed. If the broker does not confirm it, the journal
/// keeps it for our own segment. Returns whether it is safe.
pub(in crate::worker) async fn publish_end(
    ctx: &Context,
    event: &Event,
    reply: Option<ReplyTo>,
) -> bool {
    match ctx.known.tenures.home_now() {
        Some(home) => ctx.tools.outbox.publish(&home, event, reply).await,
        None => ctx.tools.publisher.end(event, reply.as_ref()).await,
    }
}

pub(in crate::worker) fn reply_to(properties: &MessageProperties) -> Option<ReplyTo> {
    ReplyTo::of(properties.reply_to.as_deref(), properties.correlation_id.as_deref())
}
