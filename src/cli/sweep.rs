//! `longshore sweep`: one code with many configs, on this machine or in the queue.

mod bar;
mod best;
mod grid;

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use clap::Args;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use self::bar::Bar;
use super::local_inputs::LocalInputs;
use super::order::JobArguments;
use super::output::{Format, print, print_json, say, warn};
use super::package::Package;
use super::packing::{PackOptions, Packer};
use super::run::{self, Kept, Validated};
use super::signals::drain_then_leave;
use super::start;
use super::terminal::one_line;
use super::{Context, Failure, Outcome};
use crate::broker::{EventSink, ReplyTo, SinkError};
use crate::job::sweep::{BestRequest, Goal, SweepRequest};
use crate::job::{Event, EventData, Executable, ExecutionResult, RunProgress, Verdict};
use crate::storage::Bucket;
use crate::worker::{LocalRun, run_local};

/// Run a backtest with many configs, and show the best.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  longshore sweep . --grid fast=5:50:5 --grid slow=20,50 --max sharpe
  longshore sweep ./strategy --grid /risk/stop=0.01:0.05:0.01 --min drawdown --keep-results ./out
  longshore sweep . --sweep @sweep.json --parallel 4 --config-timeout 60
  longshore sweep . --grid fast=5:500 --max sharpe --queue --output json | jq .sweep.best

Every combination of the values runs; the last --grid changes fastest. KEY is a field of the job's
config, or a JSON Pointer into it. FROM:TO:STEP has exact decimals and includes both ends.

In Python the script is imported once, and each config is a process forked from there. In Node.js
each config is a worker thread; with --sweep '{\"isolation\": \"shared\"}' many share one. Without
--queue it needs Docker alone; with it, workers run the sweep, and this command follows it.
Interrupting it then leaves the sweep alone. The exit code is the verdict's (see longshore --help).")]
pub struct SweepArguments {
    /// The code: a directory, or a zip
    #[arg(value_name = "DIR|ZIP")]
    code: PathBuf,
    /// The values of one key; may be repeated
    #[arg(long = "grid", value_name = "KEY=A,B,…|KEY=FROM:TO[:STEP]")]
    grid: Vec<String>,
    /// The whole sweep as a start message has it, or @FILE with it; other flags win
    #[arg(long, value_name = "JSON|@FILE")]
    sweep: Option<String>,
    /// Show the rows whose result has the largest value here: a field, or a JSON Pointer
    #[arg(long, value_name = "FIELD", conflicts_with = "min")]
    max: Option<String>,
    /// Show the rows whose result has the smallest value here
    #[arg(long, value_name = "FIELD")]
    min: Option<String>,
    /// How many rows to show
    #[arg(long, value_name = "N")]
    best: Option<u32>,
    /// Configs that run at a time; by default as many as there are processors
    #[arg(long, value_name = "N")]
    parallel: Option<u32>,
    /// Seconds after which a config is ended
    #[arg(long, value_name = "SECONDS")]
    config_timeout: Option<u64>,
    /// End as failed after so many configs that did not succeed
    #[arg(long, value_name = "N")]
    max_failures: Option<u64>,
    #[command(flatten)]
    job: JobArguments,
    #[command(flatten)]
    packing: PackOptions,
    /// Let the workers run it: store the code, publish a start message, and follow it to its end
    #[arg(long, conflicts_with_all = ["keep_results"])]
    queue: bool,
    /// Keep the tables and logs below this directory
    #[arg(long, value_name = "DIR")]
    keep_results: Option<PathBuf>,
    /// Print the start message that this stands for, and exit
    #[arg(long)]
    print_message: bool,
    /// A table of the best rows, or the result as one JSON document
    #[arg(long, value_enum, default_value_t)]
    output: Format,
}

