//! The command line: one file a command.
//!
//! A command reads its arguments and the settings that it needs, makes its clients, and returns an
//! exit code or a [`Failure`]. The other rooms do the work.

mod client;
mod completions;
mod context;
mod dashboard;
mod data;
mod dead;
mod doctor;
mod event_line;
mod failure;
mod fit;
mod gc;
mod get;
mod init;
mod jobs;
mod local_inputs;
mod logs;
mod order;
mod output;
mod pack;
mod package;
mod packing;
mod progress;
mod project;
mod ps;
mod queue;
mod result;
mod run;
mod schema;
mod segments;
mod show;
mod signals;
mod size;
mod start;
mod state;
mod stop;
mod sweep;
mod telemetry;
mod terminal;
mod time;
mod top;
mod watch;
mod worker;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{ArgMatches, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

pub use context::Context;
pub use failure::{Failure, Outcome};
pub use output::Format;

/// The arguments of the program.
#[derive(Debug, Parser)]
#[command(
    name = "longshore",
    version,
    about = "Runs bots and backtests from RabbitMQ in Docker containers",
    after_help = EXIT_CODES,
    arg_required_else_help = true,
    disable_help_subcommand = true,
    max_term_width = 100
)]
pub struct Arguments {
    /// The settings file; by default that of `LONGSHORE_CONFIG`, or ./longshore.toml where there is one
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The command.
    #[command(subcommand)]
    pub command: Command,
}

impl Arguments {
    /// Reads the words of a command line, the program's name first, and how its errors are to be
    /// printed: as its output is.
    pub fn read(words: &[OsString]) -> (Result<Self, Failure>, Format) {
        match Self::command().try_get_matches_from(words) {
            Ok(matches) => {
                let format = format_of(&matches);
                (Self::from_arg_matches(&matches).map_err(Failure::Arguments), format)
            }
            Err(error) => (Err(Failure::Arguments(error)), probable_format_of(words)),
        }
    }
}

/// The id and the long name of the argument that every command with a choice of formats has.
const OUTPUT: &str = "output";

fn format_of(matches: &ArgMatches) -> Format {
    let here = matches.try_get_one::<Format>(OUTPUT).ok().flatten().copied();
    let below = || matches.subcommand().map(|(_, matches)| format_of(matches));
    here.or_else(below).unwrap_or_default()
}

/// The format that words ask for which are no correct arguments.
fn probable_format_of(words: &[OsString]) -> Format {
    let words: Vec<_> = words.iter().take_while(|word| *word != "--").collect();
    let as_two = words.windows(2).any(|pair| pair[0] == "--output" && pair[1] == "json");
    if as_two || words.iter().any(|word| *word == "--output=json") {
        Format::Json
    } else {
        Format::Text
    }
}

/// How the program ends. The codes from 10 on are those of `Verdict::process_exit_code`.
const EXIT_CODES: &str = "\
Exit codes:
   0  done; with run, sweep and start --wait: the run succeeded or was stopped
   1  it failed
   2  wrong arguments or settings
  10  the run failed         11  it timed out       12  it ran out of memory
  13  it was cancelled       14  it was rejected    15  the infrastructure gave up
  16  it was lost with its host

