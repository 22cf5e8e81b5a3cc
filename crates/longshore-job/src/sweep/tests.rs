//! From a start message to the configs of its sweep.

use serde_json::{Value, json};

use super::*;
use crate::{Bounds, Job, parse_executable};

fn validated(sweep: &str, more: &Value) -> Result<Sweep, String> {
    let mut message = json!({
        "id": "job-1", "runtime": "python3.11", "entrypoint": "backtest",
        "entrypoint_files": {"backtest": "backtest.py"}, "file_path": "code.zip",
        "config": {"fast": 1, "risk": {"stop": 1}, "list": [1], "key": "a secret"},
        "is_long_running": false, "persist_results": true, "secrets": ["/key"], "timeout_seconds": 100,
    });
    message.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    // As text, because the order of keys counts.
    let text = message.to_string();
    let text = format!("{},\"sweep\":{sweep}}}", &text[..text.len() - 1]);
    let executable = parse_executable(text.as_bytes()).map_err(|error| error.to_string())?;
    let job = Job::validate(executable, &Bounds::default(), None);
    job.map(|job| job.sweep.unwrap()).map_err(|error| error.to_string())
}

fn configs(sweep: &str) -> Configs {
    match validated(sweep, &json!({})).unwrap().source {
        Source::Message(configs) => configs,
        Source::Object { .. } => panic!("they are elsewhere"),
    }
}

fn patches(configs: &Configs) -> Vec<String> {
    (0..configs.count().unwrap()).map(|index| configs.patch(index)).collect()
}

/// Other programs that expand or lay over configs can be tried with the same file.
#[test]
fn every_vector_expands_to_what_it_says() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../schemas/sweep-vectors.json");
    let vectors: Vec<Vector> =
        serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    assert!(vectors.len() >= 5);
    for vector in vectors {
        let found = patches(&configs(vector.sweep.get()));
        let expected: Vec<_> =
            vector.patches.iter().map(|patch| patch.get().replace(' ', "")).collect();
        assert_eq!(found, expected, "{}", vector.name);
        for (patch, whole) in vector.patches.iter().zip(&vector.configs) {
            let patch: Value = serde_json::from_str(patch.get()).unwrap();
            let mut config = vector.config.clone();
            lay_over(&mut config, &patch);
            assert_eq!(config, *whole, "{}", vector.name);
        }
    }
}

#[derive(serde::Deserialize)]
struct Vector {
    name: String,
    config: Value,
    sweep: Box<serde_json::value::RawValue>,
    patches: Vec<Box<serde_json::value::RawValue>>,
    configs: Vec<Value>,
}

/// RFC 7396.
fn lay_over(config: &mut Value, patch: &Value) {
    let Value::Object(fields) = patch else {
        *config = patch.clone();
        return;
    };
    if !config.is_object() {
        *config = json!({});
    }
    for (name, value) in fields {
        match value {
            Value::Null => drop(config.as_object_mut().unwrap().remove(name)),
            value => lay_over(&mut config[name], value),
        }
    }
}

#[test]
fn the_last_key_of_the_message_changes_fastest() {
    let grid = configs(r#"{"grid": {"z": [1, 2], "a": ["x", null, 1.50]}}"#);
    let expected =
        [r#"{"z":1,"a":"x"}"#, r#"{"z":1,"a":null}"#, r#"{"z":1,"a":1.50}"#, r#"{"z":2,"a":"x"}"#];
    assert_eq!(patches(&grid)[..4], expected);
    let bytes: usize = patches(&grid).iter().map(String::len).sum();
    assert!(bytes as u64 <= grid.most_bytes(), "{bytes}");
}

#[test]
fn a_sample_stays_within_its_bounds_and_is_the_same_each_time() {
    let sweep = r#"{"sample": {"n": 500, "seed": 3, "keys": {
        "a": {"int": [-3, 3]}, "b": {"uniform": [0.5, 2]}, "c": {"log_uniform": [0.001, 10]}, "d": {"choice": [1, "x"]}
    }}}"#;
    let sample = patches(&configs(sweep));
    assert_eq!(sample, patches(&configs(sweep)));
    let values: Vec<Value> = sample.iter().map(|it| serde_json::from_str(it).unwrap()).collect();
    let all = |name: &str| values.iter().map(|it| it[name].clone()).collect::<Vec<_>>();
    for number in -3..=3 {
        assert!(all("a").contains(&json!(number)), "{number} is never drawn");
    }
    assert!(all("b").iter().all(|it| (0.5..2.0).contains(&it.as_f64().unwrap())));
    let below = all("c").iter().filter(|it| it.as_f64().unwrap() < 0.1).count();
    assert!((200..300).contains(&below), "half of a logarithmic scale: {below}");
    assert!(all("d").contains(&json!(1)) && all("d").contains(&json!("x")));
}

