//! The command line: one file a command.
//!
//! A command reads its arguments and the settings that it needs, composes what it works with, and
//! gives an exit code or a [`Failure`]. What work means is not decided here.

mod client;
mod completions;
mod context;
mod doctor;
mod event_line;
mod failure;
mod logs;
mod order;
mod output;
mod pack;
mod ps;
mod run;
mod schema;
mod segments;
mod signals;
mod start;
mod stop;
mod telemetry;
mod terminal;
mod watch;
mod worker;

use std::path::PathBuf;

use clap::{CommandFactory as _, Parser, Subcommand};

pub use context::Context;
pub use failure::{Failure, Outcome};

/// What the program was asked to do.
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

/// How the program ends. The codes from 10 on are those of `Verdict::process_exit_code`.
const EXIT_CODES: &str = "\
Exit codes:
   0  done; with run and start --wait: the run succeeded or was stopped
   1  it failed
   2  wrong arguments or settings
  10  the run failed         11  it timed out       12  it ran out of memory
  13  it was cancelled       14  it was rejected    15  the infrastructure gave up
  16  it was lost with its host

Settings: docs/settings.md, or longshore worker --print-settings";

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Take jobs from the broker and run them
    Worker(worker::WorkerArguments),
    /// Start a job; --upload sends its code, --wait waits for its end
    Start(Box<start::StartArguments>),
    /// Publish a stop message
    Stop(stop::StopArguments),
    /// Follow events as they come
    Watch(watch::WatchArguments),
    /// Print the log of a job from the object store
    Logs(logs::LogsArguments),
    /// Run a bot or a backtest on this machine, without broker and store
    Run(Box<run::RunArguments>),
    /// List the containers of this namespace on this engine
    Ps(ps::PsArguments),
    /// List the segments: who owns each, and how many jobs it has
    Segments(segments::SegmentsArguments),
    /// Check everything that a worker needs, and suggest fixes
    Doctor(doctor::DoctorArguments),
    /// Print or write the JSON Schemas of all messages
    Schema(schema::SchemaArguments),
    /// Print a completion script for a shell
    Completions(completions::CompletionsArguments),
}

impl Command {
    /// Does it.
    pub async fn run(self, context: &Context) -> Outcome {
        match self {
            Self::Worker(arguments) => Box::pin(worker::run(&arguments, context)).await,
            Self::Start(arguments) => start::run(&arguments, context).await,
            Self::Stop(arguments) => stop::run(&arguments, context).await,
            Self::Watch(arguments) => watch::run(&arguments, context).await,
            Self::Logs(arguments) => Box::pin(logs::run(&arguments, context)).await,
            Self::Run(arguments) => Box::pin(run::run(&arguments, context)).await,
            Self::Ps(arguments) => ps::run(&arguments, context).await,
            Self::Segments(arguments) => segments::run(&arguments, context).await,
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
    fn the_exit_code_of_every_verdict_is_told() {
        for verdict in Verdict::ALL {
            let code = format!(" {}  ", verdict.process_exit_code());
            assert!(EXIT_CODES.contains(&code), "{verdict} ends with{code}");
        }
    }
}
