//! Wait → collect → judge: from a running container to the result of its run.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use super::artifacts;
use super::beside::Beside;
use super::exit_note;
use super::failure::RunFailure;
use super::lease::Uptime;
use super::managed::{Held, Leftovers, Managed};
use super::observer::RunObserver;
use super::orchestrator::{ContainerState, ContainerStatus, EngineError};
use super::result_file::{self, CollectedResult};
use super::site::{Site, image_of};
use super::stopping;
use super::sweep;
use super::warm;
use crate::job::judging::exit_note::ExitNote;
use crate::job::judging::{self, EndCause, Ending, Judgement, ResultFile};
use crate::job::{ExecutionResult, Run, Verdict, sentence};
use crate::logs::LogSummary;
use crate::metrics::Stage;

/// How long the last log lines of an ended container may take to reach the store.
const LOG_FINISH_TIMEOUT: Duration = Duration::from_mins(2);

/// The exit code of a program that SIGKILL ended.
const KILLED: i64 = 137;

/// Pause before a stop that failed is tried again.
const STOP_RETRY: Duration = Duration::from_secs(5);

/// Waits for the container's end and makes the run's result.
pub(super) async fn wait_and_collect(
    site: &Site,
    managed: &Managed,
    observer: &dyn RunObserver,
) -> Result<ExecutionResult, RunFailure> {
    let Some(container) = managed.container().map(str::to_owned) else {
        return Err(RunFailure::Unavailable("the container was never started".to_owned()));
    };
    let mut beside = Beside::of(site, managed, observer);
    let watched = beside.follow(&container);
    let (mut status, timed_out) = wait_within_timeout(site, managed, &container, watched).await?;
    let ended_at = Instant::now();
    let Some(held) = managed.take_held() else {
        return Err(RunFailure::Unavailable("the run is being collected already".to_owned()));
    };
    let Held { container, directory, logs } = held;
    managed.leave(Leftovers { container: container.clone(), directory: directory.clone() });

    let run = &managed.run;
    let mask = observer.mask(&run.job);
    let collected = result_file::collect(site, run, &directory, &container, mask);
    let finished = logs.finish(LOG_FINISH_TIMEOUT);
    // Before that, the container only waited.
    if let Some(at) = warm::begun_at(&directory).await {
        (status.created_at, status.started_at) = (Some(at), Some(at));
    }
    let note = exit_note::read(&directory, status.created_at);
    let artifacts = artifacts::collect(site, run, &directory);
    let (rows, kept) = (beside.last_rows(), beside.last_state());
    let (value, note, summary, gathered, artifacts, not_kept) =
        tokio::join!(collected, note, finished, rows, artifacts, kept);
    beside.last_words();
    if !note.begun && judging::is_not_started(&status) {
        let image = image_of(run);
        let said = summary.tail.trim();
        return Err(RunFailure::Unavailable(sentence::image_cannot_run(image, said)));
    }
    status.oom_killed |= note.oom_killed;
    let cause = match (timed_out, managed.stop_reason()) {
        (Some(seconds), _) => EndCause::TimedOut(seconds),
        (None, Some(reason)) => EndCause::StopRequested(reason.0),
        (None, None) => own_end(managed, &status, &note),
    };
    let judgement = judging::judge(&Ending {
        cause,
        exit_code: status.exit_code,
        oom_killed: status.oom_killed,
        heap_was_full: run.job.runtime.launcher.has_heap()
            && judging::says_heap_was_full(&summary.tail),
        memory_mb: run.job.limits.memory_mb,
        engine_error: status.error.clone(),
        result: told(value.judged.clone(), &note),
    });
    let mut result = assemble(site, run, &container, &status, judgement, value, summary);
    let ran = Duration::try_from_secs_f64(result.duration_seconds).unwrap_or_default();
    result.objects.artifacts = artifacts.stored;
    if let Some(problem) = artifacts.problem {
        result.metadata.insert("artifacts".to_owned(), problem);
    }
    if let Some(problem) = not_kept {
        result.metadata.insert("state".to_owned(), problem);
    }
    result.resources = note.used_within(&run.job.limits, ran);
    site.metrics.stage_before(Stage::Run, ran, ended_at.elapsed());
    site.metrics.stage(Stage::Collect, ended_at.elapsed());
    Ok(match gathered {
        Some(gathered) => sweep::conclude(site, run, observer, gathered, result).await,
        None => result,
    })
}

/// The result of a bot is what its launcher noted about its error, if anything.
fn told(result: ResultFile, note: &ExitNote) -> ResultFile {
    match (result, &note.said) {
        (ResultFile::NotExpected, Some(said)) => ResultFile::NotExpectedBut(said.clone()),
        (result, _) => result,
    }
}

/// What ended a container that nobody asked to end.
fn own_end(managed: &Managed, status: &ContainerStatus, note: &ExitNote) -> EndCause {
    let lease_expired = note.lease_expired;
    let long_running = managed.run.job.is_long_running;
    let unseen = managed.is_before_adoption(status.finished_at);
    let has_run_out = managed.lease.lock().may_have_run_out(Uptime::now());
    if long_running && lease_expired && !has_run_out {
        tracing::warn!(
            job.id = %managed.run.job.id,
            "a bot's exit note says that its lease ran out, but the lease was renewed in time; the bot counts as ended by itself"
        );
    }
    if long_running && lease_expired && has_run_out {
        EndCause::LeaseExpired
    } else if judging::is_lost_with_engine(status, long_running, unseen) {
        EndCause::EngineLost
    } else if judging::is_ended_from_outside(note, status, &managed.run.job.limits, long_running) {
        EndCause::EndedFromOutside
    } else {
        EndCause::Itself
    }
}

