//! `longshore get`.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;
use sha2::{Digest as _, Sha256};

use super::output::{Format, columns, print, print_bytes, print_json, warn};
use super::telemetry::Voice;
use super::{Context, Failure, Outcome};
use crate::facts::{Known, SeriesList, SeriesPoint, find_outcome, read_series};
use crate::job::artifacts::Artifact;
use crate::job::series::At;
use crate::job::{EventData, JobId, RunId};
use crate::storage::{Bucket, Journal, ObjectStore as _, S3Store};

/// The largest object of series that is read, in bytes.
const MAX_SERIES_BYTES: u64 = 128 << 20;

/// In place of the name of a series: all of them.
const ALL: &str = "";

/// Fetch the files that a run left as artifacts, or what it measured.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  longshore get my-backtest-1
  longshore get my-backtest-1 equity.png
  longshore get my-backtest-1 report/trades.csv --to trades.csv
  longshore get my-backtest-1 --list
  longshore get my-bot-1 --series > series.csv
  longshore get my-bot-1 --series equity --output json

Without PATH, all of them are written below the directory ID-artifacts, or below --to. Their hashes
are checked. A file that is there already is replaced.

--series prints a table in CSV: name, attempt, number, value, place and time of each point. It also
works while the run goes on.")]
pub struct GetArguments {
    /// The job
    id: JobId,
    /// One of them: its path, as --list shows it
    path: Option<String>,
    /// This run of it, instead of the latest
    #[arg(long, value_name = "ID")]
    run_id: Option<RunId>,
    /// Where they go: a directory, or a file for one of them; - is standard output
    #[arg(long, value_name = "PATH")]
    to: Option<PathBuf>,
    /// Only list them
    #[arg(long)]
    list: bool,
    /// Print the series that the program measured, or one of them
    #[arg(long, value_name = "NAME", num_args = 0..=1, default_missing_value = ALL, conflicts_with_all = ["path", "list", "to"])]
    series: Option<String>,
    /// How to print the list, or the series
    #[arg(long, value_enum, default_value_t)]
    output: Format,
}

pub(super) async fn run(arguments: &GetArguments, context: &Context) -> Outcome {
    let (settings, namespace) =
        context.settings(Voice::Tool, |reader| (reader.store(), reader.namespace()))?;
    let store = std::sync::Arc::new(S3Store::new(&settings)?);
    let journal = Journal::new(std::sync::Arc::clone(&store) as _, namespace);
    let id = &arguments.id;
    if let Some(name) = &arguments.series {
        return series(&journal, &store, arguments, Some(name).filter(|name| *name != ALL)).await;
    }
    let (artifacts, problem) = match find_outcome(&journal, id, arguments.run_id.as_ref()).await? {
        Known::Ended { event, .. } => match event.data {
            EventData::Result(result) => {
                (result.objects.artifacts, result.metadata.get("artifacts").cloned())
            }
            EventData::Status(_) => (Vec::new(), None),
        },
        Known::GoesOn(_) => {
            return Err(Failure::of(format!("{id} has not ended yet, so it has no artifacts")));
        }
        Known::Nothing => {
            return Err(Failure::of(format!("the journal knows no such run of {id}")));
        }
    };
    if let Some(problem) = problem {
        warn(&format!("artifacts: {problem}"));
    }
    if arguments.list {
        return list(&artifacts, arguments.output);
    }
    let wanted: Vec<_> = artifacts
        .iter()
        .filter(|one| arguments.path.as_ref().is_none_or(|path| *path == one.path))
        .collect();
    if wanted.is_empty() {
        return Err(Failure::of(match &arguments.path {
            Some(path) => format!("{id} has no artifact {path}; --list shows those that it has"),
            None => format!("{id} has no artifacts; a start message asks for them with artifacts"),
        }));
    }
    for artifact in wanted {
        fetch(&store, artifact, arguments).await?;
    }
    Ok(0)
}

/// Prints what a run measured.
async fn series(
    journal: &Journal,
    store: &S3Store,
    arguments: &GetArguments,
    name: Option<&String>,
) -> Outcome {
    let (id, run) = (&arguments.id, arguments.run_id.as_ref());
    let mut found = read_series(journal, store, id, run, MAX_SERIES_BYTES).await?;
    found.series.retain(|one| name.is_none_or(|name| *name == one.name));
    if found.attempts_left_out > 0 {
        warn(&format!("{} older attempts are left out", found.attempts_left_out));
    }
    match (name, found.series.is_empty()) {
        (Some(name), true) => {
            return Err(Failure::of(format!("{id} has no series {name}: --series lists all")));
        }
        (None, true) => {
            let why = "a program makes them by longshore.metric, and they are stored every \
                       SERIES_INTERVAL_SECONDS";
            warn(&format!("{id} has no series yet: {why}"));
        }
        _ => {}
    }
    match arguments.output {
        Format::Json => print_json(&found)?,
        Format::Text => print(&table(&found))?,
    }
    Ok(0)
}

/// No cell has a comma or a quote: names of series, numbers and times.
fn table(found: &SeriesList) -> String {
    let mut text = "name,attempt,n,value,at,time\n".to_owned();
    for one in &found.series {
        for SeriesPoint { attempt, n, value, at, time, .. } in &one.values {
            let at = match at {
                None => String::new(),
                Some(At::Number(number)) => number.to_string(),
                Some(At::Time(time)) => time.to_string(),
            };
            let _infallible = writeln!(text, "{},{attempt},{n},{value},{at},{time}", one.name);
        }
    }
    text
}

fn list(artifacts: &[Artifact], format: Format) -> Outcome {
    match format {
        Format::Json => print_json(&artifacts)?,
        Format::Text => {
            let row = |one: &Artifact| {
                [one.path.clone(), one.bytes.to_string(), one.content_type.clone()]
            };
            let rows = artifacts.iter().map(row).collect();
            print(&columns(["PATH", "BYTES", "TYPE"], rows))?;
        }
    }
    Ok(0)
}

async fn fetch(
    store: &S3Store,
    artifact: &Artifact,
    arguments: &GetArguments,
) -> Result<(), Failure> {
    let object = store.get(Bucket::Results, &artifact.key, artifact.bytes).await?;
    if hex::encode(Sha256::digest(&object.bytes)) != artifact.sha256 {
        let key = &artifact.key;
        return Err(Failure::of(format!("{key} in the store is not what the run stored there")));
    }
    let to = match (&arguments.to, &arguments.path) {
        (Some(to), Some(_)) if to == Path::new("-") => return print_bytes(&object.bytes),
        (Some(to), Some(_)) if !to.is_dir() => to.clone(),
        (Some(to), None) => to.join(&artifact.path),
        (to, Some(_)) => {
            let name = Path::new(&artifact.path).file_name().unwrap_or_default();
            to.clone().unwrap_or_default().join(name)
        }
        // The directory of the job's name is often the one with its code.
        (None, None) => PathBuf::from(format!("{}-artifacts", arguments.id)).join(&artifact.path),
    };
    let shown = to.display().to_string();
    let write = || {
        to.parent().map_or(Ok(()), std::fs::create_dir_all)?;
        std::fs::write(&to, &object.bytes)
    };
    write().with_context(|| format!("{shown} cannot be written"))?;
    print(&shown)
}