pub(super) async fn run(arguments: &SweepArguments, context: &Context) -> Outcome {
    let sweep = serde_json::value::to_raw_value(&request(arguments)?)
        .map_err(|error| Failure::of(error.to_string()))?;
    let packer = Packer::new(context)?;
    let (code, job, options) = (&arguments.code, &arguments.job, &arguments.packing);
    let (executable, package) = run::prepared(code, job, Some(sweep), &packer, options).await?;
    if arguments.print_message {
        print_json(&executable)?;
        return Ok(0);
    }
    let (result, place) = if arguments.queue {
        (Box::pin(in_queue(executable, &package, context)).await?, None)
    } else {
        packer.hand_over_signals();
        (here(arguments, executable, &package, context).await?, arguments.keep_results.as_deref())
    };
    match arguments.output {
        Format::Json => print_json(&result)?,
        Format::Text => print(&best::table(&result, best::width()))?,
    }
    tell(&result, arguments.queue);
    if let Some(directory) = place {
        warn(&format!("tables and logs are below {}", directory.display()));
    }
    Ok(result.verdict.map_or(1, Verdict::process_exit_code))
}

/// The sweep of `--sweep` and the other flags.
fn request(arguments: &SweepArguments) -> Result<SweepRequest, Failure> {
    let mut request: SweepRequest = match &arguments.sweep {
        Some(text) => grid::whole(text)?,
        None => SweepRequest::default(),
    };
    if !arguments.grid.is_empty() {
        request.grid = Some(grid::axes(&arguments.grid)?);
    }
    let by = [(&arguments.max, Goal::Max), (&arguments.min, Goal::Min)];
    for (by, goal) in by.into_iter().filter_map(|(by, goal)| Some((by.clone()?, goal))) {
        request.best = Some(BestRequest { by, goal, keep: 10 });
    }
    if let Some(keep) = arguments.best {
        let best = request.best.as_mut();
        best.ok_or_else(|| Failure::Usage("--best needs --max or --min".to_owned()))?.keep = keep;
    }
    request.parallel = arguments.parallel.or(request.parallel);
    request.timeout_seconds = arguments.config_timeout.or(request.timeout_seconds);
    request.max_failures = arguments.max_failures.or(request.max_failures);
    Ok(request)
}

async fn here(
    arguments: &SweepArguments,
    mut executable: Executable,
    package: &Package,
    context: &Context,
) -> Result<ExecutionResult, Failure> {
    let inputs = LocalInputs::of(&mut executable, context).await?;
    let Validated { job, runner, logs, states } = run::validated(executable, context)?;
    let kept = Kept::new(arguments.keep_results.as_deref())?;
    let stop = CancellationToken::new();
    drain_then_leave(stop.clone())?;
    let (live, mut lines) = mpsc::channel(run::MAX_UNPRINTED_LINES);
    let bar = Bar::new();
    let local = LocalRun {
        job,
        archive: package.path(),
        inputs: inputs.files(),
        directory: kept.path(),
        own: run::own_directories(&kept, package),
        runner,
        logs,
        progress: run::pull_progress(),
        states: &states,
        sink: Arc::new(ProgressSink(bar.clone())),
        live,
    };
    // What the script prints when it is imported. What a config prints is in its row.
    let printing = async {
        while let Some(line) = lines.recv().await {
            bar.aside(|| say(&line.text));
        }
    };
    let (result, ()) = tokio::join!(Box::pin(run_local(local, stop)), printing);
    bar.end();
    Ok(result?)
}

async fn in_queue(
    executable: Executable,
    package: &Package,
    context: &Context,
) -> Result<ExecutionResult, Failure> {
    let bar = Bar::new();
    let show = |event: &Event| show_progress(&bar, event);
    let result = start::to_its_end(executable, package, context, &show).await;
    bar.end();
    result
}

fn show_progress(bar: &Bar, event: &Event) {
    if let EventData::Status(status) = &event.data
        && let Some(RunProgress::Sweep(progress)) = &status.progress
    {
        bar.show(progress);
    }
}

/// Shows how far the sweep is.
struct ProgressSink(Bar);

#[async_trait]
impl EventSink for ProgressSink {
    async fn publish(&self, event: &Event, _: Option<&ReplyTo>) -> Result<(), SinkError> {
        show_progress(&self.0, event);
        Ok(())
    }
}

fn tell(result: &ExecutionResult, is_of_queue: bool) {
    let verdict = result.verdict.map_or("running", Verdict::as_str);
    let (seconds, why) = (result.duration_seconds, one_line(&result.message));
    warn(&format!("{verdict} after {seconds:.1} s: {why}"));
    if is_of_queue {
        let objects = &result.objects;
        for key in objects.rows_key.iter().chain(&objects.csv_key) {
            warn(&format!("table: {key} in {}", Bucket::Results.default_name()));
        }
    }
}
