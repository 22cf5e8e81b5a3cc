//! Every way in which a delivery is settled that is not claimed, one function each. The ends of a
//! claimed run are in `ending`.

use std::sync::Arc;

use super::claim::is_same_start;
use super::validate::Start;
use crate::broker::{Broker, Delivery, Inbox, MessageProperties, ReplyTo};
use crate::job::{
    Event, EventData, ExecutionResult, Job, JobId, MessageError, Run, RunId, State, Status,
    Verdict, refusal_id, sentence,
};
use crate::storage::{JobRecord, JournalError, RecordState};
use crate::worker::active::ActiveRun;
use crate::worker::context::Context;
use crate::worker::decide::{is_stopping, may_retry, tries};
use crate::worker::run::publisher::Publisher;
use crate::worker::run::reporter::Reporter;

/// Acknowledges a delivery. One that cannot be acknowledged comes again, and is then told from a
/// new one by its run; so whoever has journaled its job goes on in any case.
pub(in crate::worker) async fn ack(delivery: &Delivery, id: &JobId) {
    if let Err(error) = delivery.ack().await {
        tracing::warn!(job.id = %id, %error, "could not acknowledge a delivery");
    }
}

/// A message that cannot be followed: a `rejected` result that says why, a copy among the dead
/// letters, an ack. Should one of them fail, the message comes again and gives the same event: it is
/// kept before it is published.
pub(in crate::worker) async fn reject(ctx: &Context, delivery: Delivery, error: &MessageError) {
    let reason = error.to_string();
    tracing::warn!(job.id = error.id.as_ref().map(JobId::as_str), %reason, "rejected a start message");
    let segment = ctx.known.home_segment();
    let mut result = ExecutionResult::rejected(error, ctx.tools.runner.worker(), segment);
    let kept = async {
        // A reader who follows a job must not take this for the end of a run that goes on.
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
            return put_aside(&ctx.tools.broker, &delivery, 1, delivery.properties.attempt).await;
        }
    };
    if !publish_end(ctx, &event, reply_to(&delivery.properties)).await {
        return put_aside(&ctx.tools.broker, &delivery, 1, delivery.properties.attempt).await;
    }
    if let Err(error) = ctx.tools.broker.dead_letter(&delivery, &reason).await {
        tracing::error!(%error, "could not dead-letter a start message");
    }
}

/// Whether the journal has a run of a job that has not ended.
async fn is_going_on(ctx: &Context, id: &JobId) -> Result<bool, JournalError> {
    if ctx.known.active.get(id).is_some_and(|run| !run.has_ended()) {
        return Ok(true);
    }
    let record = ctx.tools.journal.read(id).await?;
    Ok(record.is_some_and(|(record, _)| record.state != RecordState::Finished))
}

/// The event about a message that no run came of. Its id is the message's own, not that of the run
/// which the message names: that may be another message's run, and has an end of its own.
fn unclaimed(publisher: &Publisher, delivery: &Delivery, result: ExecutionResult) -> Event {
    Event::new(
        refusal_id(delivery.properties.message_id.as_deref(), &delivery.content()),
        publisher.source_of(result.segment),
        delivery.properties.traceparent.clone(),
        EventData::Result(result),
    )
}

/// A start for a job that this worker runs. It is followed later where that run has ended or another one
/// is about to, for then it is the next version, and where the run is not claimed yet, for it may be the
/// last copy of that very start.
pub(in crate::worker) async fn already_active(
    ctx: &Context,
    delivery: Delivery,
    start: &Start,
    run: &ActiveRun,
) {
    let Start { job, text, .. } = start;
    if !run.is_claimed()
        || run.has_ended()
        || (run.stop_order().is_some() && run.run_id != job.run_id)
    {
        return later(&ctx.tools.broker, delivery, job).await;
    }
    let answered = async {
        if run.run_id == job.run_id {
            let record = ctx.tools.journal.read(&job.id).await?;
            let record = record.filter(|(record, _)| record.run_id == job.run_id);
            let stored = record.and_then(|(record, _)| record.message.body_sha256);
            return Ok((stored, None));
        }
        let end = ctx.tools.journal.ended(&job.id, &job.run_id).await?;
        Ok::<_, JournalError>(end.map_or((None, None), |end| (end.body_sha256, Some(end.event))))
    };
    match answered.await {
        Ok((stored, _)) if !is_same_start(stored.as_deref(), text) => {
            taken_run(ctx, delivery, job).await;
        }
        Ok((_, Some(event))) => republish(ctx, delivery, job, Some(&event)).await,
        Ok((_, None)) if run.run_id == job.run_id => drop_repeat(&delivery, job).await,
        Ok((_, None)) => {
            tell_duplicate(ctx, &delivery, job, &run.run_id).await;
            ack(&delivery, &job.id).await;
        }
        Err(error) => {
            tracing::warn!(job.id = %job.id, %error, "could not look for the message that started a run");
            later(&ctx.tools.broker, delivery, job).await;
        }
    }
}

/// A start that names the run of another message.
pub(in crate::worker) async fn taken_run(ctx: &Context, delivery: Delivery, job: &Job) {
    reject(ctx, delivery, &MessageError::of_taken_run(job)).await;
}

