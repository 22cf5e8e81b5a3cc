//! The table of runtimes: those that are built in, and those of an operator.

use std::borrow::Cow;
use std::path::Path;
use std::sync::Arc;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::explain::{listed, meant};
use super::runtime::{Launcher, PATTERN, Runtime, RuntimeName};
use super::violation::quoted;

/// The built-in runtimes: name, image, launcher, and the program that runs a script.
const BUILT_IN: [(&str, &str, Launcher, &[&str]); 8] = [
    ("python3.11", "python:3.11-slim", Launcher::Python, &[]),
    ("nodejs20", "node:20-alpine", Launcher::Node, &[]),
    ("python3.12", "python:3.12-slim", Launcher::Python, &[]),
    ("python3.13", "python:3.13-slim", Launcher::Python, &[]),
    ("nodejs22", "node:22-alpine", Launcher::Node, &[]),
    ("nodejs24", "node:24-alpine", Launcher::Node, &[]),
    ("shell", "debian:trixie-slim", Launcher::Exec, &["/bin/bash"]),
    ("binary", "debian:trixie-slim", Launcher::Exec, &[]),
];

/// How many of them, from the first on, every installation is expected to use.
const USUAL: usize = 2;

/// The extension of the scripts of the built-in shell.
const SHELL_EXTENSION: &str = "sh";

/// Every runtime that a message may name, in order. If a message leaves it open, the first one for its script's
/// extension is chosen.
#[derive(Debug, Clone, PartialEq)]
pub struct Runtimes(Vec<Arc<Runtime>>);

impl Default for Runtimes {
    /// Those that are built in.
    fn default() -> Self {
        let entry = |(name, image, launcher, command): (&str, &str, Launcher, &[&str])| {
            let mut runtime = Runtime::new(name.parse().ok()?, image, launcher);
            runtime.command = command.iter().map(|&word| word.to_owned()).collect();
            if name == "shell" {
                runtime.extensions.push(SHELL_EXTENSION.to_owned());
            }
            Some(Arc::new(runtime))
        };
        Self(BUILT_IN.into_iter().filter_map(entry).collect())
    }
}

impl Runtimes {
    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Runtime>> {
        self.0.iter()
    }

    /// The runtime of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Arc<Runtime>> {
        self.0.iter().find(|runtime| runtime.name.as_str() == name)
    }

    /// The first runtime for a script of this name.
    #[must_use]
    pub fn of_script(&self, script: &str) -> Option<&Arc<Runtime>> {
        let extension = Path::new(script).extension()?.to_str()?;
        self.0.iter().find(|runtime| runtime.extensions.iter().any(|one| one == extension))
    }

    /// Sets a runtime: in the place of the one with its name, or after all others.
    pub fn set(&mut self, runtime: Runtime) {
        let same = self.0.iter_mut().find(|other| other.name == runtime.name);
        match same {
            Some(other) => *other = Arc::new(runtime),
            None => self.0.push(Arc::new(runtime)),
        }
    }

    /// Whether a runtime has an image that it is built with, and that an installation may never have used.
    #[must_use]
    pub fn is_spare(runtime: &Runtime) -> bool {
        let spare = &BUILT_IN[USUAL..];
        spare.iter().any(|(name, image, ..)| {
            *name == runtime.name.as_str() && *image == runtime.image.as_str()
        })
    }

    /// An image that has a shell and the usual programs.
    #[must_use]
    pub fn image_with_shell(&self) -> &str {
        let found = self.0.iter().find(|runtime| runtime.launcher.calls_main());
        found.map_or("", |runtime| &runtime.image)
    }

    /// What to say of a runtime that is not there.
    #[must_use]
    pub fn unknown(&self, name: &RuntimeName) -> String {
        let names: Vec<_> = self.0.iter().map(|runtime| runtime.name.as_str()).collect();
        let slip = meant(name.as_str(), &names);
        let slip = slip.map(|meant| format!("; did you mean {meant:?}?")).unwrap_or_default();
        let allowed = listed(names.iter().map(|name| format!("{name:?}")), "or");
        format!("must be {allowed}, not {}{slip}", quoted(name.as_str()))
    }
}

