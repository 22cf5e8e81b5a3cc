//! The table of runtimes: the built-in ones, and what an operator adds or changes.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::kind::Kind;
use super::loader::Reader;
use super::mistake::Mistake;
use super::table::{self as t, Setting};
use crate::job::{Launcher, Runtime, RuntimeName, Runtimes};

/// The built-in runtimes whose images have a setting of their own.
const IMAGES: [(&str, &Setting); 2] =
    [("python3.11", &t::PYTHON_IMAGE), ("nodejs20", &t::NODE_IMAGE)];

/// The longest extension of a script, in characters.
const MAX_EXTENSION: usize = 16;

/// The most containers that wait for the jobs of one runtime, as for `WARM_CONTAINERS`.
const MAX_WARM: usize = 64;

/// What an operator says about one runtime.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    image: Option<String>,
    launcher: Option<Launcher>,
    command: Option<Vec<String>>,
    extensions: Option<Vec<String>>,
    warm: Option<usize>,
}

impl Reader<'_> {
    /// The runtimes that messages may name.
    #[must_use]
    pub fn runtimes(&self) -> Runtimes {
        let mut runtimes = Runtimes::default();
        for (name, setting) in IMAGES {
            if let (Some(runtime), Some(image)) = (runtimes.get(name), self.optional(setting)) {
                let runtime = Runtime { image, ..Runtime::clone(runtime) };
                runtimes.set(runtime);
            }
        }
        let Some(text) = self.optional(&t::BOT_RUNTIMES) else { return runtimes };
        // The kind of the setting has seen to it that this is an object.
        let entries: BTreeMap<String, serde_json::Value> =
            serde_json::from_str(&text).unwrap_or_default();
        for (name, entry) in entries {
            match read(&name, entry, &runtimes) {
                Ok(runtime) => runtimes.set(runtime),
                Err(problem) => {
                    let sentence = format!("the runtime {name:?} (BOT_RUNTIMES): {problem}");
                    self.mistake(Mistake::Together(sentence));
                }
            }
        }
        runtimes
    }
}

fn read(name: &str, entry: serde_json::Value, known: &Runtimes) -> Result<Runtime, String> {
    let entry: Entry = serde_json::from_value(entry).map_err(|error| error.to_string())?;
    let name: RuntimeName =
        name.parse().map_err(|error: crate::job::InvalidName| error.to_string())?;
    if let Some((_, setting)) = IMAGES.iter().find(|(built_in, _)| *built_in == name.as_str())
        && entry.image.is_some()
    {
        return Err(format!("its image is the setting {}", setting.variable));
    }
    let mut runtime = match (known.get(name.as_str()), &entry.image, entry.launcher) {
        (Some(found), image, launcher) => {
            let mut runtime = Runtime::clone(found);
            if let Some(launcher) = launcher.filter(|launcher| *launcher != runtime.launcher) {
                runtime = Runtime::new(name, &runtime.image, launcher);
            }
            runtime.image = image.clone().unwrap_or(runtime.image);
            runtime
        }
        (None, Some(image), Some(launcher)) => Runtime::new(name, image, launcher),
        (None, None, _) => return Err("it has no image".to_owned()),
        (None, _, None) => {
            return Err("it has no launcher: one of python, node, exec".to_owned());
        }
    };
    if !Kind::Image.allows(&runtime.image) {
        let allowed = Kind::Image.allowed();
        return Err(format!("its image is {:?}; allowed: {allowed}", runtime.image));
    }
    runtime.command = entry.command.unwrap_or(runtime.command);
    runtime.extensions = entry.extensions.unwrap_or(runtime.extensions);
    runtime.warm = entry.warm.or(runtime.warm);
    check(&runtime)?;
    Ok(runtime)
}

