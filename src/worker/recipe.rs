//! From delivery to settled: the way of a start message, top down.

use std::sync::Arc;

use super::active::ActiveGuard;
use super::context::Context;
use super::decide::why_cancelled;
use super::message::answer;
use super::message::claim::{self, Claim};
use super::message::validate::validate;
use super::ownership::tenure::Tenure;
use super::run::account::{Account, Claimed};
use super::run::ending;
use super::run::ending::FailedTry;
use super::run::execute::{Begin, Executed, execute};
use super::run::reporter::Reporter;
use super::slots::Slot;
use crate::broker::{Delivery, Inbox};
use crate::job::{State, Verdict};

/// Follows one start message: validate → claim → ack → run → settle.
///
/// The delivery is acknowledged as soon as the journal has the job, so that no time-out of the
/// broker can hit a long run, and a restart of the broker does not touch running containers.
pub(super) async fn follow_start(
    ctx: Arc<Context>,
    tenure: Arc<Tenure>,
    delivery: Delivery,
    slot: Slot,
) {
    let start = match validate(&ctx.tools, &delivery) {
        Ok(start) => start,
        Err(error) => return answer::reject(&ctx, delivery, &error).await,
    };
    let job = &start.job;
    let inbox = Inbox::of_start(job.is_long_running);
    if delivery.inbox() != inbox {
        return answer::redirect(&ctx.tools.broker, delivery, job, inbox).await;
    }
    let guard = match ctx.known.active.begin(&job.id, &job.run_id) {
        Ok(guard) => guard,
        Err(active) => return answer::already_active(&ctx, delivery, &start, &active).await,
    };
    guard.run.occupy(Some(slot));
    match claim::claim(&ctx, &tenure, &start, &delivery).await {
        Ok(Claim::Taken(claimed)) => {
            guard.run.claim(&tenure);
            answer::ack(&delivery, &job.id).await;
            run_claimed(ctx, *claimed, Begin::Launch, guard).await;
        }
        Ok(Claim::Cancelled(claimed, tombstone)) => {
            guard.run.claim(&tenure);
            answer::ack(&delivery, &job.id).await;
            let why = why_cancelled(&tombstone, &start.incoming);
            ending::settle_unrun(&ctx, &guard.run, *claimed, Verdict::Cancelled, why).await;
        }
        Ok(Claim::TooLate) => {
            tenure.resign();
            answer::too_late(delivery, job).await;
        }
        Ok(Claim::Republish(event)) => {
            answer::republish(&ctx, delivery, job, event.as_deref()).await;
        }
        Ok(Claim::TakenRun) => answer::taken_run(&ctx, delivery, job).await,
        Ok(Claim::Duplicate(record)) => answer::duplicate(&ctx, delivery, job, &record).await,
        Err(error) => {
            ctx.known.gate.close();
            answer::unavailable(&ctx, delivery, job, &error.to_string()).await;
        }
    }
}

/// Runs a job that the journal says is ours, and settles it. Where the worker is told to let go, or
/// the segment is somebody else's meanwhile, the container goes on, and the journal says whose it is.
pub(super) async fn run_claimed(
    ctx: Arc<Context>,
    claimed: Claimed,
    begin: Begin,
    guard: ActiveGuard,
) {
    let Claimed { run, tenure, record, etag } = claimed;
    let first_try = record.first_try;
    let trace = record.message.traceparent.clone();
    let reporter =
        Reporter::new(ctx.tools.publisher.clone(), run.clone(), trace).under(Arc::clone(&tenure));
    let account = Account::new(&ctx.tools, &ctx.drain, Arc::clone(&tenure), (record, etag));
    if matches!(begin, Begin::Launch) {
        reporter.report(State::Accepted, None, None);
    }
    let executed = tokio::select! {
        executed = execute(&ctx.tools.runner, run.clone(), begin, &guard.run, &reporter, &account) => executed,
        () = ctx.drain.detached() => {
            reporter.drain().await;
            return;
        }
        () = tenure.over().cancelled() => Executed::TakenOver,
    };
    match executed {
        Executed::TakenOver => {
            ctx.tools.runner.forget(&run.job.id);
            reporter.drain().await;
        }
        Executed::Ended(result) => {
            ending::settle(&ctx.tools, &guard.run, reporter, &account, *result).await;
        }
        Executed::Failed { attempt, reason } => {
            ctx.known.gate.close();
            // One after the first that began here follows one that ran.
            let first_try = if attempt > run.attempt { attempt } else { first_try };
            let failed = FailedTry { run: &run, attempt, first_try, reason: &reason };
            ending::try_again_or_give_up(&ctx.tools, &guard.run, reporter, &account, &failed).await;
        }
    }
    drop(guard);
}
