//! `longshore ps`.

use std::path::Path;

use clap::Args;
use serde_json::{Value, json};

use super::output::{Format, columns, print, print_json};
use super::telemetry::Voice;
use super::time::second;
use super::{Context, Outcome};
use crate::metrics::Metrics;
use crate::runner::orchestrator::{ContainerInfo, ContainerState};
use crate::runner::warm::{self, Warm};
use crate::runner::{self, Progress, labels};
use crate::worker::is_of_a_local_run;

/// List the containers of this namespace on this engine.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  longshore ps
  longshore ps --segment 3
  longshore ps -a
  longshore ps --output json | jq -r '.[] | select(.state == \"exited\") | .container_id'

Ended containers are listed too: a worker removes them when their result and last lines are safe. One of the
type `waiting` was started ahead and has no job yet.

With -a those of `longshore run` are listed too, with `run` instead of a segment. Nothing removes one whose command
was killed: if it runs no more here, remove its container (docker rm -f CONTAINER).")]
pub struct PsArguments {
    /// Those of `longshore run` on this engine, too, also where its command was killed
    #[arg(long, short, conflicts_with = "segment")]
    all: bool,
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
    let engine = runner::connect(&settings, Progress::Log, &Metrics::default()).await?;
    let wanted = labels::managed(&namespace, arguments.segment);
    let mut containers = engine.list_containers(&wanted).await?;
    if let Some(segment) = arguments.segment {
        // The labels of those that were started before their job name no segment.
        let all = engine.list_containers(&labels::managed(&namespace, None)).await?;
        let warm = all.into_iter().filter(|info| info.labels.contains_key(labels::WARM));
        let warm = warm.map(|info| told(info, &settings.temp_dir, &namespace));
        let segment = segment.to_string();
        containers.extend(warm.filter(|info| label(info, labels::SEGMENT) == segment));
    } else {
        let tell = |info| told(info, &settings.temp_dir, &namespace);
        containers = containers.into_iter().map(tell).collect();
    }
    if arguments.all {
        let anybodys = engine.list_containers(&labels::managed_by_anybody()).await?;
        // The namespace may look like one of a local run. Then its containers are here already.
        let is_new =
            |info: &ContainerInfo| is_local(info) && label(info, labels::NAMESPACE) != namespace;
        containers.extend(anybodys.into_iter().filter(is_new));
    }
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

/// What waits for a job, in the column of types.
const WAITING: &str = "waiting";

/// A container with the labels that it would have if it had not been started before its job.
fn told(mut info: ContainerInfo, temp_dir: &Path, namespace: &str) -> ContainerInfo {
    let kind = warm::kind_of(&info, temp_dir, namespace);
    let mut set = |label: &str, value: String| {
        info.labels.insert(label.to_owned(), value);
    };
    match kind {
        None => {}
        Some(Warm::Waiting) => set(labels::TYPE, WAITING.to_owned()),
        Some(Warm::Named { id, attempt, identity }) => {
            set(labels::ID, id.to_string());
            set(labels::ATTEMPT, attempt.to_string());
            if let Some(identity) = identity {
                set(labels::RUN, identity.run_id.to_string());
                set(labels::SEGMENT, identity.segment.to_string());
                set(labels::TYPE, identity.entrypoint.to_string());
                set(labels::ENTRYPOINT, identity.script);
            }
        }
    }
    info
}

/// Whether it is a container of `longshore run`.
fn is_local(container: &ContainerInfo) -> bool {
    is_of_a_local_run(&label(container, labels::NAMESPACE))
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

/// The part of a container's id that people use.
const SHORT_ID: usize = 12;

/// What a container of `longshore run` has in the column of segments.
const LOCAL: &str = "run";

fn row(container: &ContainerInfo) -> [String; 8] {
    let segment =
        if is_local(container) { LOCAL.to_owned() } else { label(container, labels::SEGMENT) };
    [
        label(container, labels::ID),
        label(container, labels::TYPE),
        state(container.state).to_owned(),
        segment,
        label(container, labels::ATTEMPT),
        container.created_at.map_or_else(String::new, second),
        container.id.chars().take(SHORT_ID).collect(),
        container.image.clone(),
    ]
}

fn object(container: &ContainerInfo) -> Value {
    let number = |name: &str| label(container, name).parse::<u32>().ok();
    json!({
        "namespace": label(container, labels::NAMESPACE),
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
    fn a_container_of_a_local_run_has_no_segment_for_people() {
        let mut container = container();
        for (namespace, segment) in [
            ("run-0af7651916cd43dd8448eb211c80319c", "run"),
            ("run-0af7651916cd43dd8448eb211c80319", "3"),
            ("run-0af76519-16cd-43dd-8448-eb211c80319c", "3"),
            ("longshore", "3"),
        ] {
            container.labels.insert(labels::NAMESPACE.to_owned(), namespace.to_owned());
            assert_eq!((row(&container)[3].as_str(), namespace), (segment, namespace));
        }
    }

    #[test]
    fn an_object_is_for_scripts() {
        let object = object(&container());
        assert_eq!((&object["segment"], &object["attempt"]), (&json!(3), &json!(2)));
        assert_eq!(object["container_id"], "0123456789abcdef");
    }
}
