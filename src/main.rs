//! The program: arguments, settings, one command, an exit code.

use std::process::ExitCode;

use clap::Parser;
use longshore::cli::{Arguments, Context};

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let context = Context::of_process(&arguments);
    match arguments.command.run(&context) {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            failure.tell();
            ExitCode::from(failure.exit_code())
        }
    }
}
