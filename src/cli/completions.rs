//! `longshore completions`.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Args, Command};
use clap_complete::Shell;

use super::Outcome;
use super::output::print;

/// Print a completion script for a shell, or write manual pages.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  longshore completions bash > /etc/bash_completion.d/longshore
  longshore completions zsh > ~/.zfunc/_longshore
  longshore completions fish > ~/.config/fish/completions/longshore.fish
  longshore completions --man-pages /usr/local/share/man/man1

The Debian package has installed all of them.")]
pub struct CompletionsArguments {
    /// The shell
    #[arg(required_unless_present = "man_pages")]
    shell: Option<Shell>,
    /// Write a manual page for each command into this directory
    #[arg(long, value_name = "DIR", conflicts_with = "shell")]
    man_pages: Option<PathBuf>,
}

pub(super) fn run(arguments: &CompletionsArguments, program: &mut Command) -> Outcome {
    if let Some(directory) = &arguments.man_pages {
        write_man_pages(directory, program.clone())?;
    }
    if let Some(shell) = arguments.shell {
        let mut script = Vec::new();
        clap_complete::generate(shell, program, "longshore", &mut script);
        print(&String::from_utf8_lossy(&script))?;
    }
    Ok(0)
}

fn write_man_pages(directory: &Path, program: Command) -> anyhow::Result<()> {
    std::fs::create_dir_all(directory)
        .and_then(|()| clap_mangen::generate_to(program, directory))
        .with_context(|| format!("manual pages cannot be written to {}", directory.display()))
}
