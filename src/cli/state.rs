//! `longshore state`.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use jiff::Timestamp;

use super::order::read;
use super::output::{fact, print, warn};
use super::telemetry::Voice;
use super::time::{ago, second};
use super::{Context, Failure, Outcome};
use crate::facts::{clear_state, set_state};
use crate::job::{JobId, JsonText};
use crate::storage::{DirectoryStore, Journal, ObjectStore, S3Store};
use crate::worker::LOCAL_STATES;

/// Look at the state of a bot, or change it while the bot does not run.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  longshore state my-bot                  # when it was kept, by which run, and how large it is
  longshore state my-bot --get | jq .
  longshore state my-bot --set state.json # what the next run finds
  longshore state my-bot --clear
  longshore state my-bot --get --local    # that of longshore run

A bot has a state if its start message has the field state. A state is JSON, and
secrets in it are not masked.

Exit codes: 0 done, 1 there is no state, or the job has not ended.")]
pub struct StateArguments {
    /// The job
    id: JobId,
    /// Print the state itself
    #[arg(long, group = "action")]
    get: bool,
    /// Set the state from a file; - is standard input
    #[arg(long, group = "action", value_name = "FILE")]
    set: Option<PathBuf>,
    /// Remove the state
    #[arg(long, group = "action")]
    clear: bool,
    /// The state that longshore run keeps on this machine
    #[arg(long)]
    local: bool,
}

pub(super) async fn run(arguments: &StateArguments, context: &Context) -> Outcome {
    let (journal, id) = (journal_of(arguments, context)?, &arguments.id);
    if let Some(file) = &arguments.set {
        let value = JsonText::read(&read(file)?)
            .map_err(|error| Failure::Usage(format!("{}: {error}", file.display())))?;
        set_state(&journal, id, value).await?;
    } else if arguments.clear {
        clear_state(&journal, id).await?;
    } else {
        return show(&journal, arguments).await;
    }
    Ok(0)
}

fn journal_of(arguments: &StateArguments, context: &Context) -> Result<Journal, Failure> {
    if arguments.local {
        let folder = context.settings(Voice::Tool, |reader| reader.pack().run_state_dir)?;
        let store: Arc<dyn ObjectStore> = Arc::new(DirectoryStore::new(&folder));
        return Ok(Journal::new(store, LOCAL_STATES.to_owned()));
    }
    let sections = context.settings(Voice::Tool, |reader| (reader.store(), reader.namespace()));
    let (settings, namespace) = sections?;
    Ok(Journal::new(Arc::new(S3Store::new(&settings)?), namespace))
}

async fn show(journal: &Journal, arguments: &StateArguments) -> Outcome {
    let id = &arguments.id;
    let Some((record, _)) = journal.state(id).await? else {
        warn(&format!("{id} has no state"));
        return Ok(1);
    };
    let Some(value) = record.value else {
        warn(&format!("{id} has kept no state yet"));
        return Ok(1);
    };
    if arguments.get {
        print(&format!("{}\n", value.as_str()))?;
        return Ok(0);
    }
    let at =
        format!("{} ({})", second(record.written_at), ago(record.written_at, Timestamp::now()));
    let facts = [
        fact("written", &at),
        fact("by run", record.run.as_str()),
        fact("bytes", &value.as_str().len().to_string()),
        fact("number", &record.seq.to_string()),
    ];
    print(&facts.concat())?;
    Ok(0)
}
