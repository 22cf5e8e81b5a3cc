//! `longshore pack`: what `run` and `start` send of a directory, as a zip.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use serde_json::json;

use super::order::{JobArguments, checked};
use super::output::{Format, print, print_json, warn};
use super::packing::{PackOptions, Packer, megabytes, upload};
use super::project::{draft_of, id_of, told};
use super::telemetry::Voice;
use super::{Context, Failure, Outcome};
use crate::settings::Reader;

/// Pack a directory with the packages that its program needs.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  longshore pack my-strategy
  longshore pack my-strategy --to strategy.zip
  longshore pack my-strategy --upload --output json

The packages of requirements.txt go into vendor/, and those of package-lock.json into node_modules/.
They are installed in a container of the runtime's image, so they suit it, and are kept on this
machine for the next time. The same files give the same bytes. With --upload, the key in the code
bucket is printed: a start message may name it as its file_path.")]
pub struct PackArguments {
    /// The directory
    #[arg(value_name = "DIR")]
    directory: PathBuf,
    /// Write the zip to this file; by default DIR.zip in the current directory
    #[arg(long, value_name = "FILE", conflicts_with = "upload")]
    to: Option<PathBuf>,
    /// Store the zip in the code bucket, and write no file
    #[arg(long)]
    upload: bool,
    /// The runtime; by default that of start.json or of the script's file extension
    #[arg(long)]
    runtime: Option<String>,
    /// The script's path inside the zip, where it cannot be found by its name
    #[arg(long = "file", value_name = "SCRIPT")]
    script: Option<String>,
    #[command(flatten)]
    options: PackOptions,
    /// How to print
    #[arg(long, value_enum, default_value_t)]
    output: Format,
}

pub(super) async fn run(arguments: &PackArguments, context: &Context) -> Outcome {
    let directory = &arguments.directory;
    if !directory.is_dir() {
        let shown = directory.display();
        return Err(Failure::Usage(format!("{shown} is not a directory")));
    }
    let packer = Packer::new(context)?;
    let source = packer.look(directory)?;
    let flags = JobArguments {
        runtime: arguments.runtime.clone(),
        files: arguments.script.iter().cloned().collect(),
        ..JobArguments::default()
    };
    let runtimes = packer.runtimes();
    let mut draft = draft_of(directory, &source.names, &flags, runtimes)?;
    flags.lay_over(&mut draft, runtimes)?;
    draft.fields.insert("file_path".to_owned(), "code.zip".into());
    let executable = checked(&draft)?;
    warn(&told(directory, &executable));
    let package = packer.pack(source, &executable.runtime, &arguments.options).await?;
    let place = if arguments.upload {
        let store = context.settings(Voice::Tool, Reader::store)?;
        upload(&package, &package.key(), &store).await?;
        package.key()
    } else {
        let usual = || PathBuf::from(format!("{}.zip", id_of(directory)));
        let to = arguments.to.clone().unwrap_or_else(usual);
        let shown = to.display().to_string();
        std::fs::copy(package.path(), &to).with_context(|| format!("{shown} cannot be written"))?;
        shown
    };
    warn(&format!("{} MB, SHA-256 {}", megabytes(package.bytes), package.sha256));
    match arguments.output {
        Format::Text => print(&place)?,
        Format::Json => {
            let name = if arguments.upload { "file_path" } else { "file" };
            print_json(&json!({
                name: place,
                "code_sha256": package.sha256,
                "bytes": package.bytes,
            }))?;
        }
    }
    Ok(0)
}
