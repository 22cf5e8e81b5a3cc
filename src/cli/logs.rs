//! `longshore logs`: what is in the store.

use std::io::{BufWriter, Write as _};
use std::ops::ControlFlow;

use clap::Args;
use serde_json::json;

use super::output::{Format, print};
use super::telemetry::Voice;
use super::{Context, Failure, Outcome};
use crate::job::JobId;
use crate::logs::{Day, LogQuery, StoredLine, Stream, list_days, read};
use crate::settings::Reader;
use crate::storage::{Bucket, ObjectStore as _, S3Store};

/// Print the log of a job from the object store.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  longshore logs my-bot --tail 100
  longshore logs my-bot --date 20261122 --stream stderr
  longshore logs my-bot --output json | jq -r 'select(.stream == \"stderr\") | .text'
  longshore logs my-bot --days

Lines reach the store every LOG_INTERVAL_SECONDS. Days are in UTC.")]
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
    /// List the days that have lines
    #[arg(long, conflicts_with_all = ["date", "from", "to", "stream", "tail"])]
    days: bool,
    /// Leave out time and stream
    #[arg(long, conflicts_with = "output")]
    bare: bool,
    /// Lines as they are, or one JSON document a line
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
    let settings = context.settings(Voice::Tool, Reader::store)?;
    let store = S3Store::new(&settings)?;
    let id = &arguments.id;
    if arguments.days {
        let days = list_days(&store, id).await?;
        days.iter().try_for_each(|day| print(&day.to_string()))?;
        return Ok(0);
    }
    let query = LogQuery {
        from: arguments.from.or(arguments.date),
        to: arguments.to.or(arguments.date),
        tail: arguments.tail,
        stream: arguments.stream,
    };
    let (mut lines, mut written) = (0_u64, Ok(()));
    let mut out = BufWriter::new(std::io::stdout());
    let mut sink = |line: StoredLine<'_>| {
        lines += 1;
        written = writeln!(out, "{}", shown(&line, arguments));
        if written.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    };
    let read = read(&store, id, &query, &mut sink).await;
    written?;
    out.flush()?;
    read.map_err(anyhow::Error::from)?;
    if lines == 0 && list_days(&store, id).await?.is_empty() {
        let bucket = store.bucket_name(Bucket::Logs);
        return Err(Failure::of(format!("there is no log of {id} in the bucket {bucket}")));
    }
    Ok(0)
}

/// A line as it was asked for. Users' colours stay as they are: it is their log.
fn shown(line: &StoredLine<'_>, arguments: &LogsArguments) -> String {
    match arguments.output {
        Format::Json => {
            let stream = line.stream.map(Stream::as_str);
            json!({"time": line.time, "stream": stream, "text": line.text}).to_string()
        }
        Format::Text if arguments.bare => line.text.to_owned(),
        Format::Text => line.raw.to_owned(),
    }
}
