//! The table of runtimes. A new one is a line here; the compiler then asks for the setting of its image.

use std::fmt;
use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The languages that there is a launcher for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    /// Python.
    Python,
    /// JavaScript under Node.js.
    JavaScript,
}

impl Language {
    /// The extensions of its scripts.
    #[must_use]
    pub const fn extensions(self) -> &'static [&'static str] {
        match self {
            Self::Python => &["py"],
            Self::JavaScript => &["js", "mjs", "cjs"],
        }
    }
}

macro_rules! runtimes {
    ($($(#[$doc:meta])* $variant:ident = $name:literal, $language:ident;)+) => {
        /// What a job's script runs in.
        #[derive(
            Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
        )]
        pub enum Runtime {
            $($(#[$doc])* #[serde(rename = $name)] $variant,)+
        }

        impl Runtime {
            /// Every runtime. If a message leaves it open, the first one of a script's language is
            /// chosen.
            pub const ALL: [Self; [$($name),+].len()] = [$(Self::$variant),+];

            /// The runtime's name on the wire.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }

            /// What its scripts are written in.
            #[must_use]
            pub const fn language(self) -> Language {
                match self {
                    $(Self::$variant => Language::$language,)+
                }
            }
        }
    };
}

runtimes! {
    /// Python 3.11.
    Python311 = "python3.11", Python;
    /// Node.js 20.
    NodeJs20 = "nodejs20", JavaScript;
}

impl Runtime {
    /// The first runtime for a script of this name.
    #[must_use]
    pub fn of_script(script: &str) -> Option<Self> {
        let extension = Path::new(script).extension()?.to_str()?;
        Self::ALL.into_iter().find(|runtime| runtime.language().extensions().contains(&extension))
    }
}

impl fmt::Display for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_tells_its_runtime_by_its_extension() {
        assert_eq!(Runtime::of_script("src/main.py"), Some(Runtime::Python311));
        for script in ["main.js", "main.mjs", "a/b.cjs"] {
            assert_eq!(Runtime::of_script(script), Some(Runtime::NodeJs20), "{script}");
        }
        for script in ["", "main", "main.rb", ".py"] {
            assert_eq!(Runtime::of_script(script), None, "{script}");
        }
    }
}
