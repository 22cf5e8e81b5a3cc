//! What is wrong with the settings.

use std::fmt;
use std::path::PathBuf;

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Nobody set it.
    Default,
    /// A file of settings.
    File(PathBuf),
    /// The environment.
    Environment,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path) => write!(f, "file:{}", path.display()),
            Self::Environment => f.write_str("env"),
        }
    }
}

/// One thing that is wrong, and what would be right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Mistake {
    /// A value that is not allowed.
    #[error("{name} is {value:?}; allowed: {allowed}")]
    Value {
        /// The variable, or the key and its file.
        name: String,
        /// The value, masked where it is a secret.
        value: String,
        /// What would be right.
        allowed: String,
    },
    /// One value of several that is not allowed.
    #[error("{name}: number {number} of its {of} URLs, {url:?}, {problem}; allowed: {allowed}")]
    Url {
        /// The variable, or the key and its file.
        name: String,
        /// Which of them; the first is 1.
        number: usize,
        /// How many there are.
        of: usize,
        /// The URL, masked.
        url: String,
        /// What is wrong with it.
        problem: &'static str,
        /// What would be right.
        allowed: String,
    },
    /// A required setting that nobody set.
    #[error("{variable} is not set, nor is {key} in longshore.toml; needed: {allowed}{hint}")]
    Missing {
        /// The variable.
        variable: &'static str,
        /// The key in the file.
        key: &'static str,
        /// What would be right.
        allowed: String,
        /// A variable that may have been meant for it.
        hint: String,
    },
    /// A key that no setting has.
    #[error("{key} in {} is not a setting{hint}", file.display())]
    UnknownKey {
        /// The key.
        key: String,
        /// The file.
        file: PathBuf,
        /// The nearest setting.
        hint: String,
    },
    /// A variable that another program uses for a setting of ours.
    #[error("{spelling} is set, but the variable that Longshore reads is {variable}: rename it")]
    OtherSpelling {
        /// The variable that is set.
        spelling: &'static str,
        /// The variable that is read.
        variable: &'static str,
    },
    /// Two settings that do not go together.
    #[error("{0}")]
    Together(String),
    /// A file that cannot be read.
    #[error("the settings file {} {problem}", file.display())]
    File {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
}

/// Everything that is wrong with the settings, at least one mistake.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct SettingsErrors {
    /// What is wrong.
    pub mistakes: Vec<Mistake>,
}

impl fmt::Display for SettingsErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.mistakes.as_slice() {
            [one] => write!(f, "{one}"),
            many => {
                write!(f, "{} settings are wrong", many.len())?;
                many.iter().try_for_each(|mistake| write!(f, "\n  {mistake}"))
            }
        }
    }
}
