//! Where settings come from.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// The variable that names the file of settings.
pub const FILE_VARIABLE: &str = "LONGSHORE_CONFIG";

/// The file of settings that is read if nothing names another.
const DEFAULT_FILE: &str = "longshore.toml";

/// Where settings come from. Nothing else is ever read.
#[derive(Clone, Default)]
pub struct Sources {
    /// The environment.
    pub variables: BTreeMap<String, String>,
    /// The file. If it is named, it must exist.
    pub file: Option<PathBuf>,
    /// The name of the host.
    pub host_name: String,
}

impl Sources {
    /// These variables, and nothing else.
    #[must_use]
    pub fn of(variables: &[(&str, &str)]) -> Self {
        let variables = variables.iter().map(|&(name, value)| (name.to_owned(), value.to_owned()));
        Self { variables: variables.collect(), ..Self::default() }
    }

    /// The sources of this process: its environment, and the file that the command line names, or
    /// else `LONGSHORE_CONFIG`, or else `longshore.toml` in the current directory if it exists.
    #[must_use]
    pub fn of_process(file: Option<PathBuf>) -> Self {
        let text = |text: OsString| text.to_string_lossy().into_owned();
        let variables: BTreeMap<_, _> =
            std::env::vars_os().map(|(name, value)| (text(name), text(value))).collect();
        let named = || variables.get(FILE_VARIABLE).filter(|path| !path.is_empty());
        let file = file
            .or_else(|| named().map(PathBuf::from))
            .or_else(|| Path::new(DEFAULT_FILE).is_file().then(|| PathBuf::from(DEFAULT_FILE)));
        Self { variables, file, host_name: text(gethostname::gethostname()) }
    }
}
