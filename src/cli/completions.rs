//! `longshore completions`.

use clap::{Args, Command};
use clap_complete::Shell;

use super::Outcome;
use super::output::print;

/// Print a completion script for a shell.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  longshore completions bash > /etc/bash_completion.d/longshore
  longshore completions zsh > ~/.zfunc/_longshore
  longshore completions fish > ~/.config/fish/completions/longshore.fish")]
pub struct CompletionsArguments {
    /// The shell
    shell: Shell,
}

pub(super) fn run(arguments: &CompletionsArguments, program: &mut Command) -> Outcome {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, program, "longshore", &mut script);
    print(&String::from_utf8_lossy(&script))?;
    Ok(0)
}
