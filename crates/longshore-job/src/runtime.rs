//! What a job's program runs in: an image, and the way in which its program is started there.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How a program is started, and what it finds there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Launcher {
    /// Python imports a script and calls its `main`.
    Python,
    /// Node.js imports a script and calls its `main`.
    Node,
    /// A program of its own, in any language. It needs nothing else in the image, not even a shell.
    Exec,
}

impl Launcher {
    /// Every launcher.
    pub const ALL: [Self; 3] = [Self::Python, Self::Node, Self::Exec];

    /// The launcher's name in settings.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Python => "python",
            Self::Node => "node",
            Self::Exec => "exec",
        }
    }

    /// The extensions of its scripts, where a runtime does not say otherwise.
    #[must_use]
    pub const fn extensions(self) -> &'static [&'static str] {
        match self {
            Self::Python => &["py"],
            Self::Node => &["js", "mjs", "cjs"],
            Self::Exec => &[],
        }
    }

    /// The memory rule: whether the interpreter keeps a heap that must be told how large it may be. All other
    /// programs have the whole memory of their container.
    #[must_use]
    pub const fn has_heap(self) -> bool {
        matches!(self, Self::Node)
    }

    /// Whether code of ours calls the program, and so can do for it what a program alone cannot: collect
    /// artifacts, keep a state, and wait for a job that is not there yet.
    #[must_use]
    pub const fn calls_main(self) -> bool {
        !matches!(self, Self::Exec)
    }
}

/// The longest name of a runtime, in characters.
const MAX_LENGTH: usize = 64;

/// The rule of every name, as JSON Schema writes it.
pub(super) const PATTERN: &str = "^[A-Za-z0-9][A-Za-z0-9._+-]{0,63}$";

/// Why a text is not the name of a runtime.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{shown:?} is not the name of a runtime: 1 to {MAX_LENGTH} characters of A-Z, a-z, 0-9, '.', '_', '+' and \
     '-', the first a letter or a digit"
)]
pub struct InvalidName {
    shown: String,
}

/// The name of a runtime, as messages carry it. Which names there are is for the worker to say.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RuntimeName(String);

impl RuntimeName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for RuntimeName {
    type Error = InvalidName;

    fn try_from(text: String) -> Result<Self, InvalidName> {
        let starts_well = text.starts_with(|c: char| c.is_ascii_alphanumeric());
        let only_allowed = text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._+-".contains(&b));
        if starts_well && only_allowed && text.len() <= MAX_LENGTH {
            return Ok(Self(text));
        }
        let mut shown: String = text.chars().take(MAX_LENGTH).collect();
        if shown.len() < text.len() {
            shown.push('…');
        }
        Err(InvalidName { shown })
    }
}

impl std::str::FromStr for RuntimeName {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        Self::try_from(text.to_owned())
    }
}

impl From<RuntimeName> for String {
    fn from(name: RuntimeName) -> Self {
        name.0
    }
}

impl fmt::Display for RuntimeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An entry of the table of runtimes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Runtime {
    /// Its name, as messages carry it.
    pub name: RuntimeName,
    /// The image of its containers. Empty where a job asks for a runtime that this worker does not have.
    pub image: String,
    /// How programs are started in it.
    pub launcher: Launcher,
    /// The program that gets the path of a job's script as its last argument, and its other arguments. Where there
    /// is none, the script is the program. Only for [`Launcher::Exec`].
    pub command: Vec<String>,
    /// The extensions of its scripts.
    pub extensions: Vec<String>,
    /// How many containers wait for its jobs, where that is not the number of all runtimes.
    pub warm: Option<usize>,
}

impl Runtime {
    /// A runtime with what follows from its launcher.
    #[must_use]
    pub fn new(name: RuntimeName, image: &str, launcher: Launcher) -> Self {
        let extensions = launcher.extensions().iter().map(|&text| text.to_owned()).collect();
        Self {
            name,
            image: image.to_owned(),
            launcher,
            command: Vec::new(),
            extensions,
            warm: None,
        }
    }

    /// Whether a script is itself the program that the container starts, so that it must be executable.
    #[must_use]
    pub fn runs_the_script_itself(&self) -> bool {
        self.launcher == Launcher::Exec && self.command.is_empty()
    }
}

impl fmt::Display for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.name.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_few_characters_and_a_bounded_length() {
        let longest = "a".repeat(MAX_LENGTH);
        for good in ["python3.11", "ghcr-rust_1.80+musl", "R", "7z", &longest] {
            assert_eq!(good.parse::<RuntimeName>().unwrap().as_str(), good);
        }
        let too_long = "a".repeat(MAX_LENGTH + 1);
        for bad in ["", ".hidden", "-x", "a b", "a/b", "a:b", "ü", "a\n", &too_long] {
            let error = bad.parse::<RuntimeName>().unwrap_err().to_string();
            assert!(error.contains("is not the name of a runtime"), "{error}");
        }
    }

    #[test]
    fn the_pattern_of_the_schema_is_the_rule() {
        let class = PATTERN.strip_prefix("^[A-Za-z0-9][A-Za-z0-9._+-]{0,").unwrap();
        assert_eq!(class, format!("{}}}$", MAX_LENGTH - 1));
    }
}
