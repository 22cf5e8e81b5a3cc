//! `longshore show`.

mod lines;

use std::sync::Arc;

use clap::Args;
use jiff::Timestamp;

use super::client::Client;
use super::output::{Format, print, print_json, warn};
use super::telemetry::Voice;
use super::terminal::one_line;
use super::{Context, Failure, Outcome};
use crate::facts::{self, Queues, StoryReport};
use crate::job::JobId;
use crate::settings::BrokerSettings;
use crate::storage::{Journal, S3Store};

/// Tell all about one job: its runs, who has it, and why it does not run.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  longshore show my-bot
  longshore show my-bot --output json | jq -r .said

The first line says what became of the job, or why it does not run. It asks the
journal first, and then, if AMQP_URL is set, the broker: who holds the job's
segment, and what waits in the queues.

Exit codes: 0 the journal knows the job, 1 it does not.")]
pub struct ShowArguments {
    /// The job
    id: JobId,
    /// How to print
    #[arg(long, value_enum, default_value_t)]
    output: Format,
}

pub(super) async fn run(arguments: &ShowArguments, context: &Context) -> Outcome {
    let has_broker = context.loader.is_set("AMQP_URL");
    let (settings, namespace, broker) = context.settings(Voice::Tool, |reader| {
        (reader.store(), reader.namespace(), has_broker.then(|| reader.broker()))
    })?;
    let buckets = Arc::new(S3Store::new(&settings)?);
    let journal = Journal::new(Arc::clone(&buckets) as _, namespace);
    let mut story = facts::read_story(&journal, &arguments.id).await?;
    match broker {
        None => warn("AMQP_URL is not set, so the broker was not asked"),
        Some(broker) => {
            let segment = story.segment_that_matters();
            match Box::pin(ask(&broker, segment)).await {
                Ok(queues) => story.queues = Some(queues),
                // The journal's part is shown all the same, so this is a warning.
                Err(failure) => failure.tell(Format::Text),
            }
        }
    }
    facts::complete_story(&*buckets, &mut story, MAX_SERIES_BYTES).await;
    for why in &story.unreadable {
        warn(&one_line(why));
    }
    match arguments.output {
        Format::Text => print(&lines::text(&story, &*buckets, Timestamp::now()))?,
        Format::Json => print_json(&StoryReport::of(&story, &*buckets))?,
    }
    Ok(u8::from(story.record.is_none()))
}

/// The largest object of series that is read, in bytes.
const MAX_SERIES_BYTES: u64 = 128 << 20;

/// What the broker knows.
async fn ask(broker: &BrokerSettings, segment: Option<u32>) -> Result<Queues, Failure> {
    let client = Client::connect(broker).await?;
    let asked = facts::ask(&client.broker, segment).await;
    client.close().await;
    Ok(asked?)
}
