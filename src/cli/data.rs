//! `longshore data`: data sets that jobs have as inputs.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use clap::{Args, Subcommand};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde::Serialize;
use serde_json::json;

use super::output::{Format, columns, print, print_json, print_json_line, warn};
use super::packing::megabytes;
use super::progress::Reporter;
use super::size::size;
use super::telemetry::Voice;
use super::terminal::one_line;
use super::time::second;
use super::{Context, Failure, Outcome};
use crate::job::inputs::check_key_of;
use crate::runner::sha256_of;
use crate::settings::Reader;
use crate::storage::{Bucket, Listed, ObjectStore as _, S3Store};

/// The type of an object that nobody shows.
const TYPE: &str = "application/octet-stream";

/// How many objects are asked for their hashes at a time.
const CONCURRENT: usize = 8;

/// Store data sets for jobs, or list them.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  longshore data put prices.csv
  longshore data put btc-1m.parquet --key prices/btc-1m.parquet
  longshore data put *.csv --key prices/
  longshore data ls
  longshore data ls prices/ --output json

put prints what a start message needs in its list of inputs. What the store has already is not sent
again. ls knows the hash of what put has stored.")]
pub struct DataArguments {
    #[command(subcommand)]
    command: DataCommand,
}

#[derive(Debug, Subcommand)]
enum DataCommand {
    /// Store files, each under its name
    Put {
        /// The files
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
        /// The key of the file, or with a slash at its end what comes before the names of all
        #[arg(long, value_name = "KEY")]
        key: Option<String>,
        /// A line of JSON for each file, or one list
        #[arg(long, value_enum, default_value_t)]
        output: Format,
    },
    /// List what is stored
    Ls {
        /// Only keys that begin with this
        #[arg(default_value = "")]
        prefix: String,
        /// List so many at most
        #[arg(long, value_name = "N", default_value_t = 1000)]
        limit: usize,
        /// How to print
        #[arg(long, value_enum, default_value_t)]
        output: Format,
    },
}

/// An object of the list.
#[derive(Debug, Serialize)]
struct DataSet {
    key: String,
    bytes: Option<u64>,
    written_at: Option<jiff::Timestamp>,
    sha256: Option<String>,
}

pub(super) async fn run(arguments: &DataArguments, context: &Context) -> Outcome {
    let store = S3Store::new(&context.settings(Voice::Tool, Reader::store)?)?;
    match &arguments.command {
        DataCommand::Put { files, key, output } => {
            put(&store, files, key.as_deref(), *output).await
        }
        DataCommand::Ls { prefix, limit, output } => list(&store, prefix, *limit, *output).await,
    }
}

async fn put(store: &S3Store, files: &[PathBuf], key: Option<&str>, format: Format) -> Outcome {
    // All of them before the first is sent.
    let mut named = Vec::new();
    for file in files {
        named.push((file, key_of(file, key, files.len())?));
    }
    let mut all = Vec::new();
    for (file, key) in named {
        let hashed = Hashed::of(file).await?;
        put_one(store, &hashed, &key).await?;
        let sha256 = hashed.sha256;
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        let line = json!({ "key": key, "path": format!("data/{name}"), "sha256": sha256 });
        match format {
            Format::Text => print_json_line(&line)?,
            Format::Json => all.push(line),
        }
    }
    if format == Format::Json {
        print_json(&all)?;
    }
    Ok(0)
}

/// The key of a file, of which there are `count`.
fn key_of(file: &Path, key: Option<&str>, count: usize) -> Result<String, Failure> {
    let shown = file.display();
    if !file.is_file() {
        return Err(Failure::Usage(format!(
            "{shown} is no file: pack a directory first, see unpack"
        )));
    }
    let name = || file.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let key = match key {
        None => name(),
        Some(folder) if folder.ends_with('/') => format!("{folder}{}", name()),
        Some(_) if count > 1 => {
            let why = "--key names one object: write a slash at its end for several files";
            return Err(Failure::Usage(why.to_owned()));
        }
        Some(key) => key.to_owned(),
    };
    check_key_of(&key).map_err(|problem| Failure::Usage(format!("the key {key:?} {problem}")))?;
    Ok(key)
}

/// Size and time of a file: they change when it does.
type Seen = (u64, SystemTime);

fn seen(file: &Path) -> std::io::Result<Seen> {
    std::fs::metadata(file).and_then(|found| Ok((found.len(), found.modified()?)))
}

/// A file, as it was when it was hashed.
pub(super) struct Hashed<'a> {
    file: &'a Path,
    seen: Seen,
    pub(super) sha256: String,
}

impl<'a> Hashed<'a> {
    pub(super) async fn of(file: &'a Path) -> Result<Self, Failure> {
        let (seen, reading) = (seen(file)?, file.to_owned());
        let hashing = tokio::task::spawn_blocking(move || sha256_of(&reading));
        let sha256 = hashing.await.map_err(anyhow::Error::from)??;
        Ok(Self { file, seen, sha256 })
    }
}

/// Stores a file unless the store has it.
pub(super) async fn put_one(
    store: &S3Store,
    hashed: &Hashed<'_>,
    key: &str,
) -> Result<(), Failure> {
    let Hashed { file, seen: before, sha256 } = hashed;
    if let Some(there) = store.describe(Bucket::Inputs, key).await? {
        if there.sha256.as_deref() == Some(&**sha256) && there.bytes == Some(before.0) {
            warn(&format!("the store has {key} with these bytes already, so it is not sent again"));
            return Ok(());
        }
        warn(&format!(
            "{key} gets other bytes: messages that name it without sha256 get those from now on"
        ));
    }
    let reporter = Reporter::new();
    let of = megabytes(before.0);
    let sent = |bytes: u64| reporter.show(&format!("uploading {}/{of} MB", megabytes(bytes)));
    let uploaded = store.upload_described(Bucket::Inputs, key, (file, sha256), TYPE, &sent).await;
    reporter.end();
    uploaded?;
    if seen(file)? != *before {
        let shown = file.display();
        return Err(Failure::of(format!("{shown} changed while it was sent: store it again")));
    }
    Ok(())
}

async fn list(store: &S3Store, prefix: &str, limit: usize, format: Format) -> Outcome {
    let mut listed = store.list_dated(Bucket::Inputs, prefix, limit.saturating_add(1)).await?;
    if listed.len() > limit {
        listed.truncate(limit);
        warn(&format!("there are more than {limit}: name a prefix, or see --limit"));
    }
    let described = stream::iter(listed).map(|object| described(store, object));
    let found: Vec<_> = described.buffered(CONCURRENT).try_collect().await?;
    match format {
        Format::Json => print_json(&found)?,
        Format::Text => {
            let or_unknown = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
            let row = |one: &DataSet| {
                [
                    one_line(&one.key),
                    or_unknown(one.bytes.map(size)),
                    or_unknown(one.written_at.map(second)),
                    or_unknown(one.sha256.clone()),
                ]
            };
            let rows = found.iter().map(row).collect();
            print(&columns(["KEY", "SIZE", "WRITTEN", "SHA256"], rows))?;
        }
    }
    Ok(0)
}

async fn described(store: &S3Store, object: Listed) -> Result<DataSet, Failure> {
    let found = store.describe(Bucket::Inputs, &object.key).await?;
    let is_hash = |text: &String| text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit());
    let sha256 = found.and_then(|found| found.sha256).filter(is_hash);
    let Listed { key, bytes, written_at, .. } = object;
    Ok(DataSet { key, bytes, written_at, sha256 })
}
