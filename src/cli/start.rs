//! `longshore start`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use serde_json::json;

use super::client::{Client, Followed};
use super::order::OrderArguments;
use super::output::{Format, print, print_json, print_raw, warn};
use super::pack::Package;
use super::telemetry::Voice;
use super::terminal::one_line;
use super::{Context, Failure, Outcome, event_line};
use crate::broker::{Binding, Feed, MessageOptions};
use crate::job::{
    EventData, Executable, ExecutionResult, RunId, State, Status, Verdict, refusal_id,
};
use crate::settings::StoreSettings;
use crate::storage::{Bucket, ObjectStore as _, S3Store};

/// Publish a start message.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  longshore start job.json
  longshore start --id sma-1 --file backtest.py --upload ./strategy --wait
  longshore start --id my-bot --long-running --file main.mjs --code bots/my.zip --env TZ=UTC
  jq '.config.fast = 5' job.json | longshore start - --id sma-5 --wait --output json

With --wait, a terminating run is followed to its end and its verdict is the exit code (see
longshore --help); a long-running job is followed until it runs. Interrupting the wait leaves the
job alone.")]
pub struct StartArguments {
    /// A start message as JSON, or - for standard input
    file: Option<PathBuf>,
    #[command(flatten)]
    order: OrderArguments,
    /// Store this code first: a directory, which is packed, or a zip
    #[arg(long, value_name = "DIR|ZIP")]
    upload: Option<PathBuf>,
    /// Wait for the end
    #[arg(long)]
    wait: bool,
    /// Give up waiting after so many seconds; by default never
    #[arg(long, value_name = "SECONDS", requires = "wait")]
    wait_timeout: Option<u64>,
    /// Print the output of the run as it is: on a terminal, too, where all but colours is escaped
    #[arg(long, requires = "wait")]
    raw: bool,
    /// How to print
    #[arg(long, value_enum, default_value_t)]
    output: Format,
}

/// Stands for the key of an upload until the job's id is known.
const UNNAMED: &str = "-";

/// What waiting came to.
enum Ended {
    Up(Status),
    Over(Box<ExecutionResult>),
}

pub(super) async fn run(arguments: &StartArguments, context: &Context) -> Outcome {
    let (executable, package) = read(arguments)?;
    let settings = context.settings(Voice::Tool, |reader| {
        (reader.broker(), package.is_some().then(|| reader.store()))
    })?;
    if let (Some(package), Some(store)) = (&package, &settings.1) {
        upload(package, &executable.file_path, store).await?;
    }
    let client = Client::connect(&settings.0).await?;
    let message_id = uuid::Uuid::now_v7().to_string();
    let executable = with_run_id(executable, &message_id);
    let followed = if arguments.wait { Some(follow(&client, &executable).await?) } else { None };
    let trace = new_trace();
    let options = MessageOptions {
        message_id: message_id.clone(),
        traceparent: Some(trace.clone()),
        ..MessageOptions::default()
    };
    client.broker.publish_start(&executable, &options).await?;
    let code = if let Some(events) = followed {
        let sent = Sent::of(&executable, &message_id, trace)?;
        tell(&wait(arguments, events, &sent).await?, arguments)?
    } else {
        tell_sent(&executable, &message_id, arguments.output)?;
        0
    };
    client.close().await;
    Ok(code)
}

/// What was published, and how its events are told from those of other messages.
struct Sent<'a> {
    executable: &'a Executable,
    /// The id of the event that refuses this very message.
    refusal: String,
    /// The trace of every event that comes of it.
    trace: String,
}

impl<'a> Sent<'a> {
    fn of(executable: &'a Executable, message_id: &str, trace: String) -> Result<Self, Failure> {
        let body =
            serde_json::to_vec(executable).map_err(|error| Failure::of(error.to_string()))?;
        Ok(Self { executable, refusal: refusal_id(Some(message_id), &body), trace })
    }
}

/// Follows the job, and the refusals that name no job: ours may be one of them.
async fn follow(client: &Client, executable: &Executable) -> Result<Followed, Failure> {
    let feeds = [Feed::Status, Feed::Results];
    let mut bindings: Vec<_> =
        feeds.map(|feed| Binding::of_job(feed, &executable.id)).into_iter().collect();
    bindings.push(Binding { feed: Feed::Results, pattern: "*.*.unknown".to_owned() });
    client.follow(bindings).await
}

async fn wait(
    arguments: &StartArguments,
    events: Followed,
    sent: &Sent<'_>,
) -> Result<Ended, Failure> {
    let limit = arguments.wait_timeout.map_or(Duration::MAX, Duration::from_secs);
    tokio::time::timeout(limit, until_settled(events, sent)).await.map_err(|_| {
        let (id, seconds) = (&sent.executable.id, limit.as_secs());
        Failure::of(format!("timed out after {seconds} s (--wait-timeout): {id} has not ended yet"))
    })?
}

