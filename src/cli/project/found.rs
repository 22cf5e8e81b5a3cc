//! What a directory or a zip says about its job: its `start.json`, else the names of its scripts.

use std::path::Path;

use serde_json::{Value, json};

use crate::cli::Failure;
use crate::cli::order::{Draft, JobArguments, message_of};
use crate::job::{Executable, Runtimes};

/// The start message in a directory.
const START_FILE: &str = "start.json";

/// The file extensions of scripts with a `main`, in the order in which messages list them.
const ENDINGS: [&str; 4] = ["py", "mjs", "js", "cjs"];

/// The file extensions of what can be the script of a job. A shell script beside a script with a `main` is a tool
/// of its author, and so is any other program.
fn endings_of<'a>(names: &[String], runtimes: &'a Runtimes) -> Vec<&'a str> {
    let mut endings = ENDINGS.to_vec();
    if !names.iter().any(|name| is_script(name, &endings)) {
        let all = runtimes.iter().flat_map(|runtime| &runtime.extensions).map(String::as_str);
        endings.extend(all.filter(|ending| !ENDINGS.contains(ending)));
    }
    endings
}

/// How many files an error names.
const MAX_SHOWN: usize = 10;

/// The start message of a directory or a zip, where the flags do not say more. Its code is still to be
/// packed, so it has no key.
///
/// `names` are the files that it has.
pub(in crate::cli) fn draft_of(
    code: &Path,
    names: &[String],
    flags: &JobArguments,
    runtimes: &Runtimes,
) -> Result<Draft, Failure> {
    let mut draft = match start_file(code) {
        Some(file) => message_of(&file)?,
        None => Draft::default(),
    };
    let fields = &mut draft.fields;
    for field in ["file_path", "code_sha256"] {
        fields.remove(field);
    }
    fields.entry("id").or_insert_with(|| id_of(code).into());
    if let Some(kind) = &flags.entrypoint {
        fields.insert("entrypoint".to_owned(), kind.as_str().into());
    }
    let is_long_running = flags.long_running || fields.get("is_long_running") == Some(&true.into());
    let endings = endings_of(names, runtimes);
    let has = |stem| !scripts(stem, names, &endings).is_empty();
    let is_bot = is_long_running || (has("main") && !has("backtest"));
    let guess = || Value::from(if is_bot { "bot" } else { "backtest" });
    let kind = fields.entry("entrypoint").or_insert_with(guess);
    let Some(kind) = kind.as_str().map(str::to_owned) else { return Ok(draft) };
    let files = fields.entry("entrypoint_files").or_insert_with(|| json!({}));
    if let Value::Object(files) = files
        && !files.contains_key(&kind)
        && flags.files.is_empty()
    {
        files.insert(kind.clone(), script_of(code, &kind, names, &endings)?.into());
    }
    Ok(draft)
}

fn start_file(code: &Path) -> Option<std::path::PathBuf> {
    Some(code.join(START_FILE)).filter(|file| file.is_file())
}

/// The scripts of a name, without its extension, that exist.
fn scripts(stem: &str, names: &[String], endings: &[&str]) -> Vec<String> {
    let candidates = endings.iter().map(|ending| format!("{stem}.{ending}"));
    candidates.filter(|candidate| names.contains(candidate)).collect()
}

/// The only script that a directory can mean: by its name, else because there is no other one.
fn script_of(
    code: &Path,
    kind: &str,
    names: &[String],
    endings: &[&str],
) -> Result<String, Failure> {
    let stems: &[&str] = if kind == "backtest" { &["backtest", "main"] } else { &["main"] };
    let by_name =
        stems.iter().map(|stem| scripts(stem, names, endings)).find(|found| !found.is_empty());
    let mut found = by_name
        .unwrap_or_else(|| names.iter().filter(|name| is_script(name, endings)).cloned().collect());
    let shown = code.display();
    match found.len() {
        1 => Ok(found.remove(0)),
        0 => Err(Failure::Usage(format!(
            "{shown} has no script for a {kind} (a .py, .mjs, .js, .cjs or .sh file), only {}: name it with --file",
            listed(names)
        ))),
        _ => Err(Failure::Usage(format!(
            "{shown} has no {START_FILE} that says which of its scripts is the {kind}: name one with \
             --file, for example --file {}. There are {}",
            found[0],
            listed(&found)
        ))),
    }
}

/// Whether a file at the top can be the script of a job, and is no test or set-up.
fn is_script(name: &str, endings: &[&str]) -> bool {
    let Some((stem, ending)) = name.rsplit_once('.') else { return false };
    let is_test = stem.starts_with("test_") || stem.ends_with("_test") || stem.ends_with(".test");
    let is_helper = ["setup", "conftest", "__init__"].contains(&stem) || stem.ends_with(".config");
    !name.contains('/') && endings.contains(&ending) && !is_test && !is_helper
}

/// Names for people, not too many.
fn listed(names: &[String]) -> String {
    let mut shown: Vec<_> = names.iter().take(MAX_SHOWN).map(String::as_str).collect();
    if names.len() > shown.len() {
        shown.push("more");
    }
    match shown.split_last() {
        None => "no file at all".to_owned(),
        Some((last, [])) => (*last).to_owned(),
        Some((last, others)) => format!("{} and {last}", others.join(", ")),
    }
}

/// What was found, in one line.
pub(in crate::cli) fn told(code: &Path, executable: &Executable) -> String {
    let kind = executable.entrypoint.as_str();
    let script = executable.entrypoint_files.get(kind).map_or("", String::as_str);
    let source = if start_file(code).is_some() { START_FILE } else { "the files' names" };
    let end = if executable.is_long_running { "until it is stopped" } else { "to its end" };
    format!("by {source}: {script} as a {kind} on {}, {end}", executable.runtime.as_str())
}

/// The longest part of a directory's name that goes into an id.
const NAME_CHARACTERS: usize = 100;

/// The name of a directory or a zip, as an id.
pub(in crate::cli) fn id_of(code: &Path) -> String {
    let absolute = code.canonicalize().unwrap_or_else(|_| code.to_owned());
    let name = if absolute.is_dir() { absolute.file_name() } else { absolute.file_stem() };
    let name = name.unwrap_or_default().to_string_lossy();
    let safe = |c: char| if c.is_ascii_alphanumeric() || c == '-' { c } else { '-' };
    let name: String = name.chars().take(NAME_CHARACTERS).map(safe).collect();
    let name = name.trim_matches('-');
    if name.is_empty() { "run".to_owned() } else { name.to_owned() }
}

#[cfg(test)]
mod tests;
