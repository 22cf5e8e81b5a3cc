//! Which texts of a start message must be masked everywhere.

use super::json::{Found, MAX_DEPTH, find_texts};
use super::violation::violation;
use super::{Executable, Violation};

/// The shortest text that can be masked, in bytes. A shorter one is part of too many words.
pub const MIN_SECRET_BYTES: usize = 4;

/// The most secrets that a message may name.
const MAX_SECRETS: usize = 100;

/// The longest text that is masked, in bytes: a private key with room to spare. However it is
/// written, it is shorter than the longest line of a log.
const MAX_SECRET_BYTES: usize = 8 * 1024;

/// All texts of a message together, in bytes. The search for them takes some eighty times as much
/// memory, for every run with different secrets.
const MAX_ALL_BYTES: usize = 32 * 1024;

/// The texts that `secrets` names: by the name of a variable, or by a JSON Pointer into the config.
/// An error never repeats the name, because the publisher may have written the secret itself there.
pub(super) fn find_secrets(executable: &Executable, found: &mut Vec<Violation>) -> Vec<String> {
    let names = &executable.secrets;
    if names.len() > MAX_SECRETS {
        let problem = format!("has {} names, more than {MAX_SECRETS}", names.len());
        found.push(violation("secrets", problem));
        return Vec::new();
    }
    let in_config = executable.config.find(names);
    let mut texts = Vec::new();
    for (number, (name, place)) in names.iter().zip(in_config).enumerate() {
        let text = match (name.starts_with('/'), place) {
            (false, _) => executable
                .env
                .get(name)
                .cloned()
                .ok_or("is no variable in env; a place in config begins with a slash"),
            (true, Found::Text(text)) => Ok(text),
            (true, Found::NotText) => Err("is not a text in config"),
            (true, Found::Nothing) => Err("is not in config"),
        };
        let problem = match text {
            Ok(text) if text.len() < MIN_SECRET_BYTES => {
                format!("is shorter than {MIN_SECRET_BYTES} bytes: it cannot be masked")
            }
            Ok(text) if text.len() > MAX_SECRET_BYTES => {
                format!("is longer than {MAX_SECRET_BYTES} bytes: it cannot be masked")
            }
            Ok(text) => {
                texts.push(text);
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

/// What can be masked of an invalid message: as much as can be read.
#[must_use]
pub fn secrets_of_invalid(body: &[u8]) -> Vec<String> {
    let find = |pointers: &[String]| find_texts(body, pointers, MAX_DEPTH).unwrap_or_default();
    let numbered: Vec<_> = (0..MAX_SECRETS).map(|number| format!("/secrets/{number}")).collect();
    let places = find(&numbered).into_iter().filter_map(|name| match name {
        Found::Text(name) if name.starts_with('/') => Some(format!("/config{name}")),
        Found::Text(name) => Some(format!("/env/{}", name.replace('~', "~0").replace('/', "~1"))),
        _ => None,
    });
    let bounds = MIN_SECRET_BYTES..=MAX_SECRET_BYTES;
    let texts = find(&places.collect::<Vec<_>>()).into_iter().filter_map(|found| match found {
        Found::Text(text) if bounds.contains(&text.len()) => Some(text),
        _ => None,
    });
    texts.collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::parse_executable;

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
        assert!(said.contains("more than 32768 bytes together"), "{said}");
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
        let huge = body.to_string().replace("\"N\":5", "\"N\":1e999");
        assert_eq!(secrets_of_invalid(huge.as_bytes()), ["in env", "in config"]);
        assert_eq!(secrets_of_invalid(b"{").len(), 0);
    }
}