/// Waits for the end, and stops a run that exceeds its time-out. Then it returns the allowed
/// seconds. `watched` goes on until then.
async fn wait_within_timeout(
    site: &Site,
    managed: &Managed,
    container: &str,
    watched: impl Future<Output = Infallible>,
) -> Result<(ContainerStatus, Option<u64>), RunFailure> {
    let job = &managed.run.job;
    let ended = ended(site, managed, container);
    tokio::pin!(ended);
    tokio::pin!(watched);
    let overdue = async {
        match job.timeout {
            Some(timeout) => {
                let left = remaining(site, managed, container, timeout).await;
                tokio::time::sleep(left).await;
            }
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        status = &mut ended => return Ok((status?, None)),
        () = overdue => {}
        never = &mut watched => match never {},
    }
    let stopping = async {
        while let Err(error) =
            stopping::stop(site, managed, container, site.settings.stop_timeout).await
        {
            tracing::warn!(job.id = %job.id, %error, "could not stop a container that exceeded its time-out");
            tokio::time::sleep(STOP_RETRY).await;
        }
        // The end arrives through `ended`.
        std::future::pending().await
    };
    tokio::select! {
        status = &mut ended => Ok((status?, job.timeout.map(|timeout| timeout.as_secs()))),
        never = stopping => never,
    }
}

/// Waits for the end of a container, or until its helper tells that nothing else is left in it.
async fn ended(
    site: &Site,
    managed: &Managed,
    container: &str,
) -> Result<ContainerStatus, EngineError> {
    match managed.told_code().await {
        // Only the engine knows what killed it.
        None | Some(KILLED) => site.engine.wait(container).await,
        Some(code) => Ok(ContainerStatus {
            id: container.to_owned(),
            state: ContainerState::Exited,
            exit_code: Some(code),
            oom_killed: false,
            error: None,
            created_at: None,
            started_at: None,
            finished_at: Some(Timestamp::now()),
            healthy: None,
            labels: BTreeMap::new(),
            engine_was_away: false,
        }),
    }
}

/// The rest of a time-out: an adopted container has used a part of it.
async fn remaining(site: &Site, managed: &Managed, container: &str, timeout: Duration) -> Duration {
    if let Some(used) = managed.running_for() {
        return timeout.saturating_sub(used);
    }
    let begun = warm::begun_at(&site.directory_of(&managed.run)).await;
    let started = match begun {
        Some(at) => Some(at),
        None => site.engine.get_status(container).await.ok().and_then(|status| status.started_at),
    };
    let used = started.and_then(|started| Timestamp::now().duration_since(started).try_into().ok());
    timeout.saturating_sub(used.unwrap_or_default())
}

fn assemble(
    site: &Site,
    run: &Run,
    container: &str,
    status: &ContainerStatus,
    judgement: Judgement,
    value: CollectedResult,
    summary: LogSummary,
) -> ExecutionResult {
    let container = Some(container.to_owned());
    let mut result = ExecutionResult::running(run, &site.worker, container)
        .conclude(judgement.verdict, judgement.message);
    result.exit_code = status.exit_code;
    result.finished_at = status.finished_at.unwrap_or_else(Timestamp::now);
    result.started_at = began_at(status.created_at, status.started_at, result.finished_at);
    result.duration_seconds = result
        .started_at
        .map_or(0.0, |began| result.finished_at.duration_since(began).as_secs_f64().max(0.0));
    result.output = summary.tail;
    result.objects.output_key = summary.output_key;
    result.objects.log_keys = summary.log_keys;
    (result.objects.series, result.objects.series_key) = (summary.series, summary.series_key);
    result.metadata.insert("image".to_owned(), image_of(run).to_owned());
    if let Some(problem) = summary.series_problem {
        result.metadata.insert("series".to_owned(), problem);
    }
    if let Some(reason) = summary.degraded {
        result.metadata.insert("logs".to_owned(), reason);
    }
    result.result = value.inline;
    match value.stored {
        None => {}
        Some(Ok(key)) => result.objects.result_key = Some(key),
        Some(Err(error)) => {
            result.metadata.insert("result".to_owned(), format!("not stored: {error}"));
            if result.result.is_none() {
                let message = sentence::not_stored(&error.to_string());
                result = result.conclude(Verdict::Unavailable, message);
            }
        }
    }
    result
}

/// When a run began. The engine notes the start after its own work on it, and a short run may have
/// ended by then. If a run was shorter than that work, it counts from when its container was made:
/// a little too long, but never too short.
fn began_at(
    created: Option<Timestamp>,
    started: Option<Timestamp>,
    finished: Timestamp,
) -> Option<Timestamp> {
    let (Some(created), Some(started)) = (created, started) else {
        return started;
    };
    let is_in_order = created <= started && created <= finished;
    let is_too_coarse = finished.duration_since(started) < started.duration_since(created);
    Some(if is_in_order && is_too_coarse { created } else { started })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_that_was_over_before_the_engine_noted_its_start_has_a_duration() {
        let at = |millis: i64| Timestamp::from_millisecond(1_795_867_200_000 + millis).unwrap();
        for (created, started, finished, began) in [
            (Some(0), Some(250), 240, Some(0)),
            (Some(0), Some(250), 250, Some(0)),
            (Some(0), Some(250), 300, Some(0)),
            (Some(0), Some(250), 600, Some(250)),
            (Some(0), Some(250), 600_000, Some(250)),
            (None, Some(250), 260, Some(250)),
            (Some(0), None, 260, None),
            // Clocks may have been set in between.
            (Some(500), Some(250), 260, Some(250)),
            (Some(0), Some(250), -5, Some(250)),
        ] {
            let found = began_at(created.map(at), started.map(at), at(finished));
            assert_eq!(found, began.map(at), "{created:?} {started:?} {finished}");
        }
    }
}
