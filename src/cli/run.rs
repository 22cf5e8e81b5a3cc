//! `longshore run`: a job from a directory, on this machine's engine, without broker and store.

use std::io::{self, IsTerminal as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use clap::Args;
use serde_json::value::RawValue;
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::local_inputs::LocalInputs;
use super::order::{Draft, JobArguments, checked};
use super::output::{Format, print, print_json, print_raw, say, say_raw, warn};
use super::package::Package;
use super::packing::{PackOptions, Packer};
use super::project::{draft_of, told};
use super::signals::drain_then_leave;
use super::telemetry::Voice;
use super::terminal::one_line;
use super::{Context, Failure, Outcome, event_line};
use crate::broker::{EventSink, ReplyTo, SinkError};
use crate::job::{Event, Executable, ExecutionResult, Job, Verdict};
use crate::logs::{Line, Stream};
use crate::runner::Progress;
use crate::settings::{LogSettings, Reader, RunnerSettings, bounds};
use crate::worker::{LocalRun, OWN_PREFIX, run_local};

/// Run a bot or a backtest on this machine, without broker and store.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  longshore run .
  longshore run ./strategy --job-config '{\"fast\": 10}' --timeout 60
  longshore run ./my-bot --long-running --env TZ=UTC
  longshore run strategy.zip --file lib/special.py --keep-results ./results
  longshore run . --input ./prices.csv=data/prices.csv
  longshore run . --output json 2>/dev/null | jq .result

A start.json in the directory says what to run, and flags win over it. Without one, the script is
found by its name: backtest.py, .mjs, .js or .cjs, else main.py, main.mjs, …, else the only script
in the topmost directory. A directory with both is run as a backtest, unless --long-running or
--entrypoint bot is given. What .gitignore and .longshoreignore name is left out, and so is .env.
The exit code is the verdict's (see longshore --help).")]
pub struct RunArguments {
    /// The code: a directory, or a zip
    #[arg(value_name = "DIR|ZIP")]
    code: PathBuf,
    #[command(flatten)]
    job: JobArguments,
    #[command(flatten)]
    packing: PackOptions,
    /// Keep results and logs below this directory
    #[arg(long, value_name = "DIR")]
    keep_results: Option<PathBuf>,
    /// Print the start message that this stands for, and exit
    #[arg(long)]
    print_message: bool,
    /// Print the program's output as it is: on a terminal, too, where all but colours is escaped
    #[arg(long)]
    raw: bool,
    /// The program's output as it comes, or the result as one JSON document and the output on
    /// standard error
    #[arg(long, value_enum, default_value_t)]
    output: Format,
}

pub(super) async fn run(arguments: &RunArguments, context: &Context) -> Outcome {
    let packer = Packer::new(context)?;
    let (mut executable, package) =
        prepared(&arguments.code, &arguments.job, None, &packer, &arguments.packing).await?;
    if arguments.print_message {
        print_json(&executable)?;
        return Ok(0);
    }
    let inputs = LocalInputs::of(&mut executable, context).await?;
    let Validated { job, runner, logs, states } = validated(executable, context)?;
    let kept = Kept::new(arguments.keep_results.as_deref())?;
    let stop = CancellationToken::new();
    packer.hand_over_signals();
    drain_then_leave(stop.clone())?;
    let (live, lines) = mpsc::channel(MAX_UNPRINTED_LINES);
    let local = LocalRun {
        job,
        archive: package.path(),
        inputs: inputs.files(),
        directory: kept.path(),
        own: own_directories(&kept, &package),
        states: &states,
        runner,
        logs,
        progress: pull_progress(),
        sink: Arc::new(TerminalSink),
        live,
    };
    let printing = async {
        let printed = print_lines(lines, arguments).await;
        if printed.is_err() {
            // Nobody reads any more, so there is no reason to go on.
            stop.cancel();
        }
        printed
    };
    let (result, printed) = tokio::join!(Box::pin(run_local(local, stop.clone())), printing);
    let result = result?;
    printed?;
    if arguments.output == Format::Json {
        print_json(&result)?;
    }
    tell(&result, arguments.keep_results.as_deref());
    Ok(result.verdict.map_or(1, Verdict::process_exit_code))
}

/// A job and what a local run of it needs of the settings.
pub(super) struct Validated {
    pub(super) job: Job,
    pub(super) runner: RunnerSettings,
    pub(super) logs: LogSettings,
    pub(super) states: PathBuf,
}

/// The job, held to the bounds of this machine's settings.
pub(super) fn validated(executable: Executable, context: &Context) -> Result<Validated, Failure> {
    let sections = |reader: &Reader<'_>| (reader.runner(), reader.logs(), reader.pack());
    let (runner, logs, pack) = context.settings(Voice::Tool, sections)?;
    let job = Job::validate(executable, &bounds(&runner, &logs), None)
        .map_err(|error| Failure::Usage(error.to_string()))?;
    Ok(Validated { job, runner, logs, states: pack.run_state_dir })
}

/// How many lines may wait for a slow terminal. Then reading of the container's output stops.
pub(super) const MAX_UNPRINTED_LINES: usize = 1024;

/// How the pull of an image is shown.
pub(super) fn pull_progress() -> Progress {
    if io::stderr().is_terminal() { Progress::Bar } else { Progress::Log }
}

/// Where results and logs go. They are kept if the user asked for it, else removed at the end.
pub(super) enum Kept {
    Here(PathBuf),
    Gone(TempDir),
}

impl Kept {
    pub(super) fn new(asked: Option<&Path>) -> Result<Self, Failure> {
        match asked {
            Some(path) => Ok(Self::Here(path.to_owned())),
            None => Ok(Self::Gone(tempfile::Builder::new().prefix(OWN_PREFIX).tempdir()?)),
        }
    }

    pub(super) fn path(&self) -> &Path {
        match self {
            Self::Here(path) => path,
            Self::Gone(directory) => directory.path(),
        }
    }
}

/// The directories that go with the command.
pub(super) fn own_directories(kept: &Kept, package: &Package) -> Vec<PathBuf> {
    let kept = match kept {
        Kept::Here(_) => None,
        Kept::Gone(directory) => Some(directory.path()),
    };
    [kept, package.place()].into_iter().flatten().map(Path::to_owned).collect()
}

/// Prints the program's output as it comes, each line on the output that the program used; or all
/// of it on standard error, if standard output is for the result.
async fn print_lines(
    mut lines: mpsc::Receiver<Line>,
    arguments: &RunArguments,
) -> Result<(), Failure> {
    while let Some(line) = lines.recv().await {
        match (line.stream, arguments.output) {
            (Stream::Stdout, Format::Text) if arguments.raw => print_raw(&ended(line.text))?,
            (Stream::Stdout, Format::Text) => print(&ended(line.text))?,
            (Stream::Stdout, Format::Json) | (Stream::Stderr, _) if arguments.raw => {
                say_raw(&line.text);
            }
            (Stream::Stdout, Format::Json) | (Stream::Stderr, _) => say(&line.text),
        }
    }
    Ok(())
}

/// A line with its end, also if it is empty.
fn ended(mut line: String) -> String {
    line.push('\n');
    line
}

/// Shows the state of the run on standard error, if that is a terminal.
struct TerminalSink;

#[async_trait]
impl EventSink for TerminalSink {
    async fn publish(&self, event: &Event, _: Option<&ReplyTo>) -> Result<(), SinkError> {
        if !event.is_result() && io::stderr().is_terminal() {
            say(&event_line::for_stderr(event));
        }
        Ok(())
    }
}

fn tell(result: &ExecutionResult, kept: Option<&Path>) {
    let verdict = result.verdict.map_or("running", Verdict::as_str);
    let (seconds, why) = (result.duration_seconds, one_line(&result.message));
    let because = if why == verdict { String::new() } else { format!(": {why}") };
    warn(&format!("{verdict} after {seconds:.1} s{because}"));
    if let Some(directory) = kept {
        warn(&format!("results and logs are below {}", directory.display()));
    }
}

/// The start message that the arguments and the files mean, and the code that it names. `sweep` wins
/// over that of the files. What was found is said.
pub(super) async fn prepared(
    code: &Path,
    job: &JobArguments,
    sweep: Option<Box<RawValue>>,
    packer: &Packer<'_>,
    options: &PackOptions,
) -> Result<(Executable, Package), Failure> {
    let source = packer.look(code)?;
    let runtimes = packer.runtimes();
    let mut draft = draft_of(code, &source.names, job, runtimes)?;
    job.lay_over(&mut draft, runtimes)?;
    draft.sweep = sweep.or(draft.sweep);
    let unpacked = executable(draft.clone(), "")?;
    warn(&told(code, &unpacked));
    let package = packer.pack(source, &unpacked.runtime, options).await?;
    Ok((executable(draft, &package.sha256)?, package))
}

fn executable(mut draft: Draft, sha256: &str) -> Result<Executable, Failure> {
    draft.fields.insert("file_path".to_owned(), format!("code/{sha256}.zip").into());
    if !sha256.is_empty() {
        draft.fields.insert("code_sha256".to_owned(), sha256.into());
    }
    checked(&draft)
}