impl JsonSchema for RuntimeName {
    fn schema_name() -> Cow<'static, str> {
        "Runtime".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let built_in: Vec<String> =
            Runtimes::default().iter().map(|runtime| runtime.name.to_string()).collect();
        json_schema!({
            "description": format!(
                "The name of a runtime. Built in are {}; an operator may add others.",
                listed(built_in.iter().map(String::as_str), "and")
            ),
            "type": "string",
            "pattern": PATTERN,
            "examples": built_in,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_script(script: &str) -> Option<String> {
        Runtimes::default().of_script(script).map(|runtime| runtime.name.to_string())
    }

    #[test]
    fn every_runtime_of_the_table_is_there_and_those_of_old_messages_come_first() {
        let table = Runtimes::default();
        let names: Vec<_> = table.iter().map(|runtime| runtime.name.as_str()).collect();
        assert_eq!(names.len(), BUILT_IN.len());
        assert_eq!(names[..2], ["python3.11", "nodejs20"]);
    }

    #[test]
    fn a_script_tells_its_runtime_by_its_extension() {
        assert_eq!(of_script("src/main.py").as_deref(), Some("python3.11"));
        for script in ["main.js", "main.mjs", "a/b.cjs"] {
            assert_eq!(of_script(script).as_deref(), Some("nodejs20"), "{script}");
        }
        assert_eq!(of_script("main.sh").as_deref(), Some("shell"));
        for script in ["", "main", "main.rb", ".py"] {
            assert_eq!(of_script(script), None, "{script}");
        }
    }

    #[test]
    fn a_runtime_takes_the_place_of_the_one_with_its_name_or_comes_last() {
        let mut table = Runtimes::default();
        let (before, name) = (table.iter().count(), |name: &str| name.parse().unwrap());
        table.set(Runtime::new(name("python3.12"), "ours:1", Launcher::Python));
        assert_eq!(table.iter().count(), before);
        assert_eq!(table.get("python3.12").unwrap().image, "ours:1");
        let mut ruby = Runtime::new(name("ruby3"), "ruby:3.3", Launcher::Exec);
        ruby.extensions = vec!["rb".to_owned(), "py".to_owned()];
        table.set(ruby);
        assert_eq!(table.iter().last().unwrap().name.as_str(), "ruby3");
        assert_eq!(table.of_script("a.rb").unwrap().name.as_str(), "ruby3");
        assert_eq!(table.of_script("a.py").unwrap().name.as_str(), "python3.11", "the first wins");
    }

    #[test]
    fn an_unknown_runtime_is_answered_with_the_list_and_with_what_was_probably_meant() {
        let table = Runtimes::default();
        let said = |name: &str| table.unknown(&name.parse().unwrap());
        let all = r#"must be "python3.11", "nodejs20", "python3.12", "python3.13", "nodejs22", "nodejs24", "shell" or "binary""#;
        assert_eq!(said("cobol"), format!("{all}, not \"cobol\""));
        assert_eq!(said("shel"), format!("{all}, not \"shel\"; did you mean \"shell\"?"));
    }

    #[test]
    fn a_built_in_runtime_is_spare_until_somebody_sets_its_image() {
        let mut table = Runtimes::default();
        let is_spare = |table: &Runtimes, name| Runtimes::is_spare(table.get(name).unwrap());
        let spare = ["python3.11", "nodejs20", "python3.12", "binary"];
        assert_eq!(spare.map(|name| is_spare(&table, name)), [false, false, true, true]);
        table.set(Runtime::new("python3.12".parse().unwrap(), "ours:1", Launcher::Python));
        assert!(!is_spare(&table, "python3.12"));
    }

    #[test]
    fn only_a_binary_is_itself_the_program() {
        for runtime in Runtimes::default().iter() {
            let is_binary = runtime.name.as_str() == "binary";
            assert_eq!(runtime.runs_the_script_itself(), is_binary, "{runtime}");
        }
    }
}
