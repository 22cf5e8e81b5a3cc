//! Whether a start message may ask for its inputs.

use super::request::Input;
use crate::archive::{ArchiveCaps, RESULT_FILE, is_plain_name};
use crate::object::{check_key, check_sha256};
use crate::violation::{MAX_VIOLATIONS, Violation, quoted, violation};

/// The longest path of an input, in bytes.
const MAX_PATH_BYTES: usize = 512;

/// How many folders deep an input may lie, with its own name counted as one.
const MAX_DEPTH: usize = 16;

/// The inputs of a message whose script is `script`; `most` is how many this worker allows.
pub(crate) fn check(
    inputs: Vec<Input>,
    script: &str,
    most: u32,
    found: &mut Vec<Violation>,
) -> Vec<Input> {
    let count = inputs.len();
    if count > usize::try_from(most).unwrap_or(usize::MAX) {
        let problem =
            format!("are {count}, more than the {most} that this worker allows (BOT_INPUTS_MAX)");
        found.push(violation("inputs", problem));
        return inputs;
    }
    for (number, input) in inputs.iter().enumerate() {
        if found.len() >= MAX_VIOLATIONS {
            found.push(violation("inputs", "have more that is wrong than is told here"));
            break;
        }
        check_key(&format!("inputs[{number}].key"), &input.key, "an object", found);
        if let Some(sha256) = &input.sha256 {
            check_sha256(&format!("inputs[{number}].sha256"), sha256, found);
        }
        let checked = check_path(&input.path, script)
            .and_then(|()| check_beside(&input.path, &inputs[..number]));
        if let Err(problem) = checked {
            let problem = format!("{} {problem}", quoted(&input.path));
            found.push(violation(&format!("inputs[{number}].path"), problem));
        }
    }
    inputs
}

/// Whether an object with this key may be an input.
///
/// # Errors
///
/// What is wrong with it, as the end of a sentence.
pub fn check_key_of(key: &str) -> Result<(), String> {
    let mut found = Vec::new();
    check_key("key", key, "an object", &mut found);
    found.into_iter().next().map_or(Ok(()), |violation| Err(violation.problem))
}

/// What is wrong with a path, as the end of a sentence.
fn check_path(path: &str, script: &str) -> Result<(), String> {
    if path.is_empty() || path.len() > MAX_PATH_BYTES {
        return Err(format!("has not 1 to {MAX_PATH_BYTES} bytes"));
    }
    if path.starts_with('/') {
        return Err("is absolute: it must be relative to the code".to_owned());
    }
    if path.split('/').any(|part| part == ".." || part == ".") {
        return Err("has a '.' or '..' part".to_owned());
    }
    if path.ends_with('/') {
        return Err("ends in '/': leave that out, also with unpack".to_owned());
    }
    let caps = ArchiveCaps { max_depth: MAX_DEPTH, ..ArchiveCaps::new(0, 0) };
    is_plain_name(path, &caps)?;
    if path == RESULT_FILE {
        return Err("is where the result goes".to_owned());
    }
    if path == script {
        return Err("is the script that runs".to_owned());
    }
    Ok(())
}

