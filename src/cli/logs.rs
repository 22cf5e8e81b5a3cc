//! `longshore logs`: stored lines, and new ones.

mod shown;

use std::sync::Arc;

use clap::Args;
use jiff::Timestamp;

use self::shown::{Form, Shown};
use super::client::Client;
use super::output::{Format, print};
use super::telemetry::Voice;
use super::time::since;
use super::{Context, Failure, Outcome};
use crate::facts::{self, Following, Tracked};
use crate::job::JobId;
use crate::logs::{Day, LogQuery, Stream, list_days};
use crate::settings::Reader;
use crate::storage::{Bucket, ObjectStore, S3Store};

/// Print the log of a job from the object store, and follow it.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  longshore logs my-bot --tail 100
  longshore logs my-bot -f --tail 10
  longshore logs my-bot --since 2h
  longshore logs my-bot --date 20261122 --stream stderr
  longshore logs my-bot --output json | jq -r 'select(.stream == \"stderr\") | .text'
  longshore logs my-bot --days

Lines reach the store every LOG_INTERVAL_SECONDS; with -f they come as they are written, until
the run ends. Of a job that has ended, -f shows what is stored; for one that is to come, it waits.
Days are in UTC.")]
pub struct LogsArguments {
    /// The job
    id: JobId,
    /// Only this day
    #[arg(long, value_name = "YYYYMMDD", conflicts_with_all = ["from", "to"])]
    date: Option<Day>,
    /// From this day on
    #[arg(long, value_name = "YYYYMMDD")]
    from: Option<Day>,
    /// Up to this day
    #[arg(long, value_name = "YYYYMMDD")]
    to: Option<Day>,
    /// Only what was written to stdout, or to stderr
    #[arg(long, value_parser = stream)]
    stream: Option<Stream>,
    /// Only so many of the last lines
    #[arg(long, value_name = "N")]
    tail: Option<usize>,
    /// Only lines since then: a time such as 2026-11-22T10:00:00Z, or how long ago, such as 10m
    #[arg(long, value_name = "TIME", value_parser = since, conflicts_with_all = ["date", "from"])]
    since: Option<Timestamp>,
    /// Go on with what is being written, until the run ends
    #[arg(short, long, conflicts_with_all = ["date", "to"])]
    follow: bool,
    /// List the days that have lines
    #[arg(long, conflicts_with_all = ["date", "from", "to", "stream", "tail", "since", "follow"])]
    days: bool,
    #[command(flatten)]
    shape: Shape,
}

/// How lines are printed.
#[derive(Debug, Args)]
struct Shape {
    /// Leave out time and stream
    #[arg(long, conflicts_with = "output")]
    bare: bool,
    /// Print lines as they are stored: on a terminal, too, where all but colours is escaped
    #[arg(long, conflicts_with = "output")]
    raw: bool,
    /// Text, or one JSON document a line
    #[arg(long, value_enum, default_value_t)]
    output: Format,
}

fn stream(word: &str) -> Result<Stream, String> {
    match word {
        "stdout" => Ok(Stream::Stdout),
        "stderr" => Ok(Stream::Stderr),
        _ => Err("it is stdout or stderr".to_owned()),
    }
}

pub(super) async fn run(arguments: &LogsArguments, context: &Context) -> Outcome {
    let id = &arguments.id;
    let mut query = LogQuery {
        from: arguments.from.or(arguments.date),
        to: arguments.to.or(arguments.date),
        tail: arguments.tail,
        stream: arguments.stream,
        since: arguments.since,
    };
    let mut shown = Tracked::new(Shown::new(arguments.shape.form(), arguments.shape.raw));
    if arguments.follow {
        let sections = |reader: &Reader<'_>| (reader.store(), reader.broker());
        let (store, broker) = context.settings(Voice::Tool, sections)?;
        let store: Arc<dyn ObjectStore> = Arc::new(S3Store::new(&store)?);
        let client = Client::connect(&broker).await?;
        let what = Following { id, store: &store, broker: &client.broker };
        let ended = Box::pin(facts::follow(what, &mut query, &mut shown)).await;
        client.close().await;
        ended?;
        return Ok(0);
    }
    let store = S3Store::new(&context.settings(Voice::Tool, Reader::store)?)?;
    if arguments.days {
        let days = list_days(&store, id).await?;
        days.iter().try_for_each(|day| print(&day.to_string()))?;
        return Ok(0);
    }
    let lines = shown.stored(&store, id, &query).await?;
    if lines == 0 && list_days(&store, id).await?.is_empty() {
        let bucket = store.bucket_name(Bucket::Logs);
        return Err(Failure::of(format!("there is no log of {id} in the bucket {bucket}")));
    }
    Ok(0)
}

impl Shape {
    fn form(&self) -> Form {
        match self.output {
            Format::Json => Form::Json,
            Format::Text if self.bare => Form::Bare,
            Format::Text => Form::Whole,
        }
    }
}
