//! The flag for inputs.

use serde_json::{Map, Value, json};

use crate::cli::Failure;

/// Adds the inputs of the flags, `KEY=PATH` each; one at the same path goes.
pub(super) fn lay_over(flags: &[String], message: &mut Map<String, Value>) -> Result<(), Failure> {
    for flag in flags {
        let input = input(flag)?;
        let inputs = message.entry("inputs").or_insert_with(|| json!([]));
        if inputs.is_null() {
            *inputs = json!([]);
        }
        // Anything else stays, and the check of the message refuses it.
        if let Value::Array(inputs) = inputs {
            inputs.retain(|other| other["path"] != input["path"]);
            inputs.push(input);
        }
    }
    Ok(())
}

fn input(flag: &str) -> Result<Value, Failure> {
    let (key, path) = flag
        .rsplit_once('=')
        .filter(|(key, path)| !key.is_empty() && !path.is_empty())
        .ok_or_else(|| {
            Failure::Usage(format!("--input {flag:?} is not of the form KEY=PATH or KEY=FOLDER/"))
        })?;
    Ok(match path.strip_suffix('/') {
        Some(folder) => json!({ "key": key, "path": folder, "unpack": true }),
        None => json!({ "key": key, "path": path }),
    })
}
