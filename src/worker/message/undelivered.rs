//! Starts that the broker gave up: their time to live was over, or they came back again and again.
//! Each gets its one result, like every start, and a place among the dead letters.

use std::sync::Arc;
use std::time::Duration;

use super::answer;
use super::claim::{Claim, MAX_CROSSINGS, already_known, new_record};
use super::earlier_runs;
use super::validate::{Start, validate};
use crate::broker::Delivery;
use crate::job::{Event, ExecutionResult, Job, Run};
use crate::storage::{JournalError, RecordState};
use crate::worker::context::{Context, Tools};
use crate::worker::decide;
use crate::worker::ownership::tenure::Tenure;
use crate::worker::run::account::write;
use crate::worker::run::reporter::Reporter;

/// How often one is tried while the store fails, before it goes back to its queue.
const TRIES: u32 = 5;

/// Pause between two tries.
const PAUSE: Duration = Duration::from_secs(1);

/// Handles one start that the broker gave up.
pub(in crate::worker) async fn follow_undelivered(
    ctx: &Context,
    tenure: &Arc<Tenure>,
    delivery: Delivery,
) {
    let start = match validate(&ctx.tools, &delivery) {
        Ok(start) => start,
        Err(error) => return answer::reject(ctx, delivery, &error).await,
    };
    let job = &start.job;
    for _ in 0..TRIES {
        match end(ctx, tenure, &start, &delivery).await {
            Ok(ended) => return tell(ctx, delivery, job, ended).await,
            Err(error) => {
                tracing::warn!(job.id = %job.id, %error, "could not record the end of an undelivered start; trying again");
                ctx.known.gate.close();
                tokio::time::sleep(PAUSE).await;
                ctx.known.gate.can_work().await;
            }
        }
    }
    give_back(&delivery, job).await;
}

/// The journal has its end, or nothing yet. In both cases the message can come again.
async fn give_back(delivery: &Delivery, job: &Job) {
    if let Err(error) = delivery.requeue().await {
        tracing::debug!(job.id = %job.id, %error, "could not return a start to its queue");
    }
}

/// Writes the end of a run that never begins into the journal, in one step, or finds out what the
/// journal has to say about the start already.
async fn end(
    ctx: &Context,
    tenure: &Arc<Tenure>,
    start: &Start,
    delivery: &Delivery,
) -> Result<Claim, JournalError> {
    let job = &start.job;
    let event = event(&ctx.tools, tenure, job, delivery);
    for _ in 0..MAX_CROSSINGS {
        let seen = ctx.tools.journal.look(&job.id).await?;
        let old = seen.record();
        if let Some(old) = old {
            if let Some(answer) = already_known(&ctx.tools.journal, old, start).await? {
                return Ok(answer);
            }
            if old.run_id != job.run_id {
                earlier_runs::keep_end(&ctx.tools, tenure, old, &job.run_id).await?;
            }
        }
        // It never enters the index, for there is nothing left to do.
        let claim = ctx.tools.machine.random_id();
        let mut record = new_record(&ctx.tools, tenure, start, delivery, old, claim);
        record.state = RecordState::Finished;
        record.finished_at = Some(ctx.tools.machine.now());
        record.result = Some(event.clone());
        if write(&ctx.tools.journal, &record, seen.version()).await?.is_some() {
            return Ok(Claim::Republish(Some(Box::new(event))));
        }
    }
    Err(JournalError::Contended { id: job.id.clone() })
}

fn event(tools: &Tools, tenure: &Tenure, job: &Job, delivery: &Delivery) -> Event {
    let (verdict, why) = decide::undelivered(delivery.properties.last_death.as_deref());
    let attempt = delivery.properties.attempt;
    let run = Run { job: Arc::new(job.clone()), attempt, segment: tenure.segment, is_new: false };
    let result = ExecutionResult::failed(&run, tools.runner.worker(), verdict, why);
    let traceparent = delivery.properties.traceparent.clone();
    Reporter::new(tools.publisher.clone(), run, traceparent).result_event(result)
}

/// Publishes the outcome of the start, and keeps its message.
async fn tell(ctx: &Context, delivery: Delivery, job: &Job, ended: Claim) {
    let (_, why) = decide::undelivered(delivery.properties.last_death.as_deref());
    tracing::warn!(job.id = %job.id, run.id = %job.run_id, why, "the broker gave up a start");
    match ended {
        Claim::Republish(Some(event)) => {
            let reply = answer::reply_to(&delivery.properties);
            if !answer::publish_end(ctx, &event, reply).await {
                return give_back(&delivery, job).await;
            }
        }
        Claim::Duplicate(record) if record.run_id != job.run_id => {
            answer::tell_duplicate(ctx, &delivery, job, &record.run_id).await;
        }
        Claim::TakenRun => return answer::taken_run(ctx, delivery, job).await,
        // Its run goes on, and has its result in the end.
        _ => {}
    }
    let moved = ctx.tools.broker.dead_letter(&delivery, &why).await;
    answer::moved_or_back(&delivery, moved, "dead-letter a start").await;
}
