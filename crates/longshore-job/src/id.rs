//! Identifiers that are safe as a file name, a container name and a part of a routing key.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// The longest identifier, in characters.
const MAX_LENGTH: usize = 128;

/// The rule of every identifier, as JSON Schema writes it.
const PATTERN: &str = "^[A-Za-z0-9][A-Za-z0-9_-]{0,127}$";

/// Why a text is not an identifier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{shown:?} is not an id: 1 to {MAX_LENGTH} characters of A-Z, a-z, 0-9, '_' and '-', \
     the first a letter or a digit"
)]
pub struct InvalidId {
    shown: String,
}

fn check(text: &str) -> Result<(), InvalidId> {
    let starts_well = text.starts_with(|c: char| c.is_ascii_alphanumeric());
    let only_allowed = text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    if starts_well && only_allowed && text.len() <= MAX_LENGTH {
        return Ok(());
    }
    let mut shown: String = text.chars().take(MAX_LENGTH).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    Err(InvalidId { shown })
}

macro_rules! identifier {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The identifier as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidId;

            fn try_from(text: String) -> Result<Self, InvalidId> {
                check(&text)?;
                Ok(Self(text))
            }
        }

        impl std::str::FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                Self::try_from(text.to_owned())
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({
                    "description": "1 to 128 letters, digits, '_' and '-'; the first is a letter \
                                    or a digit.",
                    "type": "string",
                    "pattern": PATTERN
                })
            }
        }
    };
}

identifier! {
    /// The id of a job, chosen by its publisher.
    JobId
}
identifier! {
    /// The id of one execution of a job.
    RunId
}

impl RunId {
    /// The run of a start message that names none: the same for every redelivery of that message.
    #[must_use]
    pub fn derived(job: &JobId, message_id: &str) -> Self {
        let name = format!("{job}\n{message_id}");
        Self(uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_OID, name.as_bytes()).to_string())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn accepts_the_documented_grammar() {
        for id in ["a", "7", "my-bot-123", "A_b-C", &"x".repeat(128)] {
            assert!(id.parse::<JobId>().is_ok(), "{id}");
        }
    }

    /// compat.md 4: `../` in an id escaped the job's directory.
    #[test]
    fn compat_4_an_id_cannot_leave_its_directory() {
        let long = "x".repeat(129);
        for id in ["", "..", "../x", "a/b", "-rf", "_x", "a b", "a\n", "ä", "a\0", "$(id)", &long]
        {
            assert!(id.parse::<JobId>().is_err(), "{id:?}");
        }
    }

    #[test]
    fn a_derived_run_is_stable_and_separates_jobs() {
        let (a, b): (JobId, JobId) = ("a".parse().unwrap(), "b".parse().unwrap());
        assert_eq!(RunId::derived(&a, "m1"), RunId::derived(&a, "m1"));
        assert_ne!(RunId::derived(&a, "m1"), RunId::derived(&a, "m2"));
        assert_ne!(RunId::derived(&a, "m1"), RunId::derived(&b, "m1"));
    }

    proptest! {
        #[test]
        fn whatever_is_accepted_is_one_plain_path_component(text in ".{0,140}") {
            if let Ok(id) = text.parse::<JobId>() {
                let path = std::path::Path::new(id.as_str());
                prop_assert_eq!(path.components().count(), 1);
                prop_assert_eq!(path.file_name().and_then(|n| n.to_str()), Some(id.as_str()));
            }
        }
    }
}
