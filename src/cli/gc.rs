//! `longshore gc`: removes what the settings let go, and what killed local runs left.

mod asked;
mod host;
mod report;
mod stored;

use clap::Args;
use serde_json::json;

use self::asked::{What, settings};
use self::report::{Part, text};
use super::output::{Format, print, print_json, warn};
use super::terminal::one_line;
use super::{Context, Outcome};

/// Remove what the settings let go, and what killed local runs left.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  longshore gc --dry-run
  longshore gc
  longshore gc runs
  longshore gc images --dry-run
  longshore gc --dry-run --output json | jq '.parts[] | {what, goes, stays_bytes}'

WHAT is one or more of these, or all but the images:
  records       of the journal that nobody needs    RECORD_RETENTION_DAYS
  logs          in the bucket of daily logs         LOG_RETENTION_DAYS
  results       in the bucket of results            RESULT_RETENTION_DAYS
                and artifacts there                 ARTIFACT_RETENTION_DAYS
  dead-letters  by when they were published         DEAD_LETTERS_MAX_DAYS
  runs          containers and directories of a `longshore run` on this host and
                engine whose process is gone
  images        on this engine: of the repositories that PYTHON_IMAGE and
                NODE_IMAGE name, under other tags, if no container has them

Without its setting, nothing is removed for its age: the command counts what is
there. The command looks at all of it now, also at what a worker looks at once a
day. What belongs to a run that goes on stays.
Exit codes: 0 all is done, 1 something could not be looked at or removed.")]
pub struct GcArguments {
    /// What to look at; by default all but the images
    #[arg(value_enum, value_name = "WHAT")]
    what: Vec<What>,
    /// Remove nothing, and say what would go
    #[arg(long)]
    dry_run: bool,
    /// How to print
    #[arg(long, value_enum, default_value_t)]
    output: Format,
}

pub(super) async fn run(arguments: &GcArguments, context: &Context) -> Outcome {
    let asked = if arguments.what.is_empty() { &What::USUAL[..] } else { &arguments.what };
    let read = settings(asked, context)?;
    let is_dry = arguments.dry_run;
    let mut parts = Vec::new();
    if let Some(store) = &read.store {
        parts.extend(Box::pin(stored::objects(asked, store, &read, is_dry)).await?);
    }
    if let Some(broker) = &read.broker {
        parts.push(stored::dead_letters(broker, is_dry).await);
    }
    if let Some(runner) = &read.runner {
        parts.extend(host::all(asked, runner, is_dry).await);
    }
    match arguments.output {
        Format::Text => print(&text(&parts, is_dry))?,
        Format::Json => print_json(&json!({ "dry_run": is_dry, "parts": parts }))?,
    }
    for part in &parts {
        if let Some(problem) = &part.problem {
            warn(&one_line(&format!("{}: {problem}", part.what)));
        }
        if part.failed > 0 {
            warn(&format!("{}: {} could not be removed", part.what, part.failed));
        }
    }
    Ok(u8::from(!parts.iter().all(Part::is_well)))
}
