//! `longshore stop`.

use std::time::Duration;

use clap::Args;
use serde_json::json;

use super::client::{Client, Followed};
use super::output::{Format, print, print_json, say};
use super::telemetry::Voice;
use super::terminal::one_line;
use super::{Context, Failure, Outcome, event_line};
use crate::facts;
use crate::job::{EventData, ExecutionResult, JobId, RunId, State, StopRequest};
use crate::settings::Reader;

/// Publish a stop message.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  longshore stop my-bot
  longshore stop my-bot --reason 'new version' --timeout 60 --wait

With --wait it ends when the job has ended, however that went: exit code 0, or 1 when no such job
is running.")]
pub struct StopArguments {
    /// The job
    id: JobId,
    /// Only this run of it
    #[arg(long, value_name = "ID")]
    run_id: Option<RunId>,
    /// Why, for the result event
    #[arg(long)]
    reason: Option<String>,
    /// Seconds between SIGTERM and SIGKILL, 0 to 600
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    timeout: u64,
    /// Wait until the job has ended
    #[arg(long)]
    wait: bool,
    /// Give up waiting after so many seconds
    #[arg(long, value_name = "SECONDS", requires = "wait", default_value_t = 900)]
    wait_timeout: u64,
    /// How to print
    #[arg(long, value_enum, default_value_t)]
    output: Format,
}

pub(super) async fn run(arguments: &StopArguments, context: &Context) -> Outcome {
    let request = request(arguments)?;
    let settings = context.settings(Voice::Tool, Reader::broker)?;
    let client = Client::connect(&settings).await?;
    let followed = if arguments.wait { Some(client.follow_job(&request.id).await?) } else { None };
    let message_id = facts::publish_stop(&client.broker, &request).await?;
    match followed {
        Some(events) => {
            let limit = Duration::from_secs(arguments.wait_timeout);
            let ended = tokio::time::timeout(limit, until_ended(events, &request)).await;
            let ended = ended.map_err(|_| {
                let (id, seconds) = (&request.id, limit.as_secs());
                Failure::of(format!(
                    "timed out after {seconds} s (--wait-timeout): {id} has not ended yet"
                ))
            })??;
            match arguments.output {
                Format::Text => {
                    print(&format!("{} has ended: {}", request.id, one_line(&ended.message)))?;
                }
                Format::Json => print_json(&ended)?,
            }
        }
        None => match arguments.output {
            Format::Text => print(&format!("asked {} to stop", request.id))?,
            Format::Json => print_json(&json!({"id": request.id, "message_id": message_id}))?,
        },
    }
    client.close().await;
    Ok(0)
}

/// The message, checked as a worker will check it.
fn request(arguments: &StopArguments) -> Result<StopRequest, Failure> {
    let request = StopRequest {
        id: arguments.id.clone(),
        run_id: arguments.run_id.clone(),
        reason: arguments.reason.clone(),
        timeout_seconds: arguments.timeout,
    };
    facts::checked_stop(&request).map_err(|error| Failure::Usage(error.to_string()))
}

async fn until_ended(
    mut events: Followed,
    request: &StopRequest,
) -> Result<ExecutionResult, Failure> {
    while let Some(event) = events.next().await {
        let line = event_line::for_stderr(&event);
        let is_meant = |run: &Option<RunId>| request.run_id.is_none() || *run == request.run_id;
        match event.data {
            // The end of another publisher's message, not of a run.
            EventData::Result(result) if result.is_refusal() => {}
            EventData::Result(result) if is_meant(&result.run_id) => return Ok(result),
            EventData::Status(status)
                if status.state == State::NotRunning && status.run_id == request.run_id =>
            {
                let why = status.message.unwrap_or_else(|| "no such job is running".to_owned());
                return Err(Failure::of(format!("{} was not stopped: {why}", request.id)));
            }
            EventData::Status(_) | EventData::Result(_) => say(&line),
        }
    }
    Err(Failure::of("the broker's connection has ended"))
}