#[test]
fn lines_are_configs() {
    let read = read_lines("\u{feff}{\"a\": 1}\r\n\n{\"b\": {}}".as_bytes()).unwrap();
    assert_eq!(patches(&read), [r#"{"a":1}"#, r#"{"b":{}}"#]);
    assert_eq!(read_lines(b"{}\n[1]").unwrap_err(), "line 2: is not an object");
    assert!(read_lines(b"{}\n{").unwrap_err().starts_with("line 2: is not valid JSON"));
    assert_eq!(read_lines(b"\n").unwrap_err(), "has no configs");
    let sweep = validated(r#"{"configs_key": "k.jsonl"}"#, &json!({})).unwrap();
    assert!(sweep.admit(&read_lines(b"{\"fast\": 2}").unwrap()).is_ok());
    let problem = sweep.admit(&read_lines(b"{}\n{\"key\": 2}").unwrap()).unwrap_err();
    assert_eq!(problem, "config 1 changes a secret of the message");
}

#[test]
fn mistakes_say_where_and_what_to_do() {
    for (sweep, said) in [
        ("{}", "sweep: needs exactly one of grid, configs, sample and configs_key"),
        (r#"{"grid": {"a": [1]}, "configs": [{}]}"#, "needs exactly one of"),
        (r#"{"grid": {}}"#, "sweep.grid: has no keys"),
        (r#"{"grid": {"a": []}}"#, "sweep.grid.a: has no values"),
        (r#"{"grid": {"a": 5}}"#, "neither a list of values nor"),
        (r#"{"grid": {"a": {"from": 1, "to": 2}}}"#, "missing field `step`"),
        (r#"{"grid": {"a": {"from": 1, "to": 2, "step": -1}}}"#, "sweep.grid.a: leads away"),
        (r#"{"grid": {"a": [1], "a": [2]}}"#, "twice"),
        (r#"{"grid": {"key": ["x"]}}"#, "sweep.grid.key: changes a secret of the message"),
        (r#"{"grid": {"/list/0": [1]}}"#, "leads through /list of config, which is not an object"),
        (r#"{"grid": {"/risk": [{}], "/risk/stop": [1]}}"#, "within the place of another key"),
        (r#"{"configs": [{"a": 1}, {"key": null}]}"#, "sweep.configs[1]: changes a secret"),
        (r#"{"configs": [7]}"#, "sweep.configs[0]: is not an object"),
        (r#"{"configs": []}"#, "sweep.configs: has no configs"),
        (r#"{"sample": {"n": 0, "keys": {"a": {"int": [1, 2]}}}}"#, "has no configs"),
        (
            r#"{"sample": {"n": 1, "keys": {"a": {"int": [2, 1]}}}}"#,
            "sweep.sample.keys.a: is not between two whole numbers",
        ),
        (r#"{"sample": {"n": 1, "keys": {"a": {"log_uniform": [0, 1]}}}}"#, "above 0"),
        (
            r#"{"grid": {"a": {"from": 1, "to": 1000000, "step": 1}}}"#,
            "is 1000000 configs, more than 100000 (SWEEP_MAX_CONFIGS)",
        ),
        (
            r#"{"grid": {"a": {"from": 1, "to": 1000000000000, "step": 1}, "b": {"from": 1, "to": 1000000000000, "step": 1}}}"#,
            "is too many configs",
        ),
        (
            r#"{"grid": {"a": [1]}, "parallel": 65}"#,
            "sweep.parallel: is 65, not between 1 and 64 (SWEEP_MAX_PARALLEL)",
        ),
        (
            r#"{"grid": {"a": [1]}, "timeout_seconds": 101}"#,
            "not between 1 and the 100 of the whole run",
        ),
        (r#"{"grid": {"a": [1]}, "configs_sha256": "0"}"#, "is only for configs_key"),
        (r#"{"grid": {"a": [1]}, "best": {"by": "x", "keep": 101}}"#, "sweep.best.keep: is 101"),
        (r#"{"grid": {"a": [1]}, "isolation": "container"}"#, "container"),
        (r#"{"grid": {"a": [1]}, "later": 1}"#, "later"),
    ] {
        let problem = validated(sweep, &json!({})).unwrap_err();
        assert!(problem.contains(said), "{sweep}: {problem}");
    }
    let grid = r#"{"grid": {"a": [1]}}"#;
    let bot = validated(grid, &json!({"is_long_running": true})).unwrap_err();
    assert!(bot.contains("sweep: is for runs that end by themselves"), "{bot}");
}

#[test]
fn a_runtime_has_the_isolations_that_fit_it() {
    let with = |runtime: &str, isolation: &str| {
        let sweep = format!("{{\"grid\": {{\"a\": [1]}}{isolation}}}");
        validated(&sweep, &json!({"runtime": runtime}))
    };
    for (runtime, isolation, expected) in [
        ("python3.11", "", Isolation::Fork),
        ("nodejs20", "", Isolation::Isolate),
        ("nodejs24", r#", "isolation": "shared""#, Isolation::Shared),
        ("nodejs20", r#", "isolation": "process""#, Isolation::Process),
        ("python3.13", r#", "isolation": "process""#, Isolation::Process),
    ] {
        assert_eq!(with(runtime, isolation).unwrap().isolation, expected, "{runtime}{isolation}");
    }
    for (runtime, isolation, said) in [
        (
            "nodejs20",
            r#", "isolation": "fork""#,
            r#"sweep.isolation: "fork" is not for the runtime nodejs20, which has "isolate" or "shared" or "process""#,
        ),
        (
            "python3.11",
            r#", "isolation": "shared""#,
            r#"sweep.isolation: "shared" is not for the runtime python3.11, which has "fork" or "process""#,
        ),
        ("shell", "", "sweep: is not for the runtime shell: only for Python and Node.js"),
    ] {
        let problem = with(runtime, isolation).unwrap_err();
        assert!(problem.contains(said), "{problem}");
    }
}
