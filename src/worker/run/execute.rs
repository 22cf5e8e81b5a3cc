//! Runs a job, attempt by attempt, to its end: the part that the worker and `longshore run` share.
//! It knows no queue and no journal.

use std::convert::Infallible;
use std::time::Duration;

use async_trait::async_trait;

use super::reporter::Reporter;
use crate::job::{ExecutionResult, Run, State, Verdict, sentence};
use crate::runner::{JobRunner, RunFailure};
use crate::worker::active::ActiveRun;
use crate::worker::decide::{NextStep, Tally, after_end};

/// The pause between two searches for the container of a run that must stop, and between two
/// attempts to stop it.
const STOP_RETRY: Duration = Duration::from_millis(200);

/// Keeps the account of a run's attempts. There are two: the journal, and one that keeps nothing.
#[async_trait]
pub trait Keeper: Send + Sync {
    /// Waits until an attempt may begin with a new container, and notes it. Returns `false` if the
    /// run now belongs to another worker.
    async fn begin_attempt(&self, attempt: u32) -> bool;
}

/// How a run begins.
#[derive(Debug, Clone)]
pub enum Begin {
    /// With a new container.
    Launch,
    /// With an existing container, running or ended: its id.
    Adopt(String),
}

/// How far a run got.
#[derive(Debug)]
pub enum Executed {
    /// To a final end. The container stays until it is released.
    Ended(Box<ExecutionResult>),
    /// The infrastructure failed at this attempt, for this reason. Nothing is left behind.
    Failed {
        /// Which attempt.
        attempt: u32,
        /// Why.
        reason: String,
    },
    /// To a takeover by another worker. Nothing of it was touched.
    TakenOver,
}

/// Runs `run` until its end. It may be dropped at any time; its container then goes on.
pub async fn execute(
    runner: &dyn JobRunner,
    mut run: Run,
    mut begin: Begin,
    active: &ActiveRun,
    reporter: &Reporter,
    keeper: &dyn Keeper,
) -> Executed {
    let mut tally = Tally::default();
    let mut last: Option<ExecutionResult> = None;
    loop {
        if matches!(begin, Begin::Launch) {
            tokio::select! {
                biased;
                may = keeper.begin_attempt(run.attempt) => if !may {
                    return Executed::TakenOver;
                },
                _ = active.stop_requested() => {}
            }
            if active.stop_order().is_some()
                && let Some(last) = last
            {
                return Executed::Ended(Box::new(stopped(last, active)));
            }
        }
        let result = match attempt(runner, &run, &begin, active, reporter).await {
            Ok(result) => result,
            Err(failure) => return give_up(runner, &run, failure).await,
        };
        let next = after_end(&run.job, &result, tally);
        let pause = match next {
            NextStep::Settle => return Executed::Ended(Box::new(result)),
            NextStep::Restart(pause) | NextStep::Replace(pause) => pause,
        };
        tally = tally.and(next, &result);
        runner.release(&run.job.id).await;
        let message = format!("{}; runs again in {} s", result.message, pause.as_secs());
        reporter.report(State::Restarting, None, Some(message));
        tokio::select! {
            biased;
            () = tokio::time::sleep(pause) => {}
            _ = active.stop_requested() => {
                return Executed::Ended(Box::new(stopped(result, active)));
            }
        }
        last = Some(result);
        run.attempt = run.attempt.saturating_add(1);
        run.is_new = false;
        reporter.set_attempt(run.attempt);
        begin = Begin::Launch;
    }
}

/// One attempt, from its container's launch or adoption to its result.
async fn attempt(
    runner: &dyn JobRunner,
    run: &Run,
    begin: &Begin,
    active: &ActiveRun,
    reporter: &Reporter,
) -> Result<ExecutionResult, RunFailure> {
    if active.stop_order().is_some() && matches!(begin, Begin::Launch) {
        return Err(RunFailure::Cancelled { reason: reason_of(active) });
    }
    let ended = async {
        match begin {
            Begin::Launch => runner.launch(run, reporter).await?,
            Begin::Adopt(container) => runner.adopt(run, container, reporter)?,
        }
        runner.wait(&run.job.id, reporter).await
    };
    tokio::select! {
        biased;
        ended = ended => ended,
        never = stop_when_asked(runner, run, active, reporter) => match never {},
    }
}

/// Waits for the order to stop, and carries it out. It never ends; the run's end is seen elsewhere.
async fn stop_when_asked(
    runner: &dyn JobRunner,
    run: &Run,
    active: &ActiveRun,
    reporter: &Reporter,
) -> Infallible {
    let order = active.stop_requested().await;
    reporter.report(State::Stopping, None, order.reason.clone());
    loop {
        let id = &run.job.id;
        match runner.stop_container(id, order.reason.clone(), order.timeout).await {
            Ok(true) => return std::future::pending().await,
            // It is between two steps of its start: try again.
            Ok(false) => {}
            Err(error) => {
                tracing::warn!(job.id = %id, %error, "could not stop a container; trying again");
            }
        }
        tokio::time::sleep(STOP_RETRY).await;
    }
}

async fn give_up(runner: &dyn JobRunner, run: &Run, failure: RunFailure) -> Executed {
    let reason = failure.to_string();
    let verdict = failure.verdict().filter(|verdict| !verdict.blames_infrastructure());
    let Some(verdict) = verdict else {
        runner.release(&run.job.id).await;
        return Executed::Failed { attempt: run.attempt, reason };
    };
    let result = ExecutionResult::failed(run, runner.worker(), verdict, reason);
    Executed::Ended(Box::new(result))
}

fn reason_of(active: &ActiveRun) -> Option<String> {
    active.stop_order().and_then(|order| order.reason.clone())
}

/// The end of a run that was asked to stop between two attempts.
fn stopped(last: ExecutionResult, active: &ActiveRun) -> ExecutionResult {
    let message = sentence::stopped_between_attempts(reason_of(active).as_deref(), &last.message);
    last.conclude(Verdict::Stopped, message)
}
