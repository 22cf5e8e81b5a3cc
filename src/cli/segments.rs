//! `longshore segments`.

use clap::Args;
use serde_json::{Value, json};

use super::client::Client;
use super::output::{Format, columns, print, print_json};
use super::telemetry::Voice;
use super::time::second;
use super::{Context, Outcome};
use crate::storage::{Journal, OwnedSegment, OwnerRecord, S3Store};

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

/// One segment.
struct Segment {
    owner: OwnerRecord,
    is_held: bool,
    jobs: usize,
}

pub(super) async fn run(arguments: &SegmentsArguments, context: &Context) -> Outcome {
    let (broker, store) =
        context.settings(Voice::Tool, |reader| (reader.broker(), reader.store()))?;
    let store = std::sync::Arc::new(S3Store::new(&store)?);
    let journal = Journal::new(store, broker.namespace.clone());
    let client = Client::connect(&broker).await?;
    let mut segments = Vec::new();
    for OwnedSegment { segment: number, .. } in journal.owned_segments().await? {
        if let Some((owner, _)) = journal.owner(number).await? {
            let is_held = client.broker.is_locked(number).await?;
            let jobs = journal.segment_index(number).await?.entries.len();
            segments.push(Segment { owner, is_held, jobs });
        }
    }
    client.close().await;
    match arguments.output {
        Format::Text => {
            let head = ["SEGMENT", "STATE", "WORKER", "JOBS", "EPOCH", "SINCE", "ENGINE"];
            print(&columns(head, segments.iter().map(Segment::row).collect()))?;
        }
        Format::Json => print_json(&segments.iter().map(Segment::object).collect::<Vec<_>>())?,
    }
    Ok(0)
}

/// The part of an engine's id that distinguishes two engines.
const SHORT_ID: usize = 12;

impl Segment {
    fn state(&self) -> &'static str {
        match (self.is_held, self.owner.released_at) {
            (true, _) => "held",
            (false, Some(_)) => "left",
            (false, None) => "free",
        }
    }

    fn row(&self) -> [String; 7] {
        let since = self.owner.released_at.filter(|_| !self.is_held);
        [
            self.owner.segment.to_string(),
            self.state().to_owned(),
            self.owner.worker.clone(),
            self.jobs.to_string(),
            self.owner.epoch.to_string(),
            second(since.unwrap_or(self.owner.claimed_at)),
            self.owner.place.engine.chars().take(SHORT_ID).collect(),
        ]
    }

    fn object(&self) -> Value {
        json!({
            "segment": self.owner.segment,
            "state": self.state(),
            "worker": self.owner.worker,
            "jobs": self.jobs,
            "epoch": self.owner.epoch,
            "claimed_at": self.owner.claimed_at,
            "released_at": self.owner.released_at,
            "host": self.owner.place.host,
            "engine": self.owner.place.engine,
            "temp_dir": self.owner.place.temp_dir,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::Place;

    fn segment(is_held: bool, released: bool) -> Segment {
        let at = "2026-03-02T09:15:03.5Z".parse().unwrap();
        let (host, engine) = ("h".to_owned(), "AB:CD:EF:01:23:45".to_owned());
        let owner = OwnerRecord {
            segment: 3,
            epoch: 7,
            worker: "w-1".to_owned(),
            place: Place { host, engine, temp_dir: "/t".to_owned() },
            claimed_at: at,
            lease_seconds: 15,
            regained_at: None,
            released_at: released.then_some(at),
        };
        Segment { owner, is_held, jobs: 2 }
    }

    #[test]
    fn a_segment_is_held_free_or_left() {
        let held = segment(true, false);
        assert_eq!(held.row().join(" "), "3 held w-1 2 7 2026-03-02T09:15:03Z AB:CD:EF:01:");
        assert_eq!(segment(false, false).state(), "free");
        assert_eq!(segment(false, true).object()["state"], "left");
    }
}
