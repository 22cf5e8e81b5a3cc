//! The program: arguments, settings, one command, an exit code.

use std::process::ExitCode;

use clap::Parser;
use longshore::cli::{Arguments, Context};

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let context = Context::of_process(arguments.config.clone());
    match Box::pin(arguments.command.run(&context)).await {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            failure.tell();
            ExitCode::from(failure.exit_code())
        }
    }
}
