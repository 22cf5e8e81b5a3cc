//! `longshore dead`: messages that could not be processed.

mod letter;

use clap::{Args, Subcommand};
use serde_json::json;

use self::letter::rows;
use super::client::Client;
use super::output::{Format, columns, print, print_bytes, print_json, warn};
use super::telemetry::Voice;
use super::terminal::one_line;
use super::{Context, Failure, Outcome};
use crate::broker::{DeadLetter, DeadLetters};
use crate::facts::{self, DeadReport, FactsError, Key, Replayed};
use crate::settings::Reader;

/// Look at the dead letters, and replay or remove them.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  longshore dead list
  longshore dead show 3f9a61c0b27d
  longshore dead replay 3f9a61c0b27d
  longshore dead purge --all --yes

A dead letter is a message that could not be processed: a bad start or stop, or
one that the broker gave up. Its key is made from what it says, so it stays the
same.

To look at the letters, the command takes them and puts them back. For a moment,
others do not see them. Do not run two of these commands at once: the order of
the letters may change.")]
pub struct DeadArguments {
    #[command(subcommand)]
    command: DeadCommand,
}

#[derive(Debug, Subcommand)]
enum DeadCommand {
    /// List the dead letters, the oldest first
    List {
        /// List so many at most
        #[arg(long, value_name = "N", default_value_t = 20)]
        limit: usize,
        /// How to print
        #[arg(long, value_enum, default_value_t)]
        output: Format,
    },
    /// Show one, with its reason, its headers and its body, secrets included
    Show {
        /// Its key, from the list
        key: Key,
        /// Print only the body, as it came
        #[arg(long, conflicts_with = "output")]
        body: bool,
        /// How to print
        #[arg(long, value_enum, default_value_t)]
        output: Format,
    },
    /// Publish one again, or all, and remove it once the broker has it
    Replay {
        #[command(flatten)]
        which: Which,
        /// Keep the run that a start names: if it has ended, its result comes again
        #[arg(long)]
        same_run: bool,
        /// How to print
        #[arg(long, value_enum, default_value_t)]
        output: Format,
    },
    /// Remove one, or all, for good
    Purge {
        #[command(flatten)]
        which: Which,
        /// Yes, remove it: nothing brings it back
        #[arg(long)]
        yes: bool,
        /// How to print
        #[arg(long, value_enum, default_value_t)]
        output: Format,
    },
}

/// One letter, or all.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct Which {
    /// Its key, from the list
    key: Option<Key>,
    /// All that are there now
    #[arg(long)]
    all: bool,
}

pub(super) async fn run(arguments: &DeadArguments, context: &Context) -> Outcome {
    let settings = context.settings(Voice::Tool, Reader::broker)?;
    if let DeadCommand::Purge { yes: false, .. } = &arguments.command {
        let why = "this removes dead letters for good: look at them first (longshore dead list), \
                   and say --yes";
        return Err(Failure::Usage(why.to_owned()));
    }
    let client = Client::connect(&settings).await?;
    let mut letters = facts::open_letters(&client.broker).await?;
    let done = Box::pin(do_it(&arguments.command, &client, &mut letters)).await;
    // Whatever went wrong, the letters go back in their order.
    let back = letters.put_back().await;
    client.close().await;
    let code = done?;
    back.map_err(FactsError::from)?;
    Ok(code)
}

async fn do_it(command: &DeadCommand, client: &Client, letters: &mut DeadLetters) -> Outcome {
    match command {
        DeadCommand::List { limit, output } => list(letters, *limit, *output).await,
        DeadCommand::Show { key, body, output } => {
            let letter = facts::find_letter(letters, key).await?;
            let shown = show(client, &letter, *body, *output);
            letters.hold(letter);
            shown
        }
        DeadCommand::Replay { which, same_run, output } => match &which.key {
            Some(key) => {
                let letter = facts::find_letter(letters, key).await?;
                let again = replay(client, letters, &letter, (*same_run, *output)).await;
                if let Err(failure) = again {
                    letters.hold(letter);
                    return Err(failure);
                }
                Ok(0)
            }
            None => replay_all(client, letters, (*same_run, *output)).await,
        },
        DeadCommand::Purge { which, output, .. } => {
            let removed = if let Some(key) = &which.key {
                let letter = facts::find_letter(letters, key).await?;
                letters.remove(&letter).await.map_err(FactsError::from)?;
                1
            } else {
                letters.purge().await?
            };
            match output {
                Format::Text => print(&format!("removed {removed} dead letters"))?,
                Format::Json => print_json(&json!({ "removed": removed }))?,
            }
            Ok(0)
        }
    }
}

async fn list(letters: &mut DeadLetters, limit: usize, output: Format) -> Outcome {
    let entries = facts::list_letters(letters, limit).await?;
    match output {
        Format::Text => {
            let head = ["KEY", "FROM", "JOB", "REASON"];
            print(&columns(head, rows(&entries)))?;
        }
        Format::Json => print_json(&entries)?,
    }
    let (shown, all) = (entries.len(), letters.waiting());
    if usize::try_from(all).is_ok_and(|all| all > shown) {
        warn(&format!("the oldest {shown} of {all} are listed; --limit {all} lists all"));
    }
    Ok(0)
}

fn show(client: &Client, letter: &DeadLetter, body: bool, output: Format) -> Outcome {
    if body {
        print_bytes(&letter.body)?;
        return Ok(0);
    }
    let goes_to = facts::goes_to(client.broker.topology(), letter);
    match output {
        Format::Text => print(&letter::text(letter, &goes_to))?,
        Format::Json => print_json(&DeadReport::of(letter, &goes_to))?,
    }
    Ok(0)
}

/// Publishes one again. Says which, and where to.
async fn replay(
    client: &Client,
    letters: &DeadLetters,
    letter: &DeadLetter,
    (same_run, output): (bool, Format),
) -> Result<(), Failure> {
    let topology = client.broker.topology();
    tell(&facts::replay(topology, letters, letter, same_run).await?, output)
}

fn tell(replayed: &Replayed, output: Format) -> Result<(), Failure> {
    match output {
        Format::Text => print(&format!("{} is in {} again", replayed.key, replayed.queue)),
        Format::Json => print_json(replayed),
    }
}

/// Publishes all again that were there in the beginning. What cannot be replayed stays.
async fn replay_all(
    client: &Client,
    letters: &mut DeadLetters,
    (same_run, output): (bool, Format),
) -> Outcome {
    let (mut left, mut unprinted) = (0, None);
    let mut told = |replayed: Result<Replayed, FactsError>| {
        match replayed {
            Ok(replayed) => unprinted = tell(&replayed, output).err(),
            Err(error) => {
                left += 1;
                warn(&one_line(&error.to_string()));
            }
        }
        unprinted.is_none()
    };
    facts::replay_all(client.broker.topology(), letters, same_run, &mut told).await?;
    match unprinted {
        Some(failure) => Err(failure),
        None => Ok(u8::from(left > 0)),
    }
}
