//! The program: arguments, settings, one command, an exit code.

use std::process::ExitCode;

use longshore::cli::{Arguments, Context};

#[tokio::main]
async fn main() -> ExitCode {
    let words: Vec<_> = std::env::args_os().collect();
    let (arguments, format) = Arguments::read(&words);
    let ended = match arguments {
        Ok(Arguments { config, command }) => {
            let context = Context::of_process(config);
            Box::pin(command.run(&context)).await
        }
        Err(failure) => Err(failure),
    };
    match ended {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            failure.tell(format);
            ExitCode::from(failure.exit_code())
        }
    }
}
