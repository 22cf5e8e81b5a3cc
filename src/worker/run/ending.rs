//! The ends of a run that the journal says is ours: settled, put aside for a retry, cancelled.

use std::sync::Arc;

use jiff::Timestamp;

use super::account::{Account, Claimed, Written};
use super::reporter::Reporter;
use crate::broker::{Inbox, OutgoingMessage, ReplyTo, RetryStep};
use crate::job::{Event, EventData, ExecutionResult, Run, State, Verdict, sentence};
use crate::storage::{JobRecord, Journal, JournalError, RecordState, StoredMessage};
use crate::worker::active::ActiveRun;
use crate::worker::context::{Context, Tools};
use crate::worker::decide::{may_retry, tries};
use crate::worker::ownership::tenure::Tenure;

/// The end of a claimed run: the verdict goes to the journal, a rejected one to the dead letters, the
/// events to the broker or to the outbox, container and directory away, the index last. A crash at any
/// point is taken up from the journal. The slot is free once the journal has the end and the container is
/// gone: nobody who listens can keep it.
pub(in crate::worker) async fn settle(
    tools: &Tools,
    active: &ActiveRun,
    reporter: Reporter,
    account: &Account,
    result: ExecutionResult,
) {
    let verdict = result.verdict;
    let event = reporter.result_event(result);
    let finished = account.write(|record| {
        record.state = RecordState::Finished;
        record.finished_at = Some(Timestamp::now());
        record.result = Some(event.clone());
    });
    let written = finished.await;
    let record = account.record().await;
    match written {
        Written::Yes => {}
        // The container stays; whoever takes the segment next settles it.
        Written::Detached => return,
        Written::TakenOver => return tools.runner.forget(&record.id),
    }
    // From here on a start of the job is a new one, and a stop finds nothing to stop: both may come
    // before the journal is tidy.
    active.end();
    let reply = reply_to(&record.message);
    let publish = async {
        let announced = announce(tools, &record, &event).await;
        reporter.drain().await;
        tools.outbox.publish(account.tenure(), &event, reply).await && announced
    };
    // The journal has the end, and the store what was written: nobody needs the container.
    let release = async {
        tools.runner.release(&record.id).await;
        active.free_slot();
    };
    let (published, ()) = tokio::join!(publish, release);
    let was_stopped = verdict.is_some_and(Verdict::was_asked_for);
    forget(&tools.journal, account.tenure(), &record, was_stopped, published).await;
}

/// Puts a copy of a rejected message among the dead letters. Gives whether that is done.
async fn announce(tools: &Tools, record: &JobRecord, event: &Event) -> bool {
    let EventData::Result(result) = &event.data else {
        return true;
    };
    if !result.verdict.is_some_and(Verdict::is_rejection) {
        return true;
    }
    let (message, inbox) = (outgoing(record), Inbox::of_start(result.is_long_running));
    match tools.broker.dead_letter_message(message, inbox, &result.message, &tools.given_up).await {
        Ok(()) => true,
        Err(error) => {
            tracing::error!(job.id = %record.id, %error, "could not dead-letter a start message");
            false
        }
    }
}

/// Takes what is done out of the journal's indexes; out of the segment's only while that is ours,
/// for a later owner may have entered the job's next run.
async fn forget(
    journal: &Journal,
    tenure: &Tenure,
    record: &JobRecord,
    was_stopped: bool,
    published: bool,
) {
    let forgotten = async {
        if was_stopped {
            journal.remove_tombstone(&record.id).await?;
        }
        if published && tenure.proven().await.is_ok() {
            journal.remove_from_segment(record.segment, &record.id).await?;
        }
        Ok::<_, JournalError>(())
    };
    if let Err(error) = forgotten.await {
        tracing::warn!(job.id = %record.id, %error, "could not tidy the journal");
    }
}

/// Settles a claimed run that does not run: cancelled, or lost.
pub(in crate::worker) async fn settle_unrun(
    ctx: &Context,
    active: &ActiveRun,
    claimed: Claimed,
    verdict: Verdict,
    why: String,
) {
    let Claimed { run, tenure, record, etag } = claimed;
    let result = ExecutionResult::failed(&run, ctx.tools.runner.worker(), verdict, why);
    let trace = record.message.traceparent.clone();
    let reporter = Reporter::new(ctx.tools.publisher.clone(), run, trace);
    let account = Account::new(&ctx.tools, &ctx.drain, tenure, (record, etag));
    settle(&ctx.tools, active, reporter, &account, result).await;
}

/// Publishes the end of a run that a last owner settled, but perhaps did not publish. Gives whether
/// it is safe: see [`Outbox::publish`](super::outbox::Outbox::publish).
pub(in crate::worker) async fn publish_again(
    tools: &Tools,
    tenure: &Arc<Tenure>,
    record: &JobRecord,
) -> bool {
    match &record.result {
        Some(event) => {
            announce(tools, record, event).await
                && tools.outbox.publish(tenure, event, reply_to(&record.message)).await
        }
        None => true,
    }
}

/// An attempt that our infrastructure failed.
pub(in crate::worker) struct FailedTry<'a> {
    pub(in crate::worker) run: &'a Run,
    pub(in crate::worker) attempt: u32,
    /// The attempt from which tries in a row are counted.
    pub(in crate::worker) first_try: u32,
    pub(in crate::worker) reason: &'a str,
}

/// What becomes of a claimed run whose attempt our infrastructure failed.
pub(in crate::worker) async fn try_again_or_give_up(
    tools: &Tools,
    active: &ActiveRun,
    reporter: Reporter,
    account: &Account,
    failed: &FailedTry<'_>,
) {
    let FailedTry { run, attempt, first_try, reason } = *failed;
    let tries = tries(run.job.is_long_running, attempt, first_try);
    let step = tools.broker.topology().retry_step_or_last(tries);
    if let Some(step) = step.filter(|_| may_retry(tries, run.job.max_attempts)) {
        return retry(tools, active, reporter, account, failed, &step).await;
    }
    let message = sentence::gave_up(tries, reason);
    let result = ExecutionResult::failed(run, tools.runner.worker(), Verdict::Unavailable, message);
    settle(tools, active, reporter, account, result).await;
}

/// Puts a claimed run back to the broker, for later.
async fn retry(
    tools: &Tools,
    active: &ActiveRun,
    reporter: Reporter,
    account: &Account,
    failed: &FailedTry<'_>,
    step: &RetryStep,
) {
    let FailedTry { run, attempt, first_try, reason } = *failed;
    let seconds = step.delay().as_secs();
    let message = format!("attempt {attempt} failed, tried again in {seconds} s: {reason}");
    reporter.report(State::Restarting, None, Some(message));
    let waiting = account.write(|record| {
        record.state = RecordState::Waiting;
        record.attempt = attempt.saturating_add(1);
        record.first_try = first_try;
    });
    if waiting.await != Written::Yes {
        return;
    }
    active.free_slot();
    reporter.drain().await;
    let record = account.record().await;
    active.end();
    let (message, inbox) = (outgoing(&record), Inbox::of_start(run.job.is_long_running));
    let counted = (record.attempt, record.first_try);
    match tools.broker.retry_message(message, inbox, step, counted, &tools.given_up).await {
        Ok(()) => forget(&tools.journal, account.tenure(), &record, false, true).await,
        Err(error) => tracing::error!(job.id = %record.id, %error, "could not defer a run"),
    }
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
