//! `longshore top`: fleet and jobs as they are, again and again.

mod frame;
mod keys;
mod screen;

use std::io::IsTerminal as _;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::frame::{Shown, lines};
use self::keys::{Act, Keys};
use self::screen::Screen;
use super::client::Client;
use super::output::{Format, print, print_json, terminal_width};
use super::signals::interrupted;
use super::telemetry::Voice;
use super::{Context, Outcome};
use crate::facts::{Lookout, Overview};
use crate::storage::{Journal, S3Store};

/// Show workers, queues and active jobs, again and again.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  longshore top
  longshore top --filter worker-2 --interval 5
  longshore top --once
  longshore top --output json | jq '.jobs[] | select(.progress.percent > 90) | .id'

Keys: q or Ctrl-C ends, / filters jobs by a part of their id or worker (Enter keeps
the filter, Escape clears it).

STATE and PROGRESS come from events: of a run that has told nothing since the
command began, only `active` or `waiting` is known. So with --once, and where
standard output is no terminal, there is no progress. The broker does not tell how
many slots a worker has. CONSUMERS of a queue of starts are the workers with a
free slot of that kind.")]
pub struct TopArguments {
    /// The seconds between two looks
    #[arg(long, value_name = "SECONDS", default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=3600))]
    interval: u64,
    /// Only jobs with this in their id or in the name of their worker
    #[arg(long, value_name = "TEXT", default_value = "")]
    filter: String,
    /// Show so many jobs at most
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: usize,
    /// Print what there is now, and end
    #[arg(long)]
    once: bool,
    /// How to print; JSON is printed once
    #[arg(long, value_enum, default_value_t)]
    output: Format,
}

pub(super) async fn run(arguments: &TopArguments, context: &Context) -> Outcome {
    let is_live = !arguments.once
        && arguments.output == Format::Text
        && std::io::stdout().is_terminal()
        && std::io::stdin().is_terminal();
    let voice = if is_live { Voice::Screen } else { Voice::Tool };
    let (broker, store) = context.settings(voice, |reader| (reader.broker(), reader.store()))?;
    let store = Arc::new(S3Store::new(&store)?);
    let namespace = broker.namespace.clone();
    let journal = Journal::new(store, namespace.clone());
    let client = Client::connect(&broker).await?;
    let done = if is_live {
        Box::pin(live(arguments, &namespace, &client, journal)).await
    } else {
        Box::pin(once(arguments, &namespace, &client, journal)).await
    };
    client.close().await;
    done
}

async fn once(
    arguments: &TopArguments,
    namespace: &str,
    client: &Client,
    journal: Journal,
) -> Outcome {
    let lookout = Lookout::once(client.broker.clone(), journal);
    let overview = lookout.look(arguments.limit, &arguments.filter).await?;
    match arguments.output {
        Format::Text => {
            let shown = Shown { namespace, filter: &arguments.filter, ..Shown::default() };
            let lines = lines(Some(&overview), &shown, (terminal_width(), None));
            print(&lines.into_iter().map(|line| line.text + "\n").collect::<String>())?;
        }
        Format::Json => print_json(&overview)?,
    }
    Ok(0)
}

/// What the last look found, or why there was none.
type Look = Result<Arc<Overview>, String>;

async fn live(
    arguments: &TopArguments,
    namespace: &str,
    client: &Client,
    journal: Journal,
) -> Outcome {
    let (tasks, closing) = (TaskTracker::new(), CancellationToken::new());
    let _closing = closing.clone().drop_guard();
    let lookout = Lookout::lasting(client.broker.clone(), journal, &tasks, &closing);
    let (filter, mut wanted) = watch::channel(arguments.filter.clone());
    let (look, looked) = watch::channel(None);
    let looking = async {
        loop {
            let text = wanted.borrow_and_update().clone();
            let found = lookout.look(arguments.limit, &text).await;
            look.send_replace(Some(found.map(Arc::new).map_err(|error| error.to_string())));
            tokio::select! {
                () = tokio::time::sleep(Duration::from_secs(arguments.interval)) => {}
                // Somebody waits for it.
                _ = wanted.changed() => {}
            }
        }
    };
    tokio::select! {
        ended = show(arguments, namespace, filter, looked) => ended,
        never = looking => never,
    }
}

/// Draws what was found, and obeys keys, until somebody ends it.
async fn show(
    arguments: &TopArguments,
    namespace: &str,
    filter: watch::Sender<String>,
    mut looked: watch::Receiver<Option<Look>>,
) -> Outcome {
    let mut screen = Screen::open()?;
    let mut keys = Keys::new(arguments.filter.clone());
    let mut last: Option<Arc<Overview>> = None;
    let mut problem = None;
    loop {
        let shown = Shown {
            namespace,
            filter: keys.filter(),
            is_typing: keys.is_typing(),
            every: Some(arguments.interval),
            problem: problem.as_deref(),
        };
        let (width, height) = Screen::size();
        screen.draw(&lines(last.as_deref(), &shown, (Some(width), Some(height))))?;
        tokio::select! {
            _ = looked.changed() => match &*looked.borrow_and_update() {
                Some(Ok(found)) => (last, problem) = (Some(Arc::clone(found)), None),
                Some(Err(why)) => problem = Some(why.clone()),
                None => {}
            },
            key = screen.key() => match key.map_or(Act::End, |key| keys.press(key)) {
                Act::End => return Ok(0),
                Act::Filter => {
                    filter.send_replace(keys.filter().to_owned());
                }
                Act::Draw => {}
            },
            () = interrupted() => return Ok(0),
        }
    }
}