Settings: docs/settings.md, or longshore worker --print-settings";

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make a directory with a program that runs at once
    Init(init::InitArguments),
    /// Pack a directory with the packages that its program needs
    Pack(pack::PackArguments),
    /// Take jobs from the broker and run them
    Worker(worker::WorkerArguments),
    /// Start a job: a directory with a program, or a start message; --wait waits for its end
    Start(Box<start::StartArguments>),
    /// Publish a stop message
    Stop(stop::StopArguments),
    /// Follow events as they come
    Watch(watch::WatchArguments),
    /// List the jobs of the journal, the newest first
    Jobs(jobs::JobsArguments),
    /// Tell all about one job: its runs, who has it, and why it does not run
    Show(show::ShowArguments),
    /// Print the result of a job as JSON
    Result(result::ResultArguments),
    /// Fetch the files that a run left as artifacts
    Get(get::GetArguments),
    /// Store data sets for jobs, or list them
    Data(data::DataArguments),
    /// Look at the state of a bot, or change it
    State(state::StateArguments),
    /// Look at the dead letters, and replay or remove them
    Dead(dead::DeadArguments),
    /// Show what waits in the queues, and why
    Queue(queue::QueueArguments),
    /// Print the log of a job from the object store
    Logs(logs::LogsArguments),
    /// Run a bot or a backtest on this machine, without broker and store
    Run(Box<run::RunArguments>),
    /// Run a backtest with many configs, here or in the queue, and show the best
    Sweep(Box<sweep::SweepArguments>),
    /// List the containers of this namespace on this engine
    Ps(ps::PsArguments),
    /// List the segments: who owns each, and how many jobs it has
    Segments(segments::SegmentsArguments),
    /// Show workers, queues and active jobs, again and again
    Top(top::TopArguments),
    /// Serve a page that shows workers, jobs, live logs and dead letters
    Dashboard(dashboard::DashboardArguments),
    /// Remove what the settings let go, and what killed local runs left
    Gc(gc::GcArguments),
    /// Check everything that a worker needs, and suggest fixes
    Doctor(doctor::DoctorArguments),
    /// Print or write the JSON Schemas of all messages
    Schema(schema::SchemaArguments),
    /// Print a completion script for a shell
    Completions(completions::CompletionsArguments),
}

impl Command {
    /// Runs the command.
    pub async fn run(self, context: &Context) -> Outcome {
        match self {
            Self::Init(arguments) => init::run(&arguments),
            Self::Pack(arguments) => Box::pin(pack::run(&arguments, context)).await,
            Self::Worker(arguments) => Box::pin(worker::run(&arguments, context)).await,
            Self::Start(arguments) => start::run(&arguments, context).await,
            Self::Stop(arguments) => stop::run(&arguments, context).await,
            Self::Watch(arguments) => watch::run(&arguments, context).await,
            Self::Jobs(arguments) => Box::pin(jobs::run(&arguments, context)).await,
            Self::Show(arguments) => Box::pin(show::run(&arguments, context)).await,
            Self::Result(arguments) => Box::pin(result::run(&arguments, context)).await,
            Self::Get(arguments) => Box::pin(get::run(&arguments, context)).await,
            Self::Data(arguments) => Box::pin(data::run(&arguments, context)).await,
            Self::State(arguments) => Box::pin(state::run(&arguments, context)).await,
            Self::Dead(arguments) => Box::pin(dead::run(&arguments, context)).await,
            Self::Queue(arguments) => queue::run(&arguments, context).await,
            Self::Logs(arguments) => Box::pin(logs::run(&arguments, context)).await,
            Self::Run(arguments) => Box::pin(run::run(&arguments, context)).await,
            Self::Sweep(arguments) => Box::pin(sweep::run(&arguments, context)).await,
            Self::Ps(arguments) => ps::run(&arguments, context).await,
            Self::Segments(arguments) => segments::run(&arguments, context).await,
            Self::Top(arguments) => Box::pin(top::run(&arguments, context)).await,
            Self::Dashboard(arguments) => Box::pin(dashboard::run(&arguments, context)).await,
            Self::Gc(arguments) => Box::pin(gc::run(&arguments, context)).await,
            Self::Doctor(arguments) => Box::pin(doctor::run(&arguments, context)).await,
            Self::Schema(arguments) => schema::run(&arguments),
            Self::Completions(arguments) => completions::run(&arguments, &mut Arguments::command()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::EXIT_CODES;
    use crate::job::Verdict;

    #[test]
    fn the_exit_code_of_every_verdict_is_listed() {
        for verdict in Verdict::ALL {
            let code = format!(" {}  ", verdict.process_exit_code());
            assert!(EXIT_CODES.contains(&code), "{verdict} ends with{code}");
        }
    }
}
