//! Which texts of a start message must be seen nowhere.

use serde_json::Value;

use super::violation::violation;
use super::{Executable, Violation};

/// The shortest text that can be masked, in bytes: a shorter one is part of half the words
/// there are.
pub const MIN_SECRET_BYTES: usize = 4;

/// The most secrets that a message may name.
const MAX_SECRETS: usize = 100;

/// The longest text that is masked, in bytes: a private key with room to spare, and in every way to
/// write it shorter than the longest line of a log.
const MAX_SECRET_BYTES: usize = 8 * 1024;

/// All texts of a message together, in bytes: what looks for them takes memory for each.
const MAX_ALL_BYTES: usize = 64 * 1024;

/// The texts that `secrets` names: by the name of a variable, or by a JSON Pointer into the config.
pub(super) fn find_secrets(executable: &Executable, found: &mut Vec<Violation>) -> Vec<String> {
    let names = &executable.secrets;
    if names.len() > MAX_SECRETS {
        let problem = format!("has {} names, more than {MAX_SECRETS}", names.len());
        found.push(violation("secrets", problem));
        return Vec::new();
    }
    let mut texts = Vec::new();
    for (number, name) in names.iter().enumerate() {
        let problem = match text_of(executable, name) {
            Ok(text) if text.len() < MIN_SECRET_BYTES => {
                format!("is shorter than {MIN_SECRET_BYTES} bytes: it cannot be masked")
            }
            Ok(text) if text.len() > MAX_SECRET_BYTES => {
                format!("is longer than {MAX_SECRET_BYTES} bytes: it cannot be masked")
            }
            Ok(text) => {
                texts.push(text.to_owned());
                continue;
            }
            Err(problem) => problem.to_owned(),
        };
        found.push(violation(&format!("secrets[{number}]"), problem));
    }
    if texts.iter().map(String::len).sum::<usize>() > MAX_ALL_BYTES {
        let problem =
            format!("are more than {MAX_ALL_BYTES} bytes together: they cannot be masked");
        found.push(violation("secrets", problem));
    }
    texts
}

/// What may be masked of a message that is not a valid one: as much as can be read of it.
#[must_use]
pub fn secrets_of_invalid(body: &[u8]) -> Vec<String> {
    let Ok(message) = serde_json::from_slice::<Value>(body) else {
        return Vec::new();
    };
    let all = message.get("secrets").and_then(Value::as_array);
    let names = all.into_iter().flatten().filter_map(Value::as_str).take(MAX_SECRETS);
    let found = names.filter_map(|name| {
        let value = match name.strip_prefix('/') {
            Some(_) => message.get("config")?.pointer(name)?,
            None => message.get("env")?.get(name)?,
        };
        value.as_str()
    });
    let bounds = MIN_SECRET_BYTES..=MAX_SECRET_BYTES;
    found.filter(|text| bounds.contains(&text.len())).map(str::to_owned).collect()
}

/// The text that a name leads to. What is wrong never repeats the name: somebody may have written the
/// secret itself in its place.
fn text_of<'a>(executable: &'a Executable, name: &str) -> Result<&'a str, &'static str> {
    let Some(pointer) = name.strip_prefix('/') else {
        let value = executable.env.get(name).map(String::as_str);
        return value.ok_or("is no variable in env; a place in config begins with a slash");
    };
    let (first, rest) = match pointer.split_once('/') {
        Some((first, rest)) => (first, format!("/{rest}")),
        None => (pointer, String::new()),
    };
    let first = first.replace("~1", "/").replace("~0", "~");
    let value = executable.config.get(&first).and_then(|value| value.pointer(&rest));
    match value {
        Some(Value::String(text)) => Ok(text),
        Some(_) => Err("is not a text in config"),
        None => Err("is not in config"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::job::parse_executable;

    fn found(secrets: &Value) -> Result<Vec<String>, String> {
        let message = json!({
            "id": "job-1",
            "runtime": "python3.11",
            "entrypoint": "backtest",
            "entrypoint_files": {"backtest": "backtest.py"},
            "file_path": "job-1.zip",
            "config": {"exchange": {"key": "in config", "pin": 12345}, "a/b": ["in a list"]},
            "env": {
                "API_KEY": "in env",
                "PIN": "123",
                "LONG": "x".repeat(MAX_SECRET_BYTES + 1),
                "MOST": "y".repeat(MAX_SECRET_BYTES),
            },
            "secrets": secrets,
            "is_long_running": false,
            "persist_results": true,
        });
        let executable = parse_executable(message.to_string().as_bytes()).unwrap();
        let mut violations = Vec::new();
        let secrets = find_secrets(&executable, &mut violations);
        match violations.first() {
            None => Ok(secrets),
            Some(violation) => Err(violation.to_string()),
        }
    }

    #[test]
    fn secrets_are_found_in_variables_and_in_the_config() {
        let names = json!(["API_KEY", "/exchange/key", "/a~1b/0"]);
        assert_eq!(found(&names).unwrap(), ["in env", "in config", "in a list"]);
    }

    #[test]
    fn a_name_that_leads_to_no_text_is_refused() {
        for (name, problem) in [
            ("NONE", "is no variable in env"),
            ("exchange", "is no variable in env"),
            ("/exchange/none", "is not in config"),
            ("/exchange/pin", "is not a text in config"),
            ("/exchange", "is not a text in config"),
            ("PIN", "is shorter than 4 bytes"),
            ("LONG", "is longer than 8192 bytes"),
        ] {
            let said = found(&json!([name])).unwrap_err();
            assert!(said.starts_with("secrets[0]: ") && said.contains(problem), "{said}");
            assert!(!said.contains(&format!("{name:?}")), "{said}");
        }
        let said = found(&json!(vec!["API_KEY"; 101])).unwrap_err();
        assert!(said.contains("more than 100"), "{said}");
        let said = found(&json!(vec!["MOST"; 9])).unwrap_err();
        assert!(said.contains("more than 65536 bytes together"), "{said}");
    }

    #[test]
    fn of_an_invalid_message_the_secrets_are_found_that_can_be() {
        let body = json!({
            "id": 5,
            "env": {"KEY": "in env", "N": 5},
            "config": {"a": ["in config"]},
            "secrets": ["KEY", "N", "/a/0", "/b", 7],
        });
        assert_eq!(secrets_of_invalid(body.to_string().as_bytes()), ["in env", "in config"]);
        assert_eq!(secrets_of_invalid(b"{").len(), 0);
    }
}
