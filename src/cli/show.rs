//! `longshore show`.

mod lines;
mod story;

use std::sync::Arc;

use clap::Args;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use jiff::Timestamp;

use self::story::{Queues, Story};
use super::client::Client;
use super::output::{Format, print, print_json, warn};
use super::telemetry::Voice;
use super::terminal::one_line;
use super::{Context, Failure, Outcome};
use crate::job::JobId;
use crate::settings::BrokerSettings;
use crate::storage::{EndRecord, Journal, JournalError, RecordState, S3Store};

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

/// How many earlier runs of a job are listed at most, to find the latest of them.
const MAX_LISTED: usize = 10_000;

/// How many earlier runs are told.
const MAX_TOLD: usize = 10;

/// How many records are read at a time.
const CONCURRENCY: usize = 4;

pub(super) async fn run(arguments: &ShowArguments, context: &Context) -> Outcome {
    let has_broker = context.loader.is_set("AMQP_URL");
    let (settings, namespace, broker) = context.settings(Voice::Tool, |reader| {
        (reader.store(), reader.namespace(), has_broker.then(|| reader.broker()))
    })?;
    let buckets = Arc::new(S3Store::new(&settings)?);
    let journal = Journal::new(Arc::clone(&buckets) as _, namespace);
    let mut story = read(&journal, &arguments.id).await?;
    match broker {
        None => warn("AMQP_URL is not set, so the broker was not asked"),
        Some(broker) => {
            let segment = story.segment_that_matters();
            match Box::pin(ask(&broker, segment)).await {
                Ok(queues) => story.queues = Some(queues),
                Err(failure) => failure.tell(),
            }
        }
    }
    match arguments.output {
        Format::Text => print(&lines::text(&story, &*buckets, Timestamp::now()))?,
        Format::Json => print_json(&lines::object(&story, &*buckets))?,
    }
    Ok(u8::from(story.record.is_none()))
}

/// What the journal knows.
async fn read(journal: &Journal, id: &JobId) -> Result<Story, Failure> {
    let record = journal.read(id).await?.map(|(record, _)| record);
    let mut story = Story::of(id.clone());
    story.stops = journal.stops(id).await?;
    if let Some(record) = record {
        story.owner = journal.owner(record.segment).await?.map(|(owner, _)| owner);
        story.is_indexed = journal.is_entered(&record).await?;
        story.record = Some(record);
    }
    let mut runs = journal.earlier_runs(id, MAX_LISTED).await?;
    let current = story.record.as_ref().map(|record| record.run_id.clone());
    runs.retain(|run| Some(&run.id) != current.as_ref());
    runs.sort_by_key(|run| std::cmp::Reverse(run.written_at));
    story.left_out = runs.len().saturating_sub(MAX_TOLD);
    let ends: Vec<Option<EndRecord>> = stream::iter(runs.iter().take(MAX_TOLD))
        .map(|run| async move {
            match journal.ended(id, &run.id).await {
                Err(error) if error.is_corrupt() => {
                    warn(&one_line(&error.to_string()));
                    Ok(None)
                }
                read => read,
            }
        })
        .buffered(CONCURRENCY)
        .try_collect()
        .await
        .map_err(|error: JournalError| Failure::from(error))?;
    story.earlier = ends.into_iter().flatten().collect();
    Ok(story)
}

/// What the broker knows.
async fn ask(broker: &BrokerSettings, segment: Option<u32>) -> Result<Queues, Failure> {
    let client = Client::connect(broker).await?;
    let fleet = client.fleet().await?;
    let is_held = match segment {
        Some(segment) => Some(client.broker.is_locked(segment).await?),
        None => None,
    };
    client.close().await;
    Ok(Queues { fleet, is_held })
}

impl Story {
    /// The segment of a run that goes on.
    fn segment_that_matters(&self) -> Option<u32> {
        let record = self.record.as_ref()?;
        (record.state == RecordState::Active).then_some(record.segment)
    }
}
