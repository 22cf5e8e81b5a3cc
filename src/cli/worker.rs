//! `longshore worker`.

use anyhow::Error;
use clap::Args;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::output::{Format, columns, print, print_json};
use super::signals::drain_then_leave;
use super::telemetry::Voice;
use super::{Context, Outcome};
use crate::settings::{Effective, Loader, Settings};
use crate::{traces, worker};

/// Take jobs from the broker and run them.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  longshore worker
  longshore --config /etc/longshore.toml worker
  longshore worker --print-settings --output json

The first SIGTERM or SIGINT drains: no new jobs, terminating runs may end within
DRAIN_GRACE_SECONDS, bots go on and are adopted by the next worker. A second one, a second later, ends at once.")]
pub struct WorkerArguments {
    /// Print the effective settings and where each comes from, with secrets masked, and exit
    #[arg(long)]
    print_settings: bool,
    /// How to print the settings
    #[arg(long, value_enum, default_value_t, requires = "print_settings")]
    output: Format,
}

pub(super) async fn run(arguments: &WorkerArguments, context: &Context) -> Outcome {
    if arguments.print_settings {
        return print_settings(&context.loader, arguments.output);
    }
    let settings = context.settings(Voice::Service, Settings::read)?;
    let shutdown = CancellationToken::new();
    let _signals = drain_then_leave(shutdown.clone())?;
    let traces = traces::start(&settings.traces, &settings.worker.name).map_err(Error::from)?;
    let ended = Box::pin(worker::run(settings, shutdown)).await;
    if let Some(traces) = traces {
        traces.finish().await;
    }
    ended.map_err(Error::from)?;
    Ok(0)
}

/// Prints all settings, right or wrong, and then fails if they are wrong.
fn print_settings(loader: &Loader, format: Format) -> Outcome {
    let effective: Vec<_> = loader.effective().collect();
    match format {
        Format::Text => print(&columns(
            ["VARIABLE", "KEY", "VALUE", "FROM"],
            effective.iter().map(row).collect(),
        ))?,
        Format::Json => print_json(&effective.iter().map(object).collect::<Vec<_>>())?,
    }
    loader.read(Settings::read)?;
    Ok(0)
}

fn row(one: &Effective) -> [String; 4] {
    let value = one.value.clone().unwrap_or_else(|| one.setting.unset_meaning());
    [one.setting.variable.to_owned(), one.setting.key.to_owned(), value, one.origin.to_string()]
}

fn object(one: &Effective) -> serde_json::Value {
    json!({
        "variable": one.setting.variable,
        "key": one.setting.key,
        "value": one.value,
        "from": one.origin.to_string(),
    })
}
