//! `longshore init`: a directory with a program that runs at once.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;

use super::output::{print, warn};
use super::project::{IGNORE_FILE, id_of};
use super::{Failure, Outcome};

/// Make a directory with a program that runs at once.
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
#[command(after_help = "Examples:
  longshore init my-strategy
  longshore init my-bot --node --bot
  cd my-strategy && longshore run .

The directory gets a program with sample prices and tests of its own, a start.json that says how to
run it, a file for the packages that it needs, and a README.md with the next steps. Files that are
there already are not touched: if one of these names is taken, nothing is written.")]
pub struct InitArguments {
    /// The directory; it is made if it is not there
    #[arg(value_name = "DIR", default_value = ".")]
    directory: PathBuf,
    /// A program in Python; this is the default
    #[arg(long, conflicts_with = "node")]
    python: bool,
    /// A program in JavaScript, for Node.js
    #[arg(long)]
    node: bool,
    /// A bot, which runs until it is stopped
    #[arg(long, conflicts_with = "backtest")]
    bot: bool,
    /// A backtest, which runs to its end and gives a result; this is the default
    #[arg(long)]
    backtest: bool,
}

/// A file: its name and its text, where `NAME` stands for the directory's name.
type Template = (&'static str, &'static str);

macro_rules! templates {
    ($($name:literal from $path:literal),+ $(,)?) => {
        &[$(($name, include_str!(concat!("init/templates/", $path)))),+]
    };
}

/// The files of every directory.
const COMMON: &[Template] =
    templates!["prices.csv" from "prices.csv", ".gitignore" from "gitignore"];

const PYTHON: &[Template] = templates!["requirements.txt" from "requirements.txt"];
const NODE: &[Template] = templates!["package.json" from "package.json"];

const PYTHON_BACKTEST: &[Template] = templates![
    "backtest.py" from "python-backtest/backtest.py",
    "test_backtest.py" from "python-backtest/test_backtest.py",
    "start.json" from "python-backtest/start.json",
    "README.md" from "python-backtest/README.md",
];
const PYTHON_BOT: &[Template] = templates![
    "main.py" from "python-bot/main.py",
    "test_main.py" from "python-bot/test_main.py",
    "start.json" from "python-bot/start.json",
    "README.md" from "python-bot/README.md",
];
const NODE_BACKTEST: &[Template] = templates![
    "backtest.mjs" from "node-backtest/backtest.mjs",
    "backtest.test.mjs" from "node-backtest/backtest.test.mjs",
    "start.json" from "node-backtest/start.json",
    "README.md" from "node-backtest/README.md",
];
const NODE_BOT: &[Template] = templates![
    "main.mjs" from "node-bot/main.mjs",
    "main.test.mjs" from "node-bot/main.test.mjs",
    "start.json" from "node-bot/start.json",
    "README.md" from "node-bot/README.md",
];

/// What is not sent, by name.
const IGNORED: &str = include_str!("init/templates/longshoreignore");

pub(super) fn run(arguments: &InitArguments) -> Outcome {
    let directory = &arguments.directory;
    let shown = directory.display();
    fs::create_dir_all(directory).with_context(|| format!("{shown} cannot be made"))?;
    let name = id_of(directory);
    let files = files(arguments);
    let taken: Vec<_> =
        files.iter().map(|file| file.0).filter(|name| is_there(directory, name)).collect();
    if !taken.is_empty() {
        return Err(Failure::Usage(format!(
            "{shown} has {} already, so nothing was written: choose another directory",
            taken.join(", ")
        )));
    }
    for (file, text) in files {
        let path = directory.join(file);
        File::create_new(&path)
            .and_then(|mut out| out.write_all(text.replace("NAME", &name).as_bytes()))
            .with_context(|| format!("{} cannot be written", path.display()))?;
        print(&path.display().to_string())?;
    }
    let what = if arguments.bot { "bot" } else { "backtest" };
    warn(&format!("made a {what}. Run it with: longshore run {shown}"));
    Ok(0)
}

fn is_there(directory: &Path, name: &str) -> bool {
    fs::symlink_metadata(directory.join(name)).is_ok()
}

fn files(arguments: &InitArguments) -> Vec<Template> {
    let (packages, program) = match (arguments.node, arguments.bot) {
        (false, false) => (PYTHON, PYTHON_BACKTEST),
        (false, true) => (PYTHON, PYTHON_BOT),
        (true, false) => (NODE, NODE_BACKTEST),
        (true, true) => (NODE, NODE_BOT),
    };
    [program, packages, COMMON, &[(IGNORE_FILE, IGNORED)]].concat()
}
