//! Runs a job, attempt by attempt, until nothing more comes: the part that the worker and
//! `longshore run` share. Knows no queue and no journal.

use std::convert::Infallible;
use std::time::Duration;

use async_trait::async_trait;

use super::reporter::Reporter;
use crate::job::{ExecutionResult, Run, State, Verdict, sentence};
use crate::runner::{DockerRunner, RunFailure};
use crate::worker::active::ActiveRun;
use crate::worker::decide::{NextStep, Tally, after_end};

/// Pause between two looks for the container of a run that is to stop, and between two attempts to
/// stop it.
const STOP_RETRY: Duration = Duration::from_millis(200);

/// Who keeps the account of a run's attempts. There are two: the journal, and nobody.
#[async_trait]
pub trait Keeper: Send + Sync {
    /// Waits until an attempt may begin with a new container, and notes it. Gives `false` where the
    /// run is somebody else's meanwhile.
    async fn begin_attempt(&self, attempt: u32) -> bool;
}

/// How a run begins.
#[derive(Debug, Clone)]
pub enum Begin {
    /// With a new container.
    Launch,
    /// With a container that is there already, running or ended: its id.
    Adopt(String),
}

/// How far a run got.
#[derive(Debug)]
pub enum Executed {
    /// To an end that is settled as it is. The container is still there until released.
    Ended(Box<ExecutionResult>),
    /// Our infrastructure failed at this attempt, with this reason; nothing is left behind.
    Failed {
        /// Which attempt.
        attempt: u32,
        /// Why.
        reason: String,
    },
    /// To where somebody else took it over; nothing of it was touched.
    TakenOver,
}

/// Runs `run` until its end. May be dropped at any time; its container then goes on.
pub async fn execute(
    runner: &DockerRunner,
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
            () = tokio::time::sleep(pause) => {}
            _ = active.stop_requested() => {
                return Executed::Ended(Box::new(stopped(result, active)));
            }
        }
        last = Some(result);
        run.attempt = run.attempt.saturating_add(1);
        reporter.set_attempt(run.attempt);
        begin = Begin::Launch;
    }
}

/// One attempt, from its container's launch or adoption to what it gave.
async fn attempt(
    runner: &DockerRunner,
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
        ended = ended => ended,
        never = stop_when_asked(runner, run, active, reporter) => match never {},
    }
}

/// Waits for the order to stop and carries it out. Never ends: the run's end shows elsewhere.
async fn stop_when_asked(
    runner: &DockerRunner,
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
            // Between two steps of its start: look again.
            Ok(false) => {}
            Err(error) => {
                tracing::warn!(job.id = %id, %error, "could not stop a container; trying again");
            }
        }
        tokio::time::sleep(STOP_RETRY).await;
    }
}

async fn give_up(runner: &DockerRunner, run: &Run, failure: RunFailure) -> Executed {
    let reason = failure.to_string();
    match failure.verdict() {
        Some(Verdict::Unavailable) | None => {
            runner.release(&run.job.id).await;
            Executed::Failed { attempt: run.attempt, reason }
        }
        Some(verdict) => Executed::Ended(Box::new(ExecutionResult::failed(
            run,
            runner.worker(),
            verdict,
            reason,
        ))),
    }
}

fn reason_of(active: &ActiveRun) -> Option<String> {
    active.stop_order().and_then(|order| order.reason.clone())
}

/// The end of a run that was asked to stop between two attempts.
fn stopped(last: ExecutionResult, active: &ActiveRun) -> ExecutionResult {
    let message = sentence::stopped_between_attempts(reason_of(active).as_deref(), &last.message);
    last.conclude(Verdict::Stopped, message)
}
