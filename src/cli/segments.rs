//! `longshore segments`.

use clap::Args;

use super::client::Client;
use super::output::{Format, columns, print, print_json};
use super::telemetry::Voice;
use super::time::second;
use super::{Context, Outcome};
use crate::facts::{self, SegmentReport, SegmentState};
use crate::storage::{Journal, S3Store};

/// List the segments: who owns each, and how many jobs it has.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  longshore segments
  longshore segments --output json | jq '.[] | select(.state == \"free\" and .jobs > 0)'

States:
  held  a worker is connected and owns it
  free  nobody owns it; one with jobs is about to be taken over: at once by a worker on the same
        host and engine, by another one when its bots have ended themselves
  left  free, and its last owner ended in good order")]
pub struct SegmentsArguments {
    /// How to print
    #[arg(long, value_enum, default_value_t)]
    output: Format,
}

pub(super) async fn run(arguments: &SegmentsArguments, context: &Context) -> Outcome {
    let (broker, store) =
        context.settings(Voice::Tool, |reader| (reader.broker(), reader.store()))?;
    let store = std::sync::Arc::new(S3Store::new(&store)?);
    let journal = Journal::new(store, broker.namespace.clone());
    let client = Client::connect(&broker).await?;
    let segments = facts::look_at_segments(&client.broker, &journal).await;
    client.close().await;
    let segments = segments?;
    match arguments.output {
        Format::Text => {
            let head = ["SEGMENT", "STATE", "WORKER", "JOBS", "EPOCH", "SINCE", "ENGINE"];
            print(&columns(head, segments.iter().map(row).collect()))?;
        }
        Format::Json => print_json(&segments)?,
    }
    Ok(0)
}

/// The part of an engine's id that distinguishes two engines.
const SHORT_ID: usize = 12;

fn row(segment: &SegmentReport) -> [String; 7] {
    let since = segment.released_at.filter(|_| segment.state != SegmentState::Held);
    [
        segment.segment.to_string(),
        segment.state.as_str().to_owned(),
        segment.worker.clone(),
        segment.jobs.to_string(),
        segment.epoch.to_string(),
        second(since.unwrap_or(segment.claimed_at)),
        segment.engine.chars().take(SHORT_ID).collect(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_for_people() {
        let segment = SegmentReport {
            segment: 3,
            state: SegmentState::Held,
            worker: "w-1".to_owned(),
            jobs: 2,
            epoch: 7,
            claimed_at: "2026-03-02T09:15:03.5Z".parse().unwrap(),
            released_at: None,
            host: "h".to_owned(),
            engine: "AB:CD:EF:01:23:45".to_owned(),
            temp_dir: "/t".to_owned(),
        };
        assert_eq!(row(&segment).join(" "), "3 held w-1 2 7 2026-03-02T09:15:03Z AB:CD:EF:01:");
    }
}