/// The message, and the code to store before it.
fn read(arguments: &StartArguments) -> Result<(Executable, Option<Package>), Failure> {
    let Some(path) = &arguments.upload else {
        return Ok((arguments.order.executable(arguments.file.as_deref())?, None));
    };
    let package = Package::of(path).map_err(|error| Failure::Usage(format!("{error:#}")))?;
    let file = arguments.file.as_deref();
    let mut executable = arguments.order.executable_with(file, Some(UNNAMED))?;
    if executable.file_path == UNNAMED {
        // Named by its content: an upload never changes the code of a run that is on its way.
        executable.file_path = format!("{}/{}.zip", executable.id, &package.sha256[..16]);
    }
    executable.code_sha256 = Some(package.sha256.clone());
    Ok((executable, Some(package)))
}

async fn upload(package: &Package, key: &str, settings: &StoreSettings) -> Result<(), Failure> {
    let store = S3Store::new(settings)?;
    Ok(store.upload(Bucket::Code, key, package.path(), "application/zip").await?)
}

/// A run that is named here can be told from others in the events.
fn with_run_id(mut executable: Executable, message_id: &str) -> Executable {
    let derived = RunId::derived(&executable.id, message_id);
    executable.run_id.get_or_insert(derived);
    executable
}

/// A trace of its own for a message, as W3C Trace Context. Every event that comes of the message
/// carries it, and nobody else can know it before.
fn new_trace() -> String {
    let id = || uuid::Uuid::new_v4().simple().to_string();
    format!("00-{}-{}-01", id(), &id()[..16])
}

async fn until_settled(mut events: Followed, sent: &Sent<'_>) -> Result<Ended, Failure> {
    let executable = sent.executable;
    while let Some(event) = events.next().await {
        let is_our_refusal = event.id == sent.refusal;
        let line = event_line::line(&event);
        let is_of_our_run = event.run_id() == executable.run_id.as_ref();
        let is_of_our_message = event.traceparent.as_ref() == Some(&sent.trace);
        let may_be = is_of_our_run && (is_of_our_message || event.traceparent.is_none());
        match event.data {
            // A refused message of anybody's may name our job, and even have our trace.
            EventData::Result(result) if result.is_refusal() || result.run_id.is_none() => {
                if is_our_refusal {
                    return Ok(Ended::Over(Box::new(result)));
                }
            }
            EventData::Result(result) if is_of_our_run => {
                return Ok(Ended::Over(Box::new(result)));
            }
            EventData::Status(status) if status.state == State::Duplicate && may_be => {
                let why = status.message.unwrap_or_else(|| "it is active already".to_owned());
                let why = one_line(&why);
                return Err(Failure::of(format!("{} was not started: {why}", executable.id)));
            }
            EventData::Status(status) if is_of_our_run => {
                warn(&line);
                if executable.is_long_running && status.state == State::Running {
                    return Ok(Ended::Up(status));
                }
            }
            EventData::Status(_) | EventData::Result(_) => {}
        }
    }
    Err(Failure::of("the broker's connection has ended"))
}

fn tell_sent(executable: &Executable, message_id: &str, format: Format) -> Result<(), Failure> {
    let run = executable.run_id.as_ref().map(RunId::as_str);
    match format {
        Format::Text => {
            print(&format!("queued {} (run {})", executable.id, run.unwrap_or_default()))
        }
        Format::Json => print_json(&json!({
            "id": executable.id,
            "run_id": run,
            "message_id": message_id,
            "file_path": executable.file_path,
        })),
    }
}

/// Prints how it went, and gives the exit code.
fn tell(ended: &Ended, arguments: &StartArguments) -> Outcome {
    match (ended, arguments.output) {
        (Ended::Up(status), Format::Text) => {
            print(&format!("{} runs on {}", status.id, one_line(&status.worker)))?;
        }
        (Ended::Up(status), Format::Json) => print_json(status)?,
        (Ended::Over(result), Format::Text) => {
            if arguments.raw {
                print_raw(&result.output)?;
            } else {
                print(&result.output)?;
            }
            let verdict = result.verdict.map_or("running", Verdict::as_str);
            let why = one_line(&result.message);
            warn(&if why == verdict { why } else { format!("{verdict}: {why}") });
        }
        (Ended::Over(result), Format::Json) => print_json(result)?,
    }
    Ok(match ended {
        Ended::Up(_) => 0,
        Ended::Over(result) => result.verdict.map_or(1, Verdict::process_exit_code),
    })
}
