//! Waits for a container, stops it, inspects it, removes it.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use bollard::errors::Error;
use bollard::query_parameters::{
    InspectContainerOptions, KillContainerOptionsBuilder, ListContainersOptionsBuilder,
    RemoveContainerOptionsBuilder, RenameContainerOptionsBuilder, WaitContainerOptionsBuilder,
};
use futures_util::StreamExt;
use tokio::time::{sleep, timeout};

use super::engine::Engine;
use super::status;
use crate::runner::orchestrator::{ContainerInfo, ContainerState, ContainerStatus, EngineError};

/// The pauses between two requests to an engine that does not answer.
const OUTAGE_FIRST_PAUSE: Duration = Duration::from_millis(200);
const OUTAGE_LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// The pause between two waits, if the first one returned and the container still runs.
const WAIT_AGAIN_PAUSE: Duration = Duration::from_secs(1);

/// How long a container may take to end after SIGKILL: the engine lets its outputs drain for up
/// to 12 seconds.
const KILL_GRACE: Duration = Duration::from_secs(30);

/// How long a removal that another client began may take.
const REMOVAL_GRACE: Duration = Duration::from_secs(30);
const REMOVAL_POLL: Duration = Duration::from_millis(100);

/// The exit code of a program that SIGKILL ended.
const KILLED: i64 = 137;

/// How often, and with which pause, to check after a kill whether the container ran out of memory.
const OOM_LOOKS: usize = 30;
const OOM_PAUSE: Duration = Duration::from_millis(100);

/// Waits until a started container has ended.
///
/// The inspection decides, not the wait. The wait's stream ends with an error for every exit code
/// above 0, with a negative code if the engine failed, or without a message if it went away.
pub(super) async fn wait(engine: &Engine, container: &str) -> Result<ContainerStatus, EngineError> {
    let mut pauses = outage_pauses();
    let mut engine_was_away = false;
    loop {
        let waited = wait_once(engine, container).await;
        match inspect(engine, container).await {
            Ok(status) if status.state == ContainerState::Running => {
                pauses = outage_pauses();
                sleep(WAIT_AGAIN_PAUSE).await;
            }
            Ok(status) => {
                engine.ends.tell(container);
                let exit_code = match status.state {
                    ContainerState::Created => None,
                    _ => status.exit_code.or(waited),
                };
                let oom_killed = match exit_code {
                    Some(KILLED) => status.oom_killed || was_oom_killed(engine, container).await?,
                    _ => status.oom_killed,
                };
                return Ok(ContainerStatus { exit_code, oom_killed, engine_was_away, ..status });
            }
            Err(error @ EngineError::Unreachable { .. }) => {
                if !engine_was_away {
                    tracing::warn!(container.id = container, %error, "could not reach the engine; trying again");
                }
                engine_was_away = true;
                sleep(pauses.next().unwrap_or(OUTAGE_LONGEST_PAUSE)).await;
            }
            Err(error) => return Err(error),
        }
    }
}

/// Whether the engine still reports that the container ran out of memory. It hears of it separately
/// from the exit, and on a busy machine later.
async fn was_oom_killed(engine: &Engine, container: &str) -> Result<bool, EngineError> {
    for _ in 0..OOM_LOOKS {
        sleep(OOM_PAUSE).await;
        if inspect(engine, container).await?.oom_killed {
            return Ok(true);
        }
    }
    Ok(false)
}

fn outage_pauses() -> impl Iterator<Item = Duration> {
    ExponentialBuilder::new()
        .with_min_delay(OUTAGE_FIRST_PAUSE)
        .with_max_delay(OUTAGE_LONGEST_PAUSE)
        .without_max_times()
        .build()
}

/// The exit code, if the engine's wait returns one.
async fn wait_once(engine: &Engine, container: &str) -> Option<i64> {
    let options = WaitContainerOptionsBuilder::default().condition("not-running").build();
    let mut answers = std::pin::pin!(engine.docker.wait_container(container, Some(options)));
    exit_code(&answers.next().await?.map(|answer| answer.status_code))
}

fn exit_code(answer: &Result<i64, Error>) -> Option<i64> {
    match answer {
        Ok(code) | Err(Error::DockerContainerWaitError { code, .. }) => {
            Some(*code).filter(|code| *code >= 0)
        }
        Err(_) => None,
    }
}

/// What the engine says about a container.
pub(super) async fn inspect(
    engine: &Engine,
    container: &str,
) -> Result<ContainerStatus, EngineError> {
    let answer = engine.docker.inspect_container(container, None::<InspectContainerOptions>).await;
    let answer = answer.map_err(engine.failed("inspecting", container))?;
    Ok(status::status(container, answer))
}

/// Gives a container another name.
pub(super) async fn rename(
    engine: &Engine,
    container: &str,
    name: &str,
) -> Result<(), EngineError> {
    let options = RenameContainerOptionsBuilder::default().name(name).build();
    match engine.docker.rename_container(container, options).await {
        Ok(()) => Ok(()),
        Err(Error::DockerResponseServerError { status_code: 409, .. }) => {
            Err(EngineError::NameTaken { name: name.to_owned() })
        }
        Err(error) => Err(engine.failed("renaming", container)(error)),
    }
}

