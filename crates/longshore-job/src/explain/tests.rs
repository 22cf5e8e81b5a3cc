use schemars::schema_for;
use serde_json::json;

use super::*;
use crate::{Executable, StopRequest};

fn said(message: &Value) -> Vec<String> {
    let schema = schema_for!(Executable).to_value();
    explain(message, &schema, "a start message").iter().map(ToString::to_string).collect()
}

fn good() -> Value {
    longshore_testing::hostile::messages::good("job-1")
}

fn said_of(field: &str, value: Value) -> String {
    let mut message = good();
    message[field] = value;
    said(&message).join("; ")
}

#[test]
fn a_good_message_has_no_complaints() {
    assert_eq!(said(&good()), [""; 0]);
    let mut with_nulls = good();
    for field in ["run_id", "limits", "network", "restart", "timeout_seconds"] {
        with_nulls[field] = Value::Null;
    }
    assert_eq!(said(&with_nulls), [""; 0]);
}

#[test]
fn a_wrong_type_names_the_field_what_came_and_what_is_allowed() {
    let runtimes = format!("runtime: must be {A_RUNTIME}, not ");
    let kinds = "entrypoint: must be \"bot\" or \"backtest\", not ";
    let networks = "network: must be \"host\", \"bridge\" or \"none\", not ";
    let whens = "restart.when: must be \"on_failure\" or \"always\", not ";
    for (value, came) in [
        (json!(null), "null"),
        (json!(7), "a number"),
        (json!(true), "true"),
        (json!(["python3.11"]), "an array"),
        (json!({"a": 1}), "an object"),
        (json!("perl5"), "\"perl5\""),
    ] {
        // Which names there are is for the worker to say.
        let said = if value.is_string() { String::new() } else { format!("{runtimes}{came}") };
        assert_eq!(said_of("runtime", value.clone()), said);
        assert_eq!(said_of("entrypoint", value.clone()), format!("{kinds}{came}"));
        if !value.is_null() {
            assert_eq!(said_of("network", value.clone()), format!("{networks}{came}"));
        }
        let restart = json!({"when": value});
        assert_eq!(said_of("restart", restart), format!("{whens}{came}"));
    }
    for (field, value, expected) in [
        ("is_long_running", json!("false"), "must be true or false, not a string: leave out"),
        ("is_long_running", json!(0), "must be true or false, not a number"),
        ("timeout_seconds", json!("60"), "must be a whole number, not a string: leave out"),
        ("timeout_seconds", json!(1.5), "must be a whole number, without a point"),
        ("timeout_seconds", json!(1e30), "must be a whole number, without a point"),
        ("timeout_seconds", json!(-1), "is -1, less than the 1 required"),
        ("max_attempts", json!(5_000_000_000_u64), "is 5000000000, not between 1 and 100"),
        ("config", json!("{\"a\": 1}"), "must be an object, not a string: send it as it is"),
        ("config", json!([1]), "must be an object, not an array"),
        ("secrets", json!({"A": 1}), "must be an array, not an object"),
        ("file_path", json!(7), "must be a string, not a number: put it in quotes"),
        ("limits", json!([1, 2]), "must be an object, not an array"),
    ] {
        let said = said_of(field, value);
        assert!(said.starts_with(&format!("{field}: {expected}")), "{said}");
    }
    assert_eq!(
        said_of("env", json!({"A": 1, "B": "b", "C": null})),
        "env.A: must be a string, not a number: put it in quotes; \
         env.C: must be a string, not null"
    );
    assert_eq!(
        said_of("secrets", json!(["A", 1])),
        "secrets[1]: must be a string, not a number: put it in quotes"
    );
    for bad in ["", "a b", "../x", "\u{202e}"] {
        let said = said_of("runtime", json!(bad));
        assert!(said.contains("is not the name of a runtime: 1 to 64"), "{said}");
    }
    assert!(said_of("id", json!("../x")).starts_with("id: \"../x\" is not an id: 1 to 128"));
}

#[test]
fn every_missing_field_is_named_with_what_it_must_be() {
    let said = said(&json!({"id": "a", "config": {}, "is_long_running": false}));
    assert_eq!(
        said,
        [
            format!("runtime: is missing, and must be {A_RUNTIME}").as_str(),
            "entrypoint: is missing, and must be \"bot\" or \"backtest\"",
            "entrypoint_files: is missing, and must be an object",
            "file_path: is missing, and must be a string",
            "persist_results: is missing, and must be true or false",
        ]
    );
}

#[test]
fn an_unknown_field_is_told_with_the_one_that_was_meant() {
    for (name, meant) in [
        ("filePath", "file_path"),
        ("isLongRunning", "is_long_running"),
        ("time_out_seconds", "timeout_seconds"),
        ("entrypoint_file", "entrypoint_files"),
        ("environment", "env"),
    ] {
        let said = said_of(name, json!(1));
        let is_slip =
            said == format!("{name}: is not a field of a start message; did you mean {meant:?}?");
        assert!(is_slip || meant == "env", "{said}");
    }
    let said = said_of("colour", json!("red"));
    assert!(said.starts_with("colour: is not a field of a start message, which has "), "{said}");
    assert!(said.contains("id, ") && said.contains(" and "), "{said}");
    let said = said_of("limits", json!({"memory": 1}));
    assert_eq!(said, "limits.memory: is not a field of limits; did you mean \"memory_mb\"?");
    assert!(said_of("", json!(1)).starts_with("\"\": is not a field"), "{said}");
}

#[test]
fn no_more_is_told_than_fits() {
    let mut message = good();
    for number in 0..1000 {
        message[format!("f{number}")] = json!(1);
    }
    assert_eq!(said(&message).len(), MAX_VIOLATIONS);
}

#[test]
fn a_stop_is_explained_by_its_own_schema() {
    let schema = schema_for!(StopRequest).to_value();
    let stop = json!({"id": 7, "timeout_seconds": -1, "now": true});
    let found = explain(&stop, &schema, "a stop message");
    let said = found.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
    for part in [
        "id: must be a string, not a number",
        "timeout_seconds: is -1, less than the 0 required",
        "now: is not a field of a stop message, which has id, ",
    ] {
        assert!(said.contains(part), "{said}");
    }
}
