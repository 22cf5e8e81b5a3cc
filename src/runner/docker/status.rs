//! Translates the engine's answers into our terms. Pure. Every field of an answer may be missing.

use std::collections::BTreeMap;

use bollard::models::{
    ContainerInspectResponse, ContainerState as EngineState, ContainerStateStatusEnum as StateWord,
    ContainerSummary, ContainerSummaryStateEnum as SummaryWord, HealthStatusEnum,
};
use jiff::Timestamp;

use crate::runner::orchestrator::{ContainerInfo, ContainerState, ContainerStatus};

/// What an inspection of `asked_for` says.
pub(super) fn status(asked_for: &str, answer: ContainerInspectResponse) -> ContainerStatus {
    let engine = answer.state.unwrap_or_default();
    let state = state(&engine);
    let has_ended = matches!(state, ContainerState::Exited | ContainerState::Dead);
    let labels = answer.config.and_then(|config| config.labels).unwrap_or_default();
    ContainerStatus {
        id: answer.id.unwrap_or_else(|| asked_for.to_owned()),
        state,
        exit_code: engine.exit_code.filter(|_| has_ended),
        oom_killed: engine.oom_killed.unwrap_or(false),
        error: engine.error.filter(|error| !error.is_empty()),
        created_at: time(answer.created.as_deref()),
        started_at: time(engine.started_at.as_deref()),
        finished_at: time(engine.finished_at.as_deref()).filter(|_| has_ended),
        healthy: match engine.health.and_then(|health| health.status) {
            Some(HealthStatusEnum::HEALTHY) => Some(true),
            Some(HealthStatusEnum::UNHEALTHY) => Some(false),
            _ => None,
        },
        labels: labels.into_iter().collect(),
        engine_was_away: false,
    }
}

/// What a list says about one container; `None` if it does not even say which one.
pub(super) fn info(summary: ContainerSummary) -> Option<ContainerInfo> {
    let id = summary.id?;
    let name = summary.names.unwrap_or_default().into_iter().next().unwrap_or_default();
    Some(ContainerInfo {
        id,
        name: name.trim_start_matches('/').to_owned(),
        image: summary.image.unwrap_or_default(),
        state: match summary.state {
            Some(SummaryWord::CREATED) => ContainerState::Created,
            Some(SummaryWord::EXITED) => ContainerState::Exited,
            Some(SummaryWord::REMOVING | SummaryWord::DEAD) => ContainerState::Dead,
            // When in doubt, it runs: a running container is neither settled nor started a second
            // time.
            _ => ContainerState::Running,
        },
        created_at: summary.created.and_then(|seconds| Timestamp::from_second(seconds).ok()),
        labels: summary.labels.unwrap_or_default().into_iter().collect::<BTreeMap<_, _>>(),
    })
}

fn state(engine: &EngineState) -> ContainerState {
    match engine.status {
        Some(StateWord::CREATED) => ContainerState::Created,
        Some(StateWord::EXITED) => ContainerState::Exited,
        Some(StateWord::DEAD | StateWord::REMOVING) => ContainerState::Dead,
        Some(StateWord::EMPTY) | None if engine.running == Some(false) => ContainerState::Exited,
        // As above: when in doubt it runs.
        _ => ContainerState::Running,
    }
}

/// A time of the engine, which writes the year 1 for "not yet".
fn time(text: Option<&str>) -> Option<Timestamp> {
    text?.parse().ok().filter(|time| *time > Timestamp::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use bollard::models::Health;

    use super::*;

    fn inspected(state: EngineState) -> ContainerStatus {
        status("c", ContainerInspectResponse { state: Some(state), ..Default::default() })
    }

    #[test]
    fn an_answer_without_fields_is_a_container_of_which_nothing_is_known() {
        let status = status("c", ContainerInspectResponse::default());
        assert_eq!((status.id.as_str(), status.state), ("c", ContainerState::Running));
        assert_eq!((status.exit_code, status.started_at), (None, None));
        assert_eq!(info(ContainerSummary::default()), None);
    }

    #[test]
    fn every_state_of_the_engine_is_mapped() {
        for (word, expected) in [
            (StateWord::CREATED, ContainerState::Created),
            (StateWord::RUNNING, ContainerState::Running),
            (StateWord::PAUSED, ContainerState::Running),
            (StateWord::RESTARTING, ContainerState::Running),
            (StateWord::STOPPING, ContainerState::Running),
            (StateWord::EXITED, ContainerState::Exited),
            (StateWord::REMOVING, ContainerState::Dead),
            (StateWord::DEAD, ContainerState::Dead),
        ] {
            let state = EngineState { status: Some(word), ..Default::default() };
            assert_eq!(inspected(state).state, expected, "{word}");
        }
        let wordless = EngineState { running: Some(false), ..Default::default() };
        assert_eq!(inspected(wordless).state, ContainerState::Exited);
    }

    #[test]
    fn only_an_ended_container_has_exit_code_and_end() {
        let state = |status| EngineState {
            status: Some(status),
            exit_code: Some(137),
            oom_killed: Some(true),
            started_at: Some("2026-11-22T10:00:00.5Z".to_owned()),
            finished_at: Some("2026-11-22T10:00:01.5Z".to_owned()),
            ..Default::default()
        };
        let ended = inspected(state(StateWord::EXITED));
        assert_eq!(ended.exit_code, Some(137));
        assert!(ended.oom_killed && ended.finished_at > ended.started_at);
        let running = inspected(state(StateWord::RUNNING));
        assert_eq!((running.exit_code, running.finished_at), (None, None));
    }

    #[test]
    fn the_year_one_means_never() {
        let never = Some("0001-01-01T00:00:00Z".to_owned());
        let state = EngineState {
            status: Some(StateWord::CREATED),
            started_at: never.clone(),
            finished_at: never,
            ..Default::default()
        };
        assert_eq!(inspected(state).started_at, None);
    }

    #[test]
    fn a_health_check_that_has_not_spoken_says_nothing() {
        for (word, expected) in [
            (HealthStatusEnum::HEALTHY, Some(true)),
            (HealthStatusEnum::UNHEALTHY, Some(false)),
            (HealthStatusEnum::STARTING, None),
            (HealthStatusEnum::NONE, None),
        ] {
            let health = Some(Health { status: Some(word), ..Default::default() });
            assert_eq!(inspected(EngineState { health, ..Default::default() }).healthy, expected);
        }
    }
}
