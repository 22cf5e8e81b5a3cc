//! Reads start messages that a worker accepted and stored earlier, perhaps one of a later version.

use std::collections::BTreeMap;

use serde_json::value::RawValue;
use serde_path_to_error::Segment;

use crate::read::parse_executable;
use crate::{Executable, MessageError};

/// How many unknown fields of a stored message are left out. A message with more is refused.
const MAX_UNKNOWN: usize = 64;

/// Reads the text of a start message that was accepted earlier. Fields that this version does not
/// know are left out: the job runs already, and must not be lost because an older worker takes it
/// up. What is not left out keeps its text, to the last digit.
///
/// # Errors
///
/// [`MessageError`] about anything else that is wrong.
pub fn parse_stored_executable(text: &[u8]) -> Result<Executable, MessageError> {
    // As a rule there are none, and the text is neither copied nor read twice.
    let parsed = parse_executable(text);
    if parsed.is_ok() {
        return parsed;
    }
    let mut known = text.to_vec();
    for _ in 0..MAX_UNKNOWN {
        let Some(shorter) = unknown_field(&known).and_then(|path| without(&known, &path)) else {
            break;
        };
        known = shorter;
    }
    parse_executable(&known)
}

/// The path to the first field that this version does not know.
fn unknown_field(text: &[u8]) -> Option<Vec<String>> {
    let mut reader = serde_json::Deserializer::from_slice(text);
    let error = serde_path_to_error::deserialize::<_, Executable>(&mut reader).err()?;
    if !error.inner().to_string().starts_with("unknown field") {
        return None;
    }
    let name = |segment: &Segment| match segment {
        Segment::Map { key } => Some(key.clone()),
        _ => None,
    };
    error.path().iter().map(name).collect()
}

/// The text of an object without the field at a path.
fn without(text: &[u8], path: &[String]) -> Option<Vec<u8>> {
    let mut fields: BTreeMap<String, Box<RawValue>> = serde_json::from_slice(text).ok()?;
    match path {
        [] => return None,
        [name] => drop(fields.remove(name)?),
        [name, inner @ ..] => {
            let shorter = without(fields.get(name)?.get().as_bytes(), inner)?;
            let shorter = RawValue::from_string(String::from_utf8(shorter).ok()?).ok()?;
            fields.insert(name.clone(), shorter);
        }
    }
    serde_json::to_vec(&fields).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: &str = concat!(
        r#""id":"a","runtime":"python3.11","entrypoint":"bot","entrypoint_files":{"bot":"main.py"},"#,
        r#""file_path":"a.zip","is_long_running":true,"persist_results":false,"#,
        r#""config":{"z":1.50,"a":12345678901234567890123}"#
    );

    #[test]
    fn fields_of_a_later_version_are_left_out_wherever_they_are() {
        let known = parse_executable(format!("{{{KNOWN}}}").as_bytes()).unwrap();
        for unknown in [
            r#""later":{"deep":[1,2]}"#,
            r#""later":1,"still_later":"x""#,
            r#""restart":{"when":"always","later":true}"#,
        ] {
            let text = format!("{{{unknown},{KNOWN}}}");
            assert!(parse_executable(text.as_bytes()).is_err(), "{text}");
            let read = parse_stored_executable(text.as_bytes()).unwrap();
            assert_eq!(read.id, known.id, "{text}");
            assert_eq!(format!("{:?}", read.config), format!("{:?}", known.config), "{text}");
        }
    }

    #[test]
    fn anything_else_that_is_wrong_is_still_refused() {
        for text in ["", "[]", "{}", r#"{"later":1}"#, r#"{"id":7,"later":1}"#, "{\"id\":"] {
            assert!(parse_stored_executable(text.as_bytes()).is_err(), "{text}");
        }
    }
}
