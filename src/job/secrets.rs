//! Which texts of a start message must not be seen in logs.

use serde_json::Value;

use super::violation::violation;
use super::{Executable, Violation};

/// The shortest text that can be masked in a log, in bytes: a shorter one is part of half the words
/// there are.
pub const MIN_SECRET_BYTES: usize = 4;

/// The most secrets that a message may name.
const MAX_SECRETS: usize = 100;

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
            Ok(text) if text.len() >= MIN_SECRET_BYTES => {
                texts.push(text.to_owned());
                continue;
            }
            Ok(_) => {
                format!("{name:?} is shorter than {MIN_SECRET_BYTES} bytes: it cannot be masked")
            }
            Err(problem) => problem,
        };
        found.push(violation(&format!("secrets[{number}]"), problem));
    }
    texts
}

fn text_of<'a>(executable: &'a Executable, name: &str) -> Result<&'a str, String> {
    let Some(pointer) = name.strip_prefix('/') else {
        let value = executable.env.get(name).map(String::as_str);
        return value.ok_or_else(|| {
            format!("{name:?} is no variable in env; a place in config begins with a slash")
        });
    };
    let (first, rest) = match pointer.split_once('/') {
        Some((first, rest)) => (first, format!("/{rest}")),
        None => (pointer, String::new()),
    };
    let first = first.replace("~1", "/").replace("~0", "~");
    let value = executable.config.get(&first).and_then(|value| value.pointer(&rest));
    match value {
        Some(Value::String(text)) => Ok(text),
        Some(_) => Err(format!("{name:?} is not a text in config")),
        None => Err(format!("{name:?} is not in config")),
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
            "env": {"API_KEY": "in env", "PIN": "123"},
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
        ] {
            let said = found(&json!([name])).unwrap_err();
            assert!(said.starts_with("secrets[0]: ") && said.contains(problem), "{said}");
        }
        let said = found(&json!(vec!["API_KEY"; 101])).unwrap_err();
        assert!(said.contains("more than 100"), "{said}");
    }
}
