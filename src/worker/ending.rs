//! The ends of a run that the journal says is ours: settled, put aside for a retry, cancelled.

use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use jiff::Timestamp;

use super::claim::Claimed;
use super::context::Context;
use super::reporter::Reporter;
use crate::broker::{Inbox, OutgoingMessage, ReplyTo, RetryStep};
use crate::job::{Event, EventData, ExecutionResult, State, Verdict};
use crate::runner::{Run, failed_result};
use crate::storage::{ETag, JobRecord, JournalError, RecordState, StoredMessage};

/// The end of a claimed run: verdict to the journal, a dead letter for a rejected one, events until
/// confirmed, container and directory away, the index last. A crash at any point is taken up from
/// the journal.
pub(super) async fn settle(
    ctx: &Context,
    reporter: Reporter,
    claimed: Claimed,
    result: ExecutionResult,
) {
    let Claimed { run, mut record, etag } = claimed;
    let verdict = result.verdict;
    let event = reporter.result_event(result);
    record.state = RecordState::Finished;
    record.finished_at = Some(Timestamp::now());
    record.result = Some(event.clone());
    tokio::select! {
        () = write_record(ctx, &record, &etag) => {}
        // The container stays; whoever takes the segment next settles it.
        () = ctx.detach.cancelled() => return,
    }
    end_active(ctx, &record);
    let reply = reply_to(&record.message);
    let publish = async {
        let announced = announce(ctx, &run, &record, &event).await;
        reporter.finish(&event, reply.as_ref()).await && announced
    };
    // The journal has the end, and the store what was written: nobody needs the container.
    let (published, ()) = tokio::join!(publish, ctx.runner.release(&record.id));
    let was_stopped = matches!(verdict, Some(Verdict::Stopped | Verdict::Cancelled));
    forget(ctx, &record, was_stopped, published).await;
}

/// Puts a copy of a rejected message among the dead letters. Gives whether that is done.
async fn announce(ctx: &Context, run: &Run, record: &JobRecord, event: &Event) -> bool {
    let EventData::Result(result) = &event.data else {
        return true;
    };
    if result.verdict != Some(Verdict::Rejected) {
        return true;
    }
    let (message, inbox) = (outgoing(record), inbox_of(run));
    match ctx.broker.dead_letter_message(message, inbox, &result.message, &ctx.give_up).await {
        Ok(()) => true,
        Err(error) => {
            tracing::error!(job.id = %record.id, %error, "dead-letter message");
            false
        }
    }
}

/// Takes what is done out of the journal's indexes.
async fn forget(ctx: &Context, record: &JobRecord, was_stopped: bool, published: bool) {
    let forgotten = async {
        if was_stopped {
            ctx.journal.remove_tombstone(&record.id).await?;
        }
        if published {
            ctx.journal.remove_from_segment(ctx.segment, &record.id).await?;
        }
        Ok::<_, JournalError>(())
    };
    if let Err(error) = forgotten.await {
        tracing::warn!(job.id = %record.id, %error, "tidy journal");
    }
}

/// Settles a claimed run that does not run: cancelled, or lost.
pub(super) async fn settle_unrun(ctx: &Context, claimed: Claimed, verdict: Verdict, why: String) {
    let run = claimed.run.clone();
    let trace = claimed.record.message.traceparent.clone();
    let reporter = Reporter::new(ctx.publisher.clone(), run, trace, None);
    let result = failed_result(&claimed.run, ctx.runner.worker(), verdict, why);
    settle(ctx, reporter, claimed, result).await;
}

/// Publishes the result of a run that a last owner settled, but perhaps did not publish.
pub(super) async fn publish_again(ctx: &Context, record: &JobRecord) {
    if let Some(event) = &record.result {
        ctx.publisher.publish(event, reply_to(&record.message).as_ref()).await;
    }
}

/// Puts a claimed run that our infrastructure failed back to the broker, for later.
pub(super) async fn retry(
    ctx: &Context,
    reporter: Reporter,
    claimed: Claimed,
    attempt: u32,
    step: &RetryStep,
    reason: &str,
) {
    let Claimed { run, mut record, etag } = claimed;
    let seconds = step.delay().as_secs();
    let message = format!("attempt {attempt} failed, tried again in {seconds} s: {reason}");
    reporter.report(State::Restarting, None, Some(message));
    reporter.drain().await;
    record.state = RecordState::Waiting;
    record.attempt = attempt + 1;
    tokio::select! {
        () = write_record(ctx, &record, &etag) => {}
        () = ctx.detach.cancelled() => return,
    }
    end_active(ctx, &record);
    let (message, inbox) = (outgoing(&record), inbox_of(&run));
    match ctx.broker.retry_message(message, inbox, step, record.attempt, &ctx.give_up).await {
        Ok(()) => forget(ctx, &record, false, true).await,
        Err(error) => tracing::error!(job.id = %record.id, %error, "put run aside"),
    }
}

/// From here on a start of the job is a new one, and a stop finds nothing to stop: both may come
/// before the journal is tidy.
fn end_active(ctx: &Context, record: &JobRecord) {
    if let Some(active) = ctx.active.get(&record.id) {
        active.end();
    }
}

fn inbox_of(run: &Run) -> Inbox {
    if run.job.is_long_running { Inbox::StartLongRunning } else { Inbox::StartTerminating }
}

fn reply_to(message: &StoredMessage) -> Option<ReplyTo> {
    ReplyTo::of(message.reply_to.as_deref(), message.correlation_id.as_deref())
}

/// The start message as it came.
fn outgoing(record: &JobRecord) -> OutgoingMessage {
    let message = &record.message;
    let mut outgoing = OutgoingMessage::json(message.body.clone());
    outgoing.message_id.clone_from(&record.message_id);
    outgoing.correlation_id.clone_from(&message.correlation_id);
    outgoing.reply_to.clone_from(&message.reply_to);
    outgoing.timestamp = message.published_at;
    if let Some(trace) = &message.traceparent {
        outgoing.set_traceparent(trace);
    }
    outgoing
}

/// The longest pause between two attempts to write a record.
const MAX_WRITE_PAUSE: Duration = Duration::from_secs(30);

/// Writes a record of ours, however long the store is away.
async fn write_record(ctx: &Context, record: &JobRecord, etag: &ETag) {
    let backoff =
        ExponentialBuilder::new().with_jitter().with_max_delay(MAX_WRITE_PAUSE).without_max_times();
    let written = (|| ctx.journal.replace(record, etag))
        .retry(backoff)
        .notify(|error, _| tracing::warn!(job.id = %record.id, %error, "write journal"))
        .await;
    if matches!(written, Ok(None)) {
        tracing::error!(job.id = %record.id, "the job's record was written by somebody else");
    }
}
