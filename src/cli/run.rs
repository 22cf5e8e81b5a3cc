//! `longshore run`: a job from a directory, on this machine's engine, without broker and store.

use std::io::{self, IsTerminal as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use clap::Args;
use serde_json::json;
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::order::{Draft, JobArguments, checked};
use super::output::{Format, print, print_json, print_raw, say, say_raw, warn};
use super::pack::Package;
use super::signals::drain_then_leave;
use super::telemetry::Voice;
use super::terminal::one_line;
use super::{Context, Failure, Outcome, event_line};
use crate::broker::{EventSink, ReplyTo, SinkError};
use crate::job::{Event, Executable, ExecutionResult, Job, Verdict};
use crate::logs::{Line, Stream};
use crate::runner::docker::Progress;
use crate::settings::{Reader, bounds};
use crate::worker::{LocalRun, run_local};

/// Run a bot or a backtest on this machine, without broker and store.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  longshore run .
  longshore run ./strategy --job-config '{\"fast\": 10}' --timeout 60
  longshore run ./my-bot --long-running --env TZ=UTC
  longshore run strategy.zip --file lib/special.py --keep-results ./results
  longshore run . --output json 2>/dev/null | jq .result

The script is found by its name: backtest.py, .mjs, .js or .cjs, else main.py, main.mjs, … in the
topmost directory. A directory with both is run as a backtest, unless --long-running or
--entrypoint bot is given. The exit code is the verdict's (see longshore --help).")]
pub struct RunArguments {
    /// The code: a directory, or a zip
    #[arg(value_name = "DIR|ZIP")]
    code: PathBuf,
    #[command(flatten)]
    job: JobArguments,
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
    let package =
        Package::of(&arguments.code).map_err(|error| Failure::Usage(format!("{error:#}")))?;
    let executable = executable(arguments, &package)?;
    if arguments.print_message {
        print_json(&executable)?;
        return Ok(0);
    }
    let sections = |reader: &Reader<'_>| (reader.runner(), reader.logs());
    let (runner, logs) = context.settings(Voice::Tool, sections)?;
    let job = Job::validate(executable, &bounds(&runner, &logs), None)
        .map_err(|error| Failure::Usage(error.to_string()))?;
    let kept = Kept::new(arguments.keep_results.as_deref())?;
    let stop = CancellationToken::new();
    drain_then_leave(stop.clone())?;
    let (live, lines) = mpsc::channel(MAX_UNPRINTED_LINES);
    let local = LocalRun {
        job,
        archive: package.path(),
        directory: kept.path(),
        runner,
        logs,
        progress: if io::stderr().is_terminal() { Progress::Bar } else { Progress::Log },
        sink: Arc::new(TerminalSink),
        live,
    };
    let printing = async {
        let printed = print_lines(lines, arguments).await;
        if printed.is_err() {
            // Nobody listens any more: what it would go on for is gone.
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

/// Lines that may wait for a slow terminal; then the container's output is read no further.
const MAX_UNPRINTED_LINES: usize = 1024;

/// Where results and logs go: kept where that was asked for, else gone at the end.
enum Kept {
    Here(PathBuf),
    Gone(TempDir),
}

impl Kept {
    fn new(asked: Option<&Path>) -> Result<Self, Failure> {
        match asked {
            Some(path) => Ok(Self::Here(path.to_owned())),
            None => Ok(Self::Gone(tempfile::tempdir()?)),
        }
    }

    fn path(&self) -> &Path {
        match self {
            Self::Here(path) => path,
            Self::Gone(directory) => directory.path(),
        }
    }
}

/// Prints the program's output as it comes, each line to where the program wrote it; all of it on
/// standard error where the other is kept for the result.
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

/// A line with its end, also where it is empty.
fn ended(mut line: String) -> String {
    line.push('\n');
    line
}

/// Shows on a terminal's standard error where the run is.
struct TerminalSink;

#[async_trait]
impl EventSink for TerminalSink {
    async fn publish(&self, event: &Event, _: Option<&ReplyTo>) -> Result<(), SinkError> {
        if !event.is_result() && io::stderr().is_terminal() {
            say(&event_line::line(event));
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

/// The start message that the arguments and the files stand for.
fn executable(arguments: &RunArguments, package: &Package) -> Result<Executable, Failure> {
    let names = package.names()?;
    let mut draft = Draft::default();
    let message = &mut draft.fields;
    let kind = arguments.job.entrypoint.as_deref().unwrap_or_else(|| {
        let bot = arguments.job.long_running || script_of("backtest", &names).is_empty();
        if bot { "bot" } else { "backtest" }
    });
    message.insert("entrypoint".to_owned(), kind.into());
    if arguments.job.files.is_empty() {
        let script = the_script(kind, &names)?;
        message.insert("entrypoint_files".to_owned(), json!({ kind: script }));
    }
    message.insert("id".to_owned(), id_of(&arguments.code).into());
    let key = format!("{}.zip", package.sha256);
    message.insert("file_path".to_owned(), key.into());
    message.insert("code_sha256".to_owned(), package.sha256.clone().into());
    arguments.job.lay_over(&mut draft)?;
    checked(&draft)
}

/// The endings of scripts, in the order in which they are told.
const ENDINGS: [&str; 4] = ["py", "mjs", "js", "cjs"];

/// The scripts of an entrypoint that are there.
fn script_of(kind: &str, names: &[String]) -> Vec<String> {
    let stem = if kind == "backtest" { "backtest" } else { "main" };
    let candidates = ENDINGS.iter().map(|ending| format!("{stem}.{ending}"));
    candidates.filter(|candidate| names.contains(candidate)).collect()
}

fn the_script(kind: &str, names: &[String]) -> Result<String, Failure> {
    let mut found = script_of(kind, names);
    match found.len() {
        1 => Ok(found.remove(0)),
        0 => Err(Failure::Usage(format!(
            "there is no script for a {kind}: name it with --file, for example --file main.py"
        ))),
        _ => {
            Err(Failure::Usage(format!("there are {}: name one with --file", found.join(" and "))))
        }
    }
}

/// The longest part of a directory's name that goes into an id.
const NAME_CHARACTERS: usize = 100;

/// An id that tells where the code came from, and that no other run has.
fn id_of(code: &Path) -> String {
    let absolute = code.canonicalize().unwrap_or_else(|_| code.to_owned());
    let stem = absolute.file_stem().unwrap_or_default().to_string_lossy();
    let safe = |c: char| if c.is_ascii_alphanumeric() || c == '-' { c } else { '-' };
    let name: String = stem.chars().take(NAME_CHARACTERS).map(safe).collect();
    let name = name.trim_matches('-');
    let name = if name.is_empty() { "run" } else { name };
    let unique = uuid::Uuid::new_v4().simple().to_string();
    format!("{name}-{}", &unique[..8])
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::job::{Entrypoint, Runtime};

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        run: RunArguments,
    }

    /// What is made of a directory with these files.
    fn message(files: &[&str], flags: &[&str]) -> Result<Executable, String> {
        let root = tempfile::Builder::new().prefix("my strategy!").tempdir().unwrap();
        for file in files {
            let path = root.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "x").unwrap();
        }
        let line = [&["run", root.path().to_str().unwrap()], flags].concat();
        let arguments = Line::try_parse_from(line).unwrap().run;
        let package = Package::of(&arguments.code).unwrap();
        executable(&arguments, &package).map_err(|failure| format!("{failure:?}"))
    }

    #[test]
    fn the_files_tell_what_to_run() {
        type Case<'a> = (&'a [&'a str], &'a [&'a str], Entrypoint, &'a str, Runtime);
        let cases: [Case<'_>; 6] = [
            (&["main.py"], &[], Entrypoint::Bot, "main.py", Runtime::Python311),
            (&["main.mjs"], &[], Entrypoint::Bot, "main.mjs", Runtime::NodeJs20),
            (&["backtest.js"], &[], Entrypoint::Backtest, "backtest.js", Runtime::NodeJs20),
            (
                &["main.py", "backtest.py"],
                &[],
                Entrypoint::Backtest,
                "backtest.py",
                Runtime::Python311,
            ),
            (
                &["main.js", "backtest.js"],
                &["--long-running"],
                Entrypoint::Bot,
                "main.js",
                Runtime::NodeJs20,
            ),
            (
                &["lib/a.py", "main.js"],
                &["--file", "lib/a.py"],
                Entrypoint::Bot,
                "lib/a.py",
                Runtime::Python311,
            ),
        ];
        for (files, flags, entrypoint, script, runtime) in cases {
            let message = message(files, flags).unwrap();
            assert_eq!((message.entrypoint, message.runtime), (entrypoint, runtime), "{files:?}");
            assert_eq!(message.entrypoint_files[entrypoint.as_str()], script, "{files:?}");
        }
    }

    #[test]
    fn what_the_files_do_not_tell_is_asked_for() {
        assert!(message(&["readme.md"], &[]).unwrap_err().contains("no script for a bot"));
        let two = message(&["main.py", "main.js"], &[]).unwrap_err();
        assert!(two.contains("there are main.py and main.js: name one with --file"), "{two}");
    }

    #[test]
    fn every_run_has_an_id_of_its_own_that_tells_where_it_is_from() {
        let (a, b) = (message(&["main.py"], &[]).unwrap(), message(&["main.py"], &[]).unwrap());
        assert!(a.id.as_str().starts_with("my-strategy-"), "{}", a.id);
        assert_ne!(a.id, b.id);
        assert_eq!(message(&["main.py"], &["--id", "x"]).unwrap().id.as_str(), "x");
    }
}
