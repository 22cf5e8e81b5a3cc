//! `longshore schema`.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;

use super::output::{columns, print};
use super::{Failure, Outcome};
use crate::job::schema;
use crate::metrics;
use crate::settings::doc;

/// The description of exchanges, queues and messages. Written by hand, checked by tests.
const ASYNCAPI: &str = include_str!("../../schemas/asyncapi.yaml");

/// Print or write the JSON Schemas of all messages.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  longshore schema                        list what there is
  longshore schema start                  print one
  longshore schema --output-dir schemas   write all of them")]
pub struct SchemaArguments {
    /// Which: start, stop, event, log or asyncapi
    name: Option<String>,
    /// Write files into this directory
    #[arg(long, value_name = "DIR")]
    output_dir: Option<PathBuf>,
    /// Print docs/settings.md
    #[arg(long, hide = true, conflicts_with_all = ["name", "output_dir"])]
    settings_doc: bool,
    /// Print docs/metrics.md
    #[arg(long, hide = true, conflicts_with_all = ["name", "output_dir", "settings_doc"])]
    metrics_doc: bool,
}

struct Document {
    name: &'static str,
    file: &'static str,
    title: String,
    text: String,
}

fn documents() -> Vec<Document> {
    let schemas = schema::all().into_iter().map(|named| {
        let title = named.schema.get("title").and_then(|title| title.as_str()).unwrap_or_default();
        Document { name: named.name, file: named.file, title: title.to_owned(), text: named.text() }
    });
    let asyncapi = Document {
        name: "asyncapi",
        file: "asyncapi.yaml",
        title: "Exchanges, queues and messages".to_owned(),
        text: ASYNCAPI.to_owned(),
    };
    schemas.chain([asyncapi]).collect()
}

pub(super) fn run(arguments: &SchemaArguments) -> Outcome {
    if arguments.settings_doc {
        print(&doc::page())?;
        return Ok(0);
    }
    if arguments.metrics_doc {
        print(&metrics::doc::page())?;
        return Ok(0);
    }
    let mut chosen = documents();
    if let Some(name) = &arguments.name {
        let names: Vec<_> = chosen.iter().map(|document| document.name).collect();
        if !names.contains(&name.as_str()) {
            let problem = format!("there is no schema {name:?}; there are {}", names.join(", "));
            return Err(Failure::Usage(problem));
        }
        chosen.retain(|document| document.name == name);
    }
    match (&arguments.output_dir, &arguments.name) {
        (Some(directory), _) => write(directory, &chosen)?,
        (None, Some(_)) => chosen.iter().try_for_each(|document| print(&document.text))?,
        (None, None) => {
            let row = |one: Document| [one.name.to_owned(), one.file.to_owned(), one.title];
            print(&columns(["NAME", "FILE", "WHAT"], chosen.into_iter().map(row).collect()))?;
        }
    }
    Ok(0)
}

fn write(directory: &Path, documents: &[Document]) -> anyhow::Result<()> {
    std::fs::create_dir_all(directory)
        .with_context(|| format!("the directory {} cannot be made", directory.display()))?;
    for document in documents {
        let path = directory.join(document.file);
        std::fs::write(&path, &document.text)
            .with_context(|| format!("{} cannot be written", path.display()))?;
    }
    Ok(())
}
