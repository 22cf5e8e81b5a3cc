//! `longshore queue`.

use clap::Args;
use serde_json::{Value, json};

use super::client::Client;
use super::fleet::Fleet;
use super::output::{Format, columns, print, print_json};
use super::telemetry::Voice;
use super::{Context, Outcome};
use crate::settings::Reader;

/// Show what waits in the queues, and why.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  longshore queue
  longshore queue --output json | jq -r .said

The last line says what is wrong, if anything is. CONSUMERS of a queue of starts
are the workers with a free slot: each takes one start at a time. Those of the
queue of stops are the workers that are connected. Nothing is taken from a queue
to look at it.")]
pub struct QueueArguments {
    /// How to print
    #[arg(long, value_enum, default_value_t)]
    output: Format,
}

pub(super) async fn run(arguments: &QueueArguments, context: &Context) -> Outcome {
    let settings = context.settings(Voice::Tool, Reader::broker)?;
    let client = Client::connect(&settings).await?;
    let fleet = client.fleet().await?;
    let aside = client.broker.count_set_aside().await?;
    client.close().await;
    match arguments.output {
        Format::Text => {
            if !fleet.backlogs().is_empty() {
                let head = ["QUEUE", "WAITING", "CONSUMERS"];
                print(&columns(head, rows(&fleet, &aside)))?;
            }
            print(&fleet.sentence())?;
        }
        Format::Json => print_json(&object(&fleet, &aside))?,
    }
    Ok(0)
}

fn rows(fleet: &Fleet, aside: &[(String, u32)]) -> Vec<[String; 3]> {
    let inboxes = fleet.backlogs().iter().map(|backlog| {
        [backlog.queue.clone(), backlog.messages.to_string(), backlog.consumers.to_string()]
    });
    let aside =
        aside.iter().map(|(queue, waiting)| [queue.clone(), waiting.to_string(), "-".to_owned()]);
    inboxes.chain(aside).collect()
}

fn object(fleet: &Fleet, aside: &[(String, u32)]) -> Value {
    let inboxes = fleet.backlogs().iter().map(|backlog| {
        json!({
            "queue": backlog.queue,
            "waiting": backlog.messages,
            "consumers": backlog.consumers,
        })
    });
    let aside = aside
        .iter()
        .map(|(queue, waiting)| json!({ "queue": queue, "waiting": waiting, "consumers": null }));
    json!({
        "said": fleet.sentence(),
        "workers": fleet.workers().unwrap_or(0),
        "queues": inboxes.chain(aside).collect::<Vec<_>>(),
    })
}
