//! The ends of a run that is ours according to the journal: settled, put back for a retry,
//! cancelled.

use std::sync::Arc;

use super::account::{Account, Claimed, Written};
use super::reporter::Reporter;
use crate::broker::{Inbox, OutgoingMessage, ReplyTo, RetryStep};
use crate::job::{Event, EventData, ExecutionResult, ResultStatus, Run, State, Verdict, sentence};
use crate::metrics::Stage;
use crate::storage::{JobRecord, Journal, JournalError, RecordState, StoredMessage};
use crate::traces;
use crate::worker::active::ActiveRun;
use crate::worker::context::{Context, Tools};
use crate::worker::decide::{next_try, tries};
use crate::worker::ownership::tenure::{Change, Tenure};

/// The end of a claimed run. The verdict goes to the journal, a rejected message to the dead
/// letters, the events to the broker or the outbox; container and directory are removed, and the
/// index entry last. After a crash at any point, the journal says how to go on. The slot is free
/// when the journal has the end and the container is removed, so no subscriber can hold it up.
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
        record.finished_at = Some(tools.machine.now());
        record.result = Some(event.clone());
    });
    let written = tools.metrics.timed(Stage::Settle, finished).await;
    let record = account.record().await;
    match written {
        Written::Yes => note_end(tools, &record, &event, reporter.runtime().as_str()),
        // The container stays. The segment's next owner settles it.
        Written::Detached => return,
        Written::TakenOver => return tools.runner.forget(&record.id),
    }
    // From here on, a start of the job is a new one, and a stop finds nothing to stop. Both may
    // come before the journal is tidy.
    active.end();
    let reply = reply_to(&record.message);
    let publish = async {
        let announced = announce(tools, &record, &event).await;
        reporter.drain().await;
        let publishing = tools.outbox.publish(account.tenure(), &event, reply);
        tools.metrics.timed(Stage::Publish, publishing).await && announced
    };
    // The journal has the end, and the store has the results, so nobody needs the container.
    let release = async {
        tools.runner.release(&record.id).await;
        active.free_slot();
    };
    let (published, ()) = tokio::join!(publish, release);
    let was_stopped = verdict.is_some_and(Verdict::was_asked_for);
    forget(&tools.journal, account.tenure(), &record, was_stopped, published).await;
}

/// Logs and counts how a run ended.
fn note_end(tools: &Tools, record: &JobRecord, event: &Event, runtime: &str) {
    let EventData::Result(result) = &event.data else { return };
    if let Some(verdict) = result.verdict {
        let long_running = result.is_long_running;
        tools.metrics.ended(verdict.as_str(), Some(runtime), Some(long_running));
        let is_problem = verdict.status() == ResultStatus::Error && !verdict.was_asked_for();
        let problem = is_problem.then_some(result.message.as_str());
        traces::ended(verdict.as_str(), result.attempt, problem);
    }
    tracing::info!(
        job.id = %record.id, run.id = %record.run_id, attempt = result.attempt,
        verdict = result.verdict.map(Verdict::as_str), exit_code = result.exit_code,
        duration_seconds = result.duration_seconds, detail = result.message, "a run has ended"
    );
}

/// Puts a copy of a rejected message among the dead letters. Returns whether that worked.
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

/// Removes a settled run from the journal's indexes. From the segment's index only while the
/// segment is ours, because a later owner may be about to settle it too.
async fn forget(
    journal: &Journal,
    tenure: &Tenure,
    record: &JobRecord,
    was_stopped: bool,
    published: bool,
) {
    let forgotten = async {
        if was_stopped {
            journal.spend_stops(&record.id, &record.run_id).await?;
        }
        if published && tenure.proven().await.is_ok() {
            journal.leave(record.segment, &record.entry()).await?;
            return Ok(Change::Ended);
        }
        Ok::<_, JournalError>(Change::Unfinished)
    };
    tenure.note(forgotten.await.unwrap_or_else(|error| {
        tracing::warn!(job.id = %record.id, %error, "could not tidy the journal");
        Change::Unfinished
    }));
}

/// Settles a claimed run that does not run: cancelled, or lost.
pub(in crate::worker) async fn settle_unrun(
    ctx: &Context,
    active: &ActiveRun,
    claimed: Claimed,
    verdict: Verdict,
    why: String,
) {
    let result = ExecutionResult::failed(&claimed.run, ctx.tools.runner.worker(), verdict, why);
    let (reporter, account) = unrun(ctx, claimed);
    settle(&ctx.tools, active, reporter, &account, result).await;
}

