//! From delivery to settled: the way of a start message, top down.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use super::active::ActiveGuard;
use super::context::Context;
use super::decide::why_cancelled;
use super::message::answer;
use super::message::claim::{self, Claim};
use super::message::validate::validate;
use super::ownership::tenure::{Change, Tenure};
use super::run::account::{Account, Claimed};
use super::run::ending;
use super::run::ending::FailedTry;
use super::run::execute::{Begin, Executed, execute};
use super::run::reporter::Reporter;
use super::slots::Slot;
use crate::broker::{Delivery, Inbox};
use crate::job::{State, Verdict};
use crate::metrics::Stage;
use crate::traces;

/// A job that has run for this long shows that the worker can work.
const STEADY: Duration = Duration::from_secs(10);

/// Handles one start message: validate → claim → ack → run → settle.
///
/// The delivery is acknowledged as soon as the journal has the job. So no time-out of the broker
/// can hit a long run, and a restart of the broker does not touch running containers.
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
    traces::of_run(job.id.as_str(), job.run_id.as_str(), job.runtime.name.as_str());
    let inbox = Inbox::of_start(job.is_long_running);
    if delivery.inbox() != inbox {
        return answer::redirect(&*ctx.tools.broker, delivery, job, inbox).await;
    }
    let published_at = start.incoming.published_at;
    note_wait(&ctx, &delivery);
    let guard = match ctx.known.active.begin(&job.id, &job.run_id, published_at) {
        Ok(guard) => guard,
        Err(active) => return answer::already_active(&ctx, delivery, &start, &active).await,
    };
    guard.run.occupy(Some(slot));
    let claiming = claim::claim(&ctx, &tenure, &start, &delivery);
    match ctx.tools.metrics.timed(Stage::Claim, claiming).await {
        Ok(Claim::Taken(claimed)) => {
            guard.run.claim(&tenure, claimed.record.claim);
            answer::ack(&delivery, &job.id).await;
            run_claimed(ctx, *claimed, Begin::Launch, guard).await;
        }
        Ok(Claim::Cancelled(claimed, tombstone)) => {
            guard.run.claim(&tenure, claimed.record.claim);
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
            tenure.note(Change::Unfinished);
            answer::unavailable(&ctx, delivery, job, &error.to_string()).await;
        }
    }
}

/// Notes how long a message waited in its queue. One that was taken before says nothing about that.
fn note_wait(ctx: &Context, delivery: &Delivery) {
    if let Some(at) = delivery.properties.timestamp.filter(|_| delivery.is_first()) {
        let queue = ctx.tools.broker.topology().inbox(delivery.inbox());
        ctx.tools.metrics.taken(&queue, at, ctx.tools.machine.now());
    }
}

/// Runs a job that is ours according to the journal, and settles it. If the worker must release it,
/// or the segment now belongs to another worker, the container goes on, and the journal says whose
/// it is.
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
    let is_trial = guard.run.is_trial();
    let proves_itself = async {
        reporter.runs().await;
        sleep(STEADY).await;
        ctx.known.gate.trial_has_run();
        std::future::pending::<Infallible>().await
    };
    let executed = tokio::select! {
        biased;
        executed = execute(&*ctx.tools.runner, run.clone(), begin, &guard.run, &reporter, &account) => executed,
        () = ctx.drain.detached().cancelled() => {
            reporter.drain().await;
            return;
        }
        () = tenure.over().cancelled() => Executed::TakenOver,
        never = proves_itself, if is_trial => match never {},
    };
    match executed {
        Executed::TakenOver => {
            ctx.tools.runner.forget(&run.job.id);
            reporter.drain().await;
        }
        Executed::Ended(result) => {
            if result.verdict == Some(Verdict::Unavailable) {
                ctx.known.gate.close();
            } else if is_trial && result.container_id.is_some() {
                ctx.known.gate.trial_has_run();
            }
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