/// The containers, ended ones included, that carry all of these labels.
pub(super) async fn list(
    engine: &Engine,
    labels: &BTreeMap<String, String>,
) -> Result<Vec<ContainerInfo>, EngineError> {
    let labels = labels.iter().map(|(label, value)| format!("{label}={value}")).collect();
    let filters: HashMap<&str, Vec<String>> = HashMap::from([("label", labels)]);
    let options = ListContainersOptionsBuilder::default().all(true).filters(&filters).build();
    let found = engine.docker.list_containers(Some(options)).await;
    let found = found.map_err(engine.failed("listing", "containers"))?;
    Ok(found.into_iter().filter_map(status::info).collect())
}

/// SIGTERM, then SIGKILL after `grace`.
///
/// Not the engine's own stop, which answers only at the end: a grace as long as the client's
/// time-out would end in an error.
pub(super) async fn stop(
    engine: &Engine,
    container: &str,
    grace: Duration,
) -> Result<(), EngineError> {
    if signal(engine, container, "SIGTERM").await? == Signalled::NotRunning {
        return Ok(());
    }
    if let Ok(ended) = timeout(grace, wait(engine, container)).await {
        return gone_is_fine(ended.map(drop));
    }
    if gone_is_fine(signal(engine, container, "SIGKILL").await.map(drop)).is_err() {
        // The wait below tells whether that matters.
        tracing::warn!(container.id = container, "could not send SIGKILL");
    }
    match timeout(KILL_GRACE, wait(engine, container)).await {
        Ok(ended) => gone_is_fine(ended.map(drop)),
        Err(_) => Err(EngineError::Operation {
            operation: "stopping",
            container: container.to_owned(),
            reason: format!("it still runs {} s after SIGKILL", KILL_GRACE.as_secs()),
        }),
    }
}

/// Another client removed the container during the stop, so it does not run.
fn gone_is_fine(outcome: Result<(), EngineError>) -> Result<(), EngineError> {
    match outcome {
        Err(EngineError::NoContainer { .. }) => Ok(()),
        other => other,
    }
}

#[derive(PartialEq, Eq)]
enum Signalled {
    Sent,
    NotRunning,
}

async fn signal(engine: &Engine, container: &str, name: &str) -> Result<Signalled, EngineError> {
    let options = KillContainerOptionsBuilder::default().signal(name).build();
    match engine.docker.kill_container(container, Some(options)).await {
        Ok(()) => Ok(Signalled::Sent),
        Err(error) if is_not_running(&error) => Ok(Signalled::NotRunning),
        Err(error) => Err(engine.failed("stopping", container)(error)),
    }
}

fn is_not_running(error: &Error) -> bool {
    matches!(error, Error::DockerResponseServerError { status_code: 409 | 500, message }
        if message.contains("is not running"))
}

/// Removes a container and its anonymous volumes, running or not.
pub(super) async fn remove(engine: &Engine, container: &str) -> Result<(), EngineError> {
    let options = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
    match engine.docker.remove_container(container, Some(options)).await {
        Ok(()) => Ok(()),
        Err(error) if is_being_removed(&error) => removed_by_another(engine, container).await,
        Err(error) => gone_is_fine(Err(engine.failed("removing", container)(error))),
    }
}

fn is_being_removed(error: &Error) -> bool {
    matches!(error, Error::DockerResponseServerError { status_code: 409, message }
        if message.contains("already in progress"))
}

async fn removed_by_another(engine: &Engine, container: &str) -> Result<(), EngineError> {
    let gone = async {
        loop {
            match inspect(engine, container).await {
                Ok(_) => sleep(REMOVAL_POLL).await,
                Err(error) => return gone_is_fine(Err(error)),
            }
        }
    };
    timeout(REMOVAL_GRACE, gone).await.unwrap_or_else(|_| {
        Err(EngineError::Operation {
            operation: "removing",
            container: container.to_owned(),
            reason: format!("another removal has not ended in {} s", REMOVAL_GRACE.as_secs()),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status_code: u16, message: &str) -> Error {
        Error::DockerResponseServerError { status_code, message: message.to_owned() }
    }

    #[test]
    fn an_exit_code_comes_as_an_answer_or_as_an_error_and_a_negative_one_is_none() {
        let error = |code| Err(Error::DockerContainerWaitError { error: String::new(), code });
        for (answer, expected) in [
            (Ok(0), Some(0)),
            (error(137), Some(137)),
            (Ok(-1), None),
            (Err(Error::RequestTimeoutError), None),
        ] {
            assert_eq!(exit_code(&answer), expected);
        }
    }

    #[test]
    fn an_engine_that_is_away_is_asked_again_at_bounded_pauses() {
        let pauses: Vec<_> = outage_pauses().take(100).collect();
        assert_eq!(pauses.len(), 100);
        assert!(pauses.iter().all(|pause| *pause <= OUTAGE_LONGEST_PAUSE), "{pauses:?}");
    }

    #[test]
    fn conflicts_are_distinguished_by_the_engines_message() {
        let stopped = answer(409, "Cannot kill container: x: Container x is not running");
        assert!(is_not_running(&stopped) && !is_being_removed(&stopped));
        let removing = answer(409, "removal of container x is already in progress");
        assert!(is_being_removed(&removing) && !is_not_running(&removing));
    }
}
