//! `longshore ps`.

use std::path::Path;

use clap::Args;
use jiff::Timestamp;
use serde_json::{Value, json};
use unicode_width::UnicodeWidthStr;

use super::fit::without_middle;
use super::output::{Format, columns, print, print_json, terminal_width};
use super::telemetry::Voice;
use super::terminal::one_line;
use super::time::{ago, second};
use super::{Context, Outcome};
use crate::metrics::Metrics;
use crate::runner::orchestrator::{ContainerInfo, ContainerState};
use crate::runner::warm::{self, Warm};
use crate::runner::{self, Progress, labels};
use crate::worker::{Life, is_of_a_local_run, life_of};

/// List the containers of this namespace on this engine.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  longshore ps
  longshore ps --segment 3
  longshore ps -a
  longshore ps --output json | jq -r '.[] | select(.state == \"exited\") | .container_id'

Ended containers are listed too: a worker removes them when their result and last lines are safe. One of the
type `waiting` was started ahead and has no job yet.

With -a those of `longshore run` are listed too. Instead of a segment, they have a word:
  run      the command lives
  killed   it does not: longshore gc removes what it left
  unknown  that cannot be seen from here, for example on another host

On a terminal, columns are shortened or left out where it is narrow; --output json has all.")]
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
        Format::Text => print(&table(&containers, terminal_width(), Timestamp::now()))?,
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
pub(super) const SHORT_ID: usize = 12;

/// What a container of `longshore run` has in the column of segments.
fn word(life: Life) -> &'static str {
    match life {
        Life::Alive => "run",
        Life::Gone => "killed",
        Life::Unknown => "unknown",
    }
}

fn row(container: &ContainerInfo) -> [String; 8] {
    let life = life_of(container).map(|life| word(life).to_owned());
    let segment = life.unwrap_or_else(|| label(container, labels::SEGMENT));
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

/// The least columns of a job's id in a terminal. A narrower terminal breaks the lines.
const LEAST_ID: usize = 8;

/// A line for each container. Where a terminal is too narrow, the image is left out, the time is an age, and ids
/// lose their middle.
fn table(containers: &[ContainerInfo], width: Option<usize>, now: Timestamp) -> String {
    let head = ["JOB", "TYPE", "STATE", "SEGMENT", "ATTEMPT", "SINCE", "CONTAINER", "IMAGE"];
    let whole = columns(head, containers.iter().map(row).collect());
    let widest = |text: &str| text.lines().map(UnicodeWidthStr::width).max().unwrap_or_default();
    let Some(width) = width.filter(|width| widest(&whole) > *width) else { return whole };
    let narrow = |id_columns: usize| {
        let rows = containers.iter().map(|container| {
            let [id, kind, state, segment, attempt, _, short_id, _] = row(container);
            let since = container.created_at.map_or_else(String::new, |at| ago(at, now));
            let id = without_middle(&one_line(&id), id_columns);
            [id, kind, state, segment, attempt, since, short_id]
        });
        let [job, kind, state, segment, attempt, since, container, _] = head;
        let head = [job, kind, state, segment, attempt, since, container];
        columns(head, rows.collect())
    };
    let used = widest(&narrow(LEAST_ID));
    narrow((LEAST_ID + width.saturating_sub(used)).max(LEAST_ID))
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
        "command": life_of(container).map(word),
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
    fn a_table_fits_into_80_columns_and_ids_keep_both_ends() {
        let mut long = container();
        let id = "sma-eurusd-grid-2026-03-02-with-a-very-long-name-of-its-own-0042";
        long.labels.insert(labels::ID.to_owned(), id.to_owned());
        long.labels.insert(labels::TYPE.to_owned(), "backtest".to_owned());
        let now = "2026-03-02T09:17:08Z".parse().unwrap();
        let both = [long, container()];
        let said = table(&both, Some(80), now);
        let lines: Vec<_> = said.lines().collect();
        assert!(lines.iter().all(|line| line.width() <= 80), "{said}");
        assert!(lines[1].starts_with("sma-eur") && lines[1].contains("0042  backtest"), "{said}");
        assert!(lines[2].starts_with("my-bot "), "{said}");
        assert!(lines[1].contains("2m ago") && lines[1].ends_with("0123456789ab"), "{said}");
        assert!(table(&both, None, now).contains(id), "a file gets all");
        assert!(table(&both[1..], Some(100), now).contains("python:3.11-slim"));
    }

    #[test]
    fn a_container_of_a_local_run_has_no_segment_for_people() {
        let mut container = container();
        for (namespace, segment) in [
            ("run-0af7651916cd43dd8448eb211c80319c", "unknown"),
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
