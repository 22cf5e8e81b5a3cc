//! `longshore start`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use serde_json::json;

use super::client::{Client, Followed};
use super::order::{OrderArguments, checked, message_of};
use super::output::{Format, print, print_json, print_raw, say, warn};
use super::package::Package;
use super::packing::{PackOptions, Packer, upload};
use super::project::{draft_of, told};
use super::telemetry::Voice;
use super::terminal::one_line;
use super::{Context, Failure, Outcome, event_line, local_inputs};
use crate::broker::{Binding, Feed};
use crate::facts::{self, Obstacle, Start};
use crate::job::{Event, EventData, Executable, ExecutionResult, RunId, State, Status, Verdict};
use crate::settings::Reader;

/// Publish a start message.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  longshore start ./strategy --wait
  longshore start job.json
  longshore start job.json --upload ./strategy
  longshore start --id my-bot --long-running --file main.mjs --code bots/my.zip --env TZ=UTC
  jq '.config.fast = 5' job.json | longshore start - --id sma-5 --wait --output json

A directory is packed and stored under the hash of its content, so the same code is sent only once.
Its start.json says what to run, and flags win over it. Without one, the script is found by its name,
as by longshore run. What .gitignore and .longshoreignore name is left out, and so is .env.

Where no worker can take the start now, this is said: the start waits in its queue (longshore queue).
With --wait, a terminating run is followed to its end and its verdict is the exit code (see
longshore --help); a long-running job is followed until it runs. Interrupting the wait leaves the
job alone.")]
pub struct StartArguments {
    /// A directory with a program, or a start message as JSON, or - for standard input
    #[arg(value_name = "DIR|FILE")]
    file: Option<PathBuf>,
    #[command(flatten)]
    order: OrderArguments,
    /// Store this code for the message: a directory, which is packed, or a zip
    #[arg(long, value_name = "DIR|ZIP")]
    upload: Option<PathBuf>,
    #[command(flatten)]
    packing: PackOptions,
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

/// The outcome of waiting.
enum Ended {
    Up(Status),
    Over(Box<ExecutionResult>),
}

pub(super) async fn run(arguments: &StartArguments, context: &Context) -> Outcome {
    let (mut executable, package) = read(arguments, context).await?;
    let settings = context.settings(Voice::Tool, |reader| {
        (reader.broker(), package.is_some().then(|| reader.store()))
    })?;
    if let (Some(package), Some(store)) = (&package, &settings.1) {
        upload(package, &executable.file_path, store).await?;
    }
    local_inputs::send(&mut executable, context).await?;
    let client = Client::connect(&settings.0).await?;
    let sent = Start::new(executable)?;
    let followed =
        if arguments.wait { Some(follow(&client, &sent.executable).await?) } else { None };
    sent.publish(&client.broker).await?;
    let obstacle = facts::obstacle(&client.broker, sent.executable.is_long_running).await;
    let code = if let Some(events) = followed {
        if let Some(obstacle) = obstacle {
            warn(&format!("queued: {obstacle}"));
        }
        tell(&wait(arguments, events, &sent).await?, arguments)?
    } else {
        tell_sent(&sent, obstacle, arguments.output)?;
        0
    };
    client.close().await;
    Ok(code)
}

/// Follows the job, and the refusals that name no job: ours may be one of them.
async fn follow(client: &Client, executable: &Executable) -> Result<Followed, Failure> {
    let feeds = [Feed::Status, Feed::Results];
    let mut bindings: Vec<_> =
        feeds.map(|feed| Binding::of_job(feed, &executable.id)).into_iter().collect();
    bindings.push(Binding { feed: Feed::Results, pattern: "*.*.unknown".to_owned() });
    client.follow(bindings).await
}

/// Stores the code, publishes a start, and follows its run to the end. `show` gets each status event
/// of the run, and the lines of those that say more than how far it is are printed.
pub(super) async fn to_its_end(
    mut executable: Executable,
    package: &Package,
    context: &Context,
    show: &(dyn Fn(&Event) + Sync),
) -> Result<ExecutionResult, Failure> {
    let (broker, store) =
        context.settings(Voice::Tool, |reader| (reader.broker(), reader.store()))?;
    upload(package, &executable.file_path, &store).await?;
    local_inputs::send(&mut executable, context).await?;
    let client = Client::connect(&broker).await?;
    let sent = Start::new(executable)?;
    let followed = follow(&client, &sent.executable).await?;
    sent.publish(&client.broker).await?;
    if let Some(obstacle) = facts::obstacle(&client.broker, false).await {
        warn(&format!("queued: {obstacle}"));
    }
    let ended = until_settled(followed, &sent, show).await?;
    client.close().await;
    match ended {
        Ended::Over(result) => Ok(*result),
        Ended::Up(status) => Err(Failure::of(format!("{} runs until it is stopped", status.id))),
    }
}

/// A line about how far a sweep is.
fn tell_progress(event: &Event) {
    if let EventData::Status(Status { progress: Some(_), .. }) = &event.data {
        say(&event_line::for_stderr(event));
    }
}

async fn wait(
    arguments: &StartArguments,
    events: Followed,
    sent: &Start,
) -> Result<Ended, Failure> {
    let limit = arguments.wait_timeout.map_or(Duration::MAX, Duration::from_secs);
    tokio::time::timeout(limit, until_settled(events, sent, &tell_progress)).await.map_err(
        |_| {
            let (id, seconds) = (&sent.executable.id, limit.as_secs());
            Failure::of(format!(
                "timed out after {seconds} s (--wait-timeout): {id} has not ended yet"
            ))
        },
    )?
}

/// The message, and the code to store before it.
async fn read(
    arguments: &StartArguments,
    context: &Context,
) -> Result<(Executable, Option<Package>), Failure> {
    let order = &arguments.order;
    let file = arguments.file.as_deref();
    let directory = file.filter(|file| file.is_dir());
    let Some(code) = directory.or(arguments.upload.as_deref()) else {
        let runtimes = context.loader.read(Reader::runtimes)?;
        return Ok((order.executable(file, &runtimes)?, None));
    };
    if let (Some(directory), Some(_)) = (directory, &arguments.upload) {
        let shown = directory.display();
        return Err(Failure::Usage(format!(
            "{shown} is a directory, which is sent itself: leave out --upload"
        )));
    }
    let packer = Packer::new(context)?;
    let source = packer.look(code)?;
    let mut draft = match file.filter(|_| directory.is_none()) {
        Some(file) => message_of(file)?,
        None => draft_of(code, &source.names, &order.job, packer.runtimes())?,
    };
    order.lay_over(&mut draft, packer.runtimes())?;
    let has_key = draft.fields.contains_key("file_path");
    draft.fields.entry("file_path").or_insert_with(|| "code.zip".into());
    let mut executable = checked(&draft)?;
    warn(&told(code, &executable));
    let package = packer.pack(source, &executable.runtime, &arguments.packing).await?;
    if !has_key {
        executable.file_path = package.key();
    }
    executable.code_sha256 = Some(package.sha256.clone());
    Ok((executable, Some(package)))
}

async fn until_settled(
    mut events: Followed,
    sent: &Start,
    show: &(dyn Fn(&Event) + Sync),
) -> Result<Ended, Failure> {
    let executable = &sent.executable;
    while let Some(event) = events.next().await {
        let is_our_refusal = event.id == sent.refusal;
        let line = event_line::for_stderr(&event);
        if event.run_id() == executable.run_id.as_ref() {
            show(&event);
        }
        let is_of_our_run = event.run_id() == executable.run_id.as_ref();
        let is_of_our_message = event.traceparent.as_ref() == Some(&sent.trace);
        let may_be = is_of_our_run && (is_of_our_message || event.traceparent.is_none());
        match event.data {
            // Another publisher's refused message may name our job, and even have our trace.
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
                if status.progress.is_none() {
                    say(&line);
                }
                if executable.is_long_running && status.state == State::Running {
                    return Ok(Ended::Up(status));
                }
            }
            EventData::Status(_) | EventData::Result(_) => {}
        }
    }
    Err(Failure::of("the broker's connection has ended"))
}

fn tell_sent(sent: &Start, obstacle: Option<Obstacle>, format: Format) -> Result<(), Failure> {
    let executable = &sent.executable;
    let run = executable.run_id.as_ref().map(RunId::as_str);
    let obstacle = obstacle.map(|obstacle| obstacle.to_string());
    match format {
        Format::Text => {
            let why = obstacle.map(|obstacle| format!(": {obstacle}")).unwrap_or_default();
            print(&format!("queued {} (run {}){why}", executable.id, run.unwrap_or_default()))
        }
        Format::Json => print_json(&json!({
            "id": executable.id,
            "run_id": run,
            "message_id": sent.message_id,
            "file_path": executable.file_path,
            "waits_because": obstacle,
        })),
    }
}

/// Prints the outcome, and returns the exit code.
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