/// The reporter and the account of a claimed run that does not run here.
fn unrun(ctx: &Context, claimed: Claimed) -> (Reporter, Account) {
    let Claimed { run, tenure, record, etag } = claimed;
    let trace = record.message.traceparent.clone();
    let reporter = Reporter::new(ctx.tools.publisher.clone(), run, trace);
    (reporter, Account::new(&ctx.tools, &ctx.drain, tenure, (record, etag)))
}

/// Publishes the end of a run that its last owner settled, but perhaps did not publish. Returns
/// whether it is safe: see [`Outbox::publish`](super::outbox::Outbox::publish).
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

/// An attempt that failed because of the infrastructure.
pub(in crate::worker) struct FailedTry<'a> {
    pub(in crate::worker) run: &'a Run,
    pub(in crate::worker) attempt: u32,
    /// The attempt from which tries in a row count.
    pub(in crate::worker) first_try: u32,
    pub(in crate::worker) reason: &'a str,
}

/// Decides on a claimed run whose attempt failed because of the infrastructure.
pub(in crate::worker) async fn try_again_or_give_up(
    tools: &Tools,
    active: &ActiveRun,
    reporter: Reporter,
    account: &Account,
    failed: &FailedTry<'_>,
) {
    let FailedTry { run, attempt, first_try, reason } = *failed;
    if let Some(order) = active.stop_order() {
        let why = sentence::stopped_between_attempts(order.reason.as_deref(), reason);
        let result = ExecutionResult::failed(run, tools.runner.worker(), Verdict::Stopped, why);
        return settle(tools, active, reporter, account, result).await;
    }
    let step = next_try(&run.job, attempt, first_try)
        .and_then(|tries| tools.broker.topology().retry_step_or_last(tries));
    if let Some(step) = step {
        let seconds = step.delay().as_secs();
        let why = format!("attempt {attempt} failed, tried again in {seconds} s: {reason}");
        let inbox = Inbox::of_start(run.job.is_long_running);
        let next = NextTry { attempt: attempt.saturating_add(1), first_try, why, inbox };
        return defer(tools, active, reporter, account, next, &step).await;
    }
    let tries = tries(run.job.is_long_running, attempt, first_try);
    let message = sentence::gave_up(tries, reason);
    let result = ExecutionResult::failed(run, tools.runner.worker(), Verdict::Unavailable, message);
    settle(tools, active, reporter, account, result).await;
}

/// Puts a run back into the broker that has not begun here: there is no room for it.
pub(in crate::worker) async fn put_back(
    ctx: &Context,
    active: &ActiveRun,
    claimed: Claimed,
    step: &RetryStep,
) {
    let Claimed { run, record, .. } = &claimed;
    let seconds = step.delay().as_secs();
    let why = format!("its worker is gone, and worker {} has no room", ctx.tools.runner.worker());
    let why = format!("{why}; whoever has room starts it in {seconds} s");
    let inbox = Inbox::of_start(run.job.is_long_running);
    let next = NextTry { attempt: run.attempt, first_try: record.first_try, why, inbox };
    let (reporter, account) = unrun(ctx, claimed);
    defer(&ctx.tools, active, reporter, &account, next, step).await;
}

/// The next attempt of a run that is put back.
struct NextTry {
    attempt: u32,
    /// The attempt from which tries in a row count.
    first_try: u32,
    /// Why it is put back, for its status event.
    why: String,
    /// The queue that it goes back to.
    inbox: Inbox,
}

/// Puts a claimed run back into the broker, for later.
async fn defer(
    tools: &Tools,
    active: &ActiveRun,
    reporter: Reporter,
    account: &Account,
    next: NextTry,
    step: &RetryStep,
) {
    let NextTry { attempt, first_try, why, inbox } = next;
    reporter.report(State::Restarting, None, Some(why));
    let waiting = account.write(|record| {
        record.state = RecordState::Waiting;
        record.attempt = attempt;
        record.first_try = first_try;
    });
    if waiting.await != Written::Yes {
        return;
    }
    active.free_slot();
    reporter.drain().await;
    let record = account.record().await;
    active.end();
    let message = outgoing(&record);
    let counted = (record.attempt, record.first_try);
    match tools.broker.retry_message(message, inbox, step, counted, &tools.given_up).await {
        Ok(()) => forget(&tools.journal, account.tenure(), &record, false, true).await,
        Err(error) => {
            tracing::error!(job.id = %record.id, %error, "could not defer a run");
            account.tenure().note(Change::Unfinished);
        }
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