/// Whether a path clashes with those before it.
fn check_beside(path: &str, before: &[Input]) -> Result<(), String> {
    let is_below =
        |one: &str, other: &str| one.strip_prefix(other).is_some_and(|rest| rest.starts_with('/'));
    for (number, other) in before.iter().enumerate() {
        if path == other.path {
            return Err(format!("is the path of inputs[{number}] as well"));
        }
        if is_below(path, &other.path) {
            return Err(format!("lies below the path of inputs[{number}]"));
        }
        if is_below(&other.path, path) {
            return Err(format!("is a folder above the path of inputs[{number}]"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::{Bounds, Job, parse_executable};

    fn inputs(inputs: &Value) -> Result<Vec<Input>, String> {
        let message = json!({
            "id": "a", "runtime": "python3.11", "entrypoint": "backtest", "file_path": "a.zip",
            "entrypoint_files": {"backtest": "src/main.py"}, "config": {}, "persist_results": false,
            "is_long_running": false, "inputs": inputs,
        });
        let read = parse_executable(message.to_string().as_bytes()).map_err(|e| e.to_string())?;
        let bounds = Bounds { max_inputs: 3, ..Bounds::default() };
        let job = Job::validate(read.clone(), &bounds, None);
        // What was accepted under wider bounds goes on, and nothing else does.
        let admitted = Job::validate(read.clone(), &bounds.admitting(&read), None);
        let are_too_many = job.as_ref().is_err_and(|e| e.to_string().contains("BOT_INPUTS_MAX"));
        assert!(admitted.is_ok() == job.is_ok() || are_too_many);
        job.map(|job| job.inputs).map_err(|error| error.to_string())
    }

    fn at(path: &str) -> Value {
        json!({"key": "k", "path": path})
    }

    #[test]
    fn a_run_may_ask_for_inputs_within_the_bounds() {
        assert_eq!(inputs(&json!([])), Ok(Vec::new()));
        let one = json!({
            "key": "prices/btc.parquet", "path": "data/btc.parquet", "sha256": "0".repeat(64),
            "unpack": true,
        });
        let read = inputs(&json!([one, at("data/eth"), at("src/x.csv")])).unwrap();
        assert_eq!(serde_json::to_value(&read[0]).unwrap(), one);
        assert_eq!((read[1].sha256.as_deref(), read[1].unpack), (None, false));
        let said = inputs(&json!([at("a"), at("b"), at("c"), at("d")])).unwrap_err();
        assert_eq!(said, "inputs: are 4, more than the 3 that this worker allows (BOT_INPUTS_MAX)");
    }

    #[test]
    fn a_path_stays_among_the_files_of_the_code_and_takes_the_place_of_none_that_is_known() {
        for (path, reason) in [
            ("", "has not 1 to 512 bytes"),
            (&*"a".repeat(513), "has not 1 to 512 bytes"),
            ("/etc/passwd", "is absolute"),
            ("../x", "'.' or '..' part"),
            ("a/../../x", "'.' or '..' part"),
            ("./x", "'.' or '..' part"),
            ("a//x", "an empty part"),
            ("a/", "ends in '/'"),
            ("a\\x", "a backslash"),
            ("a\nx", "a control character"),
            ("a\u{202e}x", "hides or reorders"),
            (".longshore/lease", "Longshore's own"),
            (".Longshore", "Longshore's own"),
            ("result.json", "where the result goes"),
            ("result.json/x", "makes a folder of result.json"),
            ("src/main.py", "the script that runs"),
            (&*["a"; 17].join("/"), "lies deeper than 16 folders"),
        ] {
            let said = inputs(&json!([at(path)])).unwrap_err();
            assert!(
                said.starts_with("inputs[0].path: ") && said.contains(reason),
                "{path}: {said}"
            );
        }
        assert!(inputs(&json!([at(&["a"; 16].join("/"))])).is_ok());
        let longest = format!("{}/{}/c", "a".repeat(254), "b".repeat(255));
        assert!(longest.len() == 512 && inputs(&json!([at(&longest)])).is_ok());
        for (paths, reason) in [
            (["a", "a"], "is the path of inputs[0] as well"),
            (["a", "a/b"], "lies below the path of inputs[0]"),
            (["a/b", "a"], "is a folder above the path of inputs[0]"),
        ] {
            let said = inputs(&json!(paths.map(at))).unwrap_err();
            assert!(said.starts_with("inputs[1].path: ") && said.contains(reason), "{said}");
        }
        assert!(inputs(&json!([at("a/b"), at("a/bc")])).is_ok());
    }

    #[test]
    fn keys_hashes_and_shapes_are_checked() {
        let with = |field: &str, value: Value| {
            let mut one = at("x");
            one[field] = value;
            inputs(&json!([one])).unwrap_err()
        };
        for key in ["", "../x", "a/", "a\\b", "a\nb"] {
            assert!(with("key", json!(key)).starts_with("inputs[0].key: "), "{key}");
        }
        for sha256 in ["", "A", &*"A".repeat(64)] {
            assert!(with("sha256", json!(sha256)).starts_with("inputs[0].sha256: "), "{sha256}");
        }
        assert!(with("mode", json!(1)).contains("mode"));
        for shape in [json!(["k", "x"]), json!(null), json!("k")] {
            assert!(inputs(&json!([shape])).unwrap_err().starts_with("inputs[0]"), "{shape}");
        }
        assert!(inputs(&json!({})).unwrap_err().starts_with("inputs"));
    }
}