/// What must hold of a runtime, whoever made it.
fn check(runtime: &Runtime) -> Result<(), String> {
    let has_program = runtime.launcher == Launcher::Exec;
    if !runtime.command.is_empty() && !has_program {
        let launcher = runtime.launcher.as_str();
        return Err(format!(
            "command is only for the launcher exec, and its launcher is {launcher}"
        ));
    }
    if runtime.command.iter().any(|word| word.is_empty() || word.contains('\0')) {
        return Err("a word of its command is empty or holds a NUL".to_owned());
    }
    let is_extension = |text: &String| {
        (1..=MAX_EXTENSION).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
    };
    if let Some(bad) = runtime.extensions.iter().find(|text| !is_extension(text)) {
        return Err(format!(
            "the extension {bad:?} is not 1 to {MAX_EXTENSION} letters and digits, without a dot"
        ));
    }
    match runtime.warm {
        Some(1..) if has_program => {
            Err("no containers wait for programs of the launcher exec: leave out warm".to_owned())
        }
        Some(warm) if warm > MAX_WARM => Err(format!("warm is {warm}, more than {MAX_WARM}")),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;
    use crate::settings::{Loader, Sources};

    fn with(pairs: &[(&str, &str)]) -> Result<Runtimes, String> {
        Loader::new(Sources::of(pairs)).read(Reader::runtimes).map_err(|error| error.to_string())
    }

    fn of(json: &str) -> Result<Runtimes, String> {
        with(&[("BOT_RUNTIMES", json)])
    }

    fn of_file(text: &str, pairs: &[(&str, &str)]) -> Result<Runtimes, String> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        let sources = Sources { file: Some(file.path().to_owned()), ..Sources::of(pairs) };
        Loader::new(sources).read(Reader::runtimes).map_err(|error| error.to_string())
    }

    #[test]
    fn without_a_word_of_the_operator_there_are_the_built_in_ones() {
        assert_eq!(with(&[]).unwrap(), Runtimes::default());
        assert_eq!(of("{}").unwrap(), Runtimes::default());
    }

    #[test]
    fn file_and_variable_say_the_same_and_the_variable_wins() {
        let text = r#"
            [runtimes."java21"]
            image = "eclipse-temurin:21-jre"
            launcher = "exec"
            command = ["java", "-jar"]
            extensions = ["jar"]

            [runtimes."python3.13"]
            warm = 1
        "#;
        let json = r#"{"java21": {"image": "eclipse-temurin:21-jre", "launcher": "exec",
                       "command": ["java", "-jar"], "extensions": ["jar"]}, "python3.13": {"warm": 1}}"#;
        let by_file = of_file(text, &[]).unwrap();
        assert_eq!(by_file, of(json).unwrap());
        let java = by_file.get("java21").unwrap();
        assert_eq!((java.launcher, java.command.len()), (Launcher::Exec, 2));
        assert_eq!(by_file.of_script("app.jar"), Some(java));
        let python = by_file.get("python3.13").unwrap();
        assert_eq!((python.warm, python.image.as_str()), (Some(1), "python:3.13-slim"));
        let both =
            of_file(text, &[("BOT_RUNTIMES", r#"{"x": {"image": "x", "launcher": "node"}}"#)]);
        let both = both.unwrap();
        assert!(both.get("java21").is_none() && both.get("x").is_some());
    }

    #[test]
    fn the_images_of_the_first_two_have_settings_of_their_own() {
        let images = with(&[("PYTHON_IMAGE", "ours/python:1"), ("NODE_IMAGE", "ours/node:1")]);
        let images = images.unwrap();
        assert_eq!(images.get("python3.11").unwrap().image, "ours/python:1");
        assert_eq!(images.get("nodejs20").unwrap().image, "ours/node:1");
        let error = of(r#"{"nodejs20": {"image": "mine"}}"#).unwrap_err();
        assert!(error.contains("its image is the setting NODE_IMAGE"), "{error}");
        assert_eq!(
            of(r#"{"nodejs20": {"warm": 0}}"#).unwrap().get("nodejs20").unwrap().warm,
            Some(0)
        );
    }

    #[test]
    fn a_launcher_brings_its_extensions_and_nothing_of_another() {
        let own = of(r#"{"mine": {"image": "mine", "launcher": "python"}}"#).unwrap();
        assert_eq!(own.get("mine").unwrap().extensions, ["py"]);
        let other = of(r#"{"shell": {"launcher": "python", "image": "mine"}}"#).unwrap();
        assert!(other.get("shell").unwrap().command.is_empty());
    }

    #[test]
    fn every_mistake_is_named_with_its_runtime() {
        for (json, expected) in [
            ("[]", "BOT_RUNTIMES is"),
            ("x", "BOT_RUNTIMES is"),
            (r#"{"a b": {"image": "x", "launcher": "exec"}}"#, "is not the name of a runtime"),
            (
                r#"{"a": {"launcher": "exec"}}"#,
                r#"the runtime "a" (BOT_RUNTIMES): it has no image"#,
            ),
            (r#"{"a": {"image": "x"}}"#, "it has no launcher: one of python, node, exec"),
            (r#"{"a": {"image": "x", "launcher": "ruby"}}"#, "unknown variant `ruby`"),
            (r#"{"a": {"image": "x y", "launcher": "exec"}}"#, "an image such as"),
            (r#"{"a": {"imagee": "x"}}"#, "unknown field `imagee`"),
            (
                r#"{"a": {"image": "x", "launcher": "node", "command": ["a"]}}"#,
                "only for the launcher exec",
            ),
            (
                r#"{"a": {"image": "x", "launcher": "exec", "command": [""]}}"#,
                "is empty or holds a NUL",
            ),
            (r#"{"a": {"image": "x", "launcher": "exec", "extensions": [".x"]}}"#, "without a dot"),
            (r#"{"a": {"image": "x", "launcher": "exec", "warm": 1}}"#, "leave out warm"),
            (r#"{"a": {"image": "x", "launcher": "node", "warm": 65}}"#, "more than 64"),
        ] {
            let error = of(json).unwrap_err();
            assert!(error.contains(expected), "{json}: {error}");
        }
        let longest = "x".repeat(MAX_EXTENSION);
        let with = |extension: &str| {
            of(&format!(
                r#"{{"a": {{"image": "x", "launcher": "exec", "extensions": ["{extension}"]}}}}"#
            ))
        };
        assert!(with(&longest).is_ok() && with(&format!("{longest}x")).is_err());
        assert!(of(r#"{"a": {"image": "x", "launcher": "node", "warm": 64}}"#).is_ok());
    }
}
