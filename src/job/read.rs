//! From bytes to a message, or to what is wrong with it.

use serde::de::DeserializeOwned;

use super::pick::pick_texts;
use super::violation::violation;
use super::{Entrypoint, Executable, MessageError, StopRequest, Violation};

/// Reads a start message.
pub fn parse_executable(body: &[u8]) -> Result<Executable, MessageError> {
    parse(body)
}

/// Refuses a message for its size alone, before anything of it is kept.
pub fn check_size(body: &[u8], max_bytes: usize) -> Result<(), MessageError> {
    if body.len() <= max_bytes {
        return Ok(());
    }
    let problem = format!("is {} bytes, more than the {max_bytes} allowed", body.len());
    Err(MessageError::about(body, vec![violation("$", problem)]))
}

/// Reads a stop message.
pub fn parse_stop(body: &[u8]) -> Result<StopRequest, MessageError> {
    let stop: StopRequest = parse(body)?;
    if stop.timeout_seconds > 600 {
        let problem = format!("is {}, more than the 600 allowed", stop.timeout_seconds);
        return Err(MessageError::about(body, vec![violation("timeout_seconds", problem)]));
    }
    Ok(stop)
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, MessageError> {
    // serde would also read a struct from an array, field by field.
    if body.trim_ascii_start().first() == Some(&b'[') {
        return Err(MessageError::about(body, vec![violation("$", "is not a JSON object")]));
    }
    let mut reader = serde_json::Deserializer::from_slice(body);
    let parsed = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let path = match error.path().to_string().as_str() {
            "" | "." | "?" => "$".to_owned(),
            path => path.to_owned(),
        };
        let said = error.inner().to_string();
        let problem = if error.inner().is_data() {
            // The path says where; line and column are those of a text that nobody wrote by hand.
            without_value(said.rsplit_once(" at line ").map_or(said.as_str(), |(said, _)| said))
        } else {
            format!("is not valid JSON: {said}")
        };
        MessageError::about(body, vec![violation(&path, problem)])
    })?;
    reader.end().map_err(|error| {
        MessageError::about(body, vec![violation("$", format!("is not valid JSON: {error}"))])
    })?;
    Ok(parsed)
}

/// A complaint about a value's type without the value: it may be a secret in the wrong place.
fn without_value(said: &str) -> String {
    let Some((problem, expected)) = said.rsplit_once(", expected ") else {
        return said.to_owned();
    };
    let is_about_value =
        ["invalid type: ", "invalid value: "].iter().any(|p| problem.starts_with(p));
    let value = problem.find(['`', '"']).filter(|_| is_about_value);
    let problem = value.map_or(problem, |at| problem[..at].trim_end());
    format!("{problem}, expected {expected}")
}

impl MessageError {
    /// An error about a message of which as much is read as can be.
    fn about(body: &[u8], violations: Vec<Violation>) -> Self {
        let names = ["id", "entrypoint", "run_id"];
        let [id, kind, run_id] = pick_texts(body, names).unwrap_or_default();
        let kinds = [Entrypoint::Bot, Entrypoint::Backtest];
        Self {
            violations,
            id: id.and_then(|id| id.try_into().ok()),
            entrypoint: kinds.into_iter().find(|one| kind.as_deref() == Some(one.as_str())),
            run_id: run_id.and_then(|id| id.try_into().ok()),
        }
    }
}