/// A start for a job that another worker runs, and not one of its earlier runs.
pub(in crate::worker) async fn duplicate(
    ctx: &Context,
    delivery: Delivery,
    job: &Job,
    record: &JobRecord,
) {
    if record.run_id == job.run_id {
        return drop_repeat(&delivery, job).await;
    }
    match ctx.tools.journal.tombstone(&job.id).await {
        Ok(Some(stop)) if is_stopping(&stop, record) => {
            return later(&ctx.tools.broker, delivery, job).await;
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
    };
    ctx.tools.publisher.status(status, delivery.properties.traceparent.clone()).await;
}

/// Puts a start aside for the shortest back-off step; its attempt does not count.
async fn later(broker: &Broker, delivery: Delivery, job: &Job) {
    tracing::info!(job.id = %job.id, "deferred a start, because the job's previous run is still settling");
    put_aside(broker, &delivery, 1, delivery.properties.attempt).await;
}

/// Sends a delivery through the retry queue that follows `after` attempts, as `attempt`. Where that
/// fails, the broker delivers it again.
async fn put_aside(broker: &Broker, delivery: &Delivery, after: u32, attempt: u32) {
    let Some(step) = broker.topology().retry_step_or_last(after) else {
        tracing::error!(
            "could not defer a message, because RETRY_DELAYS_SECONDS names no retry queue"
        );
        return;
    };
    if let Err(error) = broker.retry(delivery, &step, attempt).await {
        tracing::error!(%error, "could not defer a message");
    }
}

/// How often a stop is tried: with the default back-off for some three hours. Nobody is told when a
/// stop fails, so it does not give up as a start does.
const MAX_STOP_ATTEMPTS: u32 = 100;

/// A stop that could not be followed this time: tried again, and in the end a dead letter.
pub(in crate::worker) async fn retry_stop(broker: &Broker, delivery: Delivery, reason: &str) {
    let attempt = delivery.properties.attempt;
    if may_retry(attempt, MAX_STOP_ATTEMPTS) {
        put_aside(broker, &delivery, attempt, attempt.saturating_add(1)).await;
    } else if let Err(error) = broker.dead_letter(&delivery, reason).await {
        tracing::error!(%error, "could not dead-letter a stop");
    }
}

/// A start whose run has ended already: its result again, under the same event id.
pub(in crate::worker) async fn republish(
    ctx: &Context,
    delivery: Delivery,
    job: &Job,
    result: Option<&Event>,
) {
    if let Some(event) = result
        && !publish_end(ctx, event, reply_to(&delivery.properties)).await
    {
        return put_aside(&ctx.tools.broker, &delivery, 1, delivery.properties.attempt).await;
    }
    ack(&delivery, &job.id).await;
}

/// A start that came by the queue of the other kind. It goes to its own, where a slot of its kind
/// comes before it.
pub(in crate::worker) async fn redirect(
    broker: &Broker,
    delivery: Delivery,
    job: &Job,
    inbox: Inbox,
) {
    let routing_key = &delivery.routing_key;
    tracing::warn!(job.id = %job.id, routing_key, "the routing key disagrees with is_long_running; is_long_running decides");
    if let Err(error) = broker.redirect(&delivery, inbox).await {
        tracing::error!(job.id = %job.id, %error, "could not move a start to the queue of its kind");
    }
}

/// A start whose segment is somebody else's meanwhile: the broker delivers it again.
pub(in crate::worker) async fn too_late(delivery: Delivery, job: &Job) {
    tracing::warn!(job.id = %job.id, "returned a start to its queue, because another worker took over the segment");
    if let Err(error) = delivery.requeue().await {
        tracing::debug!(job.id = %job.id, %error, "could not return a start to its queue");
    }
}

/// A start that our infrastructure failed before it was claimed.
pub(in crate::worker) async fn unavailable(
    ctx: &Context,
    delivery: Delivery,
    job: &Job,
    reason: &str,
) {
    tracing::warn!(job.id = %job.id, reason, "could not claim a job");
    let MessageProperties { attempt, first_try, .. } = delivery.properties;
    let tries = tries(job.is_long_running, attempt, first_try);
    if may_retry(tries, job.max_attempts) {
        return put_aside(&ctx.tools.broker, &delivery, tries, attempt.saturating_add(1)).await;
    }
    let segment = ctx.known.home_segment().unwrap_or(0);
    let run = Run { job: Arc::new(job.clone()), attempt, segment };
    let why = sentence::gave_up(tries, reason);
    let result =
        ExecutionResult::failed(&run, ctx.tools.runner.worker(), Verdict::Unavailable, why);
    let traceparent = delivery.properties.traceparent.clone();
    let reporter = Reporter::new(ctx.tools.publisher.clone(), run, traceparent);
    let mut result = reporter.masked(result);
    // The journal does not have this run, and may have another message's run of this name.
    result.run_id = None;
    let event = unclaimed(&ctx.tools.publisher, &delivery, result);
    if publish_end(ctx, &event, reply_to(&delivery.properties)).await {
        ack(&delivery, &job.id).await;
    } else {
        put_aside(&ctx.tools.broker, &delivery, tries, attempt).await;
    }
}

/// Publishes the end of a run that is not claimed, or has the journal keep it for our own segment where the
/// broker does not confirm it. Gives whether it is safe.
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
