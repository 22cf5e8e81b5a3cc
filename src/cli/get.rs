//! `longshore get`.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;
use sha2::{Digest as _, Sha256};

use super::output::{Format, columns, print, print_bytes, print_json, warn};
use super::telemetry::Voice;
use super::{Context, Failure, Outcome};
use crate::facts::{Known, find_outcome};
use crate::job::artifacts::Artifact;
use crate::job::{EventData, JobId, RunId};
use crate::storage::{Bucket, Journal, ObjectStore as _, S3Store};

/// Fetch the files that a run left as artifacts.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  longshore get my-backtest-1
  longshore get my-backtest-1 equity.png
  longshore get my-backtest-1 report/trades.csv --to trades.csv
  longshore get my-backtest-1 --list

Without PATH, all of them are written below the directory of the job's name, or below --to. Their
hashes are checked. A file that is there already is replaced.")]
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
    /// How to print the list
    #[arg(long, value_enum, default_value_t)]
    output: Format,
}

pub(super) async fn run(arguments: &GetArguments, context: &Context) -> Outcome {
    let (settings, namespace) =
        context.settings(Voice::Tool, |reader| (reader.store(), reader.namespace()))?;
    let store = std::sync::Arc::new(S3Store::new(&settings)?);
    let journal = Journal::new(std::sync::Arc::clone(&store) as _, namespace);
    let id = &arguments.id;
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
        (None, None) => Path::new(arguments.id.as_str()).join(&artifact.path),
    };
    let shown = to.display().to_string();
    let write = || {
        to.parent().map_or(Ok(()), std::fs::create_dir_all)?;
        std::fs::write(&to, &object.bytes)
    };
    write().with_context(|| format!("{shown} cannot be written"))?;
    print(&shown)
}
