//! `longshore ps`.

use clap::Args;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::output::{Format, columns, print, print_json};
use super::telemetry::Voice;
use super::{Context, Outcome};
use crate::runner::docker::{DockerOrchestrator, Progress};
use crate::runner::labels;
use crate::runner::orchestrator::{ContainerInfo, ContainerOrchestrator as _, ContainerState};

/// List the containers of this namespace on this engine.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  longshore ps
  longshore ps --segment 3
  longshore ps --output json | jq -r '.[] | select(.state == \"exited\") | .container_id'

Ended containers are listed too: a worker removes them when their result and last lines are safe.")]
pub struct PsArguments {
    /// Only those of one segment
    #[arg(long, value_name = "N")]
    segment: Option<u32>,
    /// How to print
    #[arg(long, value_enum, default_value_t)]
    output: Format,
}

pub(super) async fn run(arguments: &PsArguments, context: &Context) -> Outcome {
    let (settings, namespace) =
        context.settings(Voice::Tool, |reader| (reader.runner(), reader.namespace()))?;
    let engine = DockerOrchestrator::connect(&settings, Progress::Log).await?;
    let wanted = labels::managed(&namespace, arguments.segment);
    let mut containers = engine.list_containers(&wanted).await?;
    containers.sort_by_key(|container| container.created_at);
    match arguments.output {
        Format::Text => {
            let head =
                ["JOB", "TYPE", "STATE", "SEGMENT", "ATTEMPT", "SINCE", "CONTAINER", "IMAGE"];
            print(&columns(head, containers.iter().map(row).collect()))?;
        }
        Format::Json => print_json(&containers.iter().map(object).collect::<Vec<_>>())?,
    }
    Ok(0)
}

fn label(container: &ContainerInfo, name: &str) -> String {
    container.labels.get(name).cloned().unwrap_or_default()
}

fn state(state: ContainerState) -> &'static str {
    match state {
        ContainerState::Created => "created",
        ContainerState::Running => "running",
        ContainerState::Exited => "exited",
        ContainerState::Dead => "dead",
    }
}

/// As much of an engine's id as people use.
const SHORT_ID: usize = 12;

fn row(container: &ContainerInfo) -> [String; 8] {
    let second = |time: Timestamp| time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    [
        label(container, labels::ID),
        label(container, labels::TYPE),
        state(container.state).to_owned(),
        label(container, labels::SEGMENT),
        label(container, labels::ATTEMPT),
        container.created_at.map_or_else(String::new, second),
        container.id.chars().take(SHORT_ID).collect(),
        container.image.clone(),
    ]
}

fn object(container: &ContainerInfo) -> Value {
    let number = |name: &str| label(container, name).parse::<u32>().ok();
    json!({
        "id": label(container, labels::ID),
        "run_id": label(container, labels::RUN),
        "entrypoint": label(container, labels::TYPE),
        "script": label(container, labels::ENTRYPOINT),
        "segment": number(labels::SEGMENT),
        "attempt": number(labels::ATTEMPT),
        "state": state(container.state),
        "created_at": container.created_at,
        "container_id": container.id,
        "container_name": container.name,
        "image": container.image,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn container() -> ContainerInfo {
        let pairs = [
            (labels::ID, "my-bot"),
            (labels::TYPE, "bot"),
            (labels::SEGMENT, "3"),
            (labels::ATTEMPT, "2"),
        ];
        ContainerInfo {
            id: "0123456789abcdef".to_owned(),
            name: "longshore-my-bot".to_owned(),
            image: "python:3.11-slim".to_owned(),
            state: ContainerState::Running,
            created_at: Some("2026-03-02T09:15:03.5Z".parse().unwrap()),
            labels: pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
        }
    }

    #[test]
    fn a_row_is_for_people() {
        let row = row(&container()).join(" ");
        let expected = "my-bot bot running 3 2 2026-03-02T09:15:03Z 0123456789ab python:3.11-slim";
        assert_eq!(row, expected);
    }

    #[test]
    fn an_object_is_for_scripts() {
        let object = object(&container());
        assert_eq!((&object["segment"], &object["attempt"]), (&json!(3), &json!(2)));
        assert_eq!(object["container_id"], "0123456789abcdef");
    }
}
