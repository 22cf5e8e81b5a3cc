//! `longshore queue`.

use clap::Args;

use super::client::Client;
use super::output::{Format, columns, print, print_json};
use super::telemetry::Voice;
use super::{Context, Outcome};
use crate::facts::{self, QueueReport};
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
    let looked = facts::look_at_queues(&client.broker).await;
    client.close().await;
    let (_, report) = looked?;
    match arguments.output {
        Format::Text => {
            if report.queues.iter().any(|queue| queue.consumers.is_some()) {
                let head = ["QUEUE", "WAITING", "CONSUMERS"];
                print(&columns(head, report.queues.iter().map(row).collect()))?;
            }
            print(&report.said)?;
        }
        Format::Json => print_json(&report)?,
    }
    Ok(0)
}

fn row(queue: &QueueReport) -> [String; 3] {
    let consumers = queue.consumers.map_or_else(|| "-".to_owned(), |many| many.to_string());
    [queue.queue.clone(), queue.waiting.to_string(), consumers]
}
