use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::{Launcher, decoded, parse_executable, parse_stop};
use longshore_testing::hostile::messages;

fn bounds() -> Bounds {
    Bounds {
        allowed_networks: vec![Network::Host, Network::None],
        timeout: Duration::from_mins(10),
        max_timeout: Duration::from_hours(1),
        ..Bounds::default()
    }
}

fn message() -> Value {
    json!({
        "id": "job-1",
        "runtime": "python3.11",
        "entrypoint": "backtest",
        "entrypoint_files": {"bot": "main.py", "backtest": "backtest.py"},
        "file_path": "job-1.zip",
        "config": {"fast": 3},
        "is_long_running": false,
        "persist_results": true,
    })
}

fn validate(message: &Value) -> Result<Job, MessageError> {
    let executable = parse_executable(message.to_string().as_bytes())?;
    Job::validate(executable, &bounds(), Some("m-1"))
}

/// What is said about a message that differs from a good one in one field.
fn problem_with(field: &str, value: Value) -> String {
    let mut bad = message();
    bad[field] = value;
    validate(&bad).expect_err(field).to_string()
}

#[test]
fn fills_in_what_the_message_leaves_out() {
    let job = validate(&message()).unwrap();
    assert_eq!(job.script, "backtest.py");
    assert_eq!(job.limits, bounds().limits);
    assert_eq!(job.timeout, Some(Duration::from_mins(10)));
    assert_eq!(job.run_id, RunId::derived(&job.id, "m-1"));
    assert_eq!(job.max_attempts, 3);
}

#[test]
fn a_bot_has_no_time_out_unless_it_asks() {
    let mut bot = message();
    bot["is_long_running"] = json!(true);
    assert_eq!(validate(&bot).unwrap().timeout, None);
    bot["timeout_seconds"] = json!(5);
    assert_eq!(validate(&bot).unwrap().timeout, Some(Duration::from_secs(5)));
}

#[test]
fn every_mistake_names_its_json_path() {
    let cases = [
        ("id", json!("../x"), "id: \"../x\" is not an id"),
        ("runtime", json!("ruby3"), "runtime: must be \"python3.11\""),
        ("entrypoint", json!("cron"), "entrypoint: must be \"bot\" or \"backtest\", not \"cron\""),
        ("entrypoint_files", json!({"bot": "main.py"}), "entrypoint_files: has no file for"),
        ("entrypoint_files", json!({"backtest": "../x.py"}), "entrypoint_files.backtest: "),
        ("entrypoint_files", json!({"backtest": "/x.py"}), "entrypoint_files.backtest: "),
        (
            "entrypoint_files",
            json!({"backtest": "src\\x.py"}),
            "entrypoint_files.backtest: \"src\\\\x.py\" has a backslash",
        ),
        ("file_path", json!(""), "file_path: must be"),
        ("file_path", json!("a/../b"), "file_path: \"a/../b\" has a"),
        ("file_path", json!("bots/a.zip/"), "file_path: \"bots/a.zip/\" ends in '/'"),
        ("file_path", json!("/"), "file_path: \"/\" ends in '/'"),
        ("file_path", json!("bots\\a.zip"), "file_path: \"bots\\\\a.zip\" has a backslash"),
        ("config", json!([1]), "config: must be an object, not an array"),
        ("is_long_running", json!("yes"), "is_long_running: must be true or false, not a string"),
        ("limits", json!({"memory_mb": 4096}), "limits.memory_mb: is 4096, not between"),
        ("limits", json!({"memory": 1}), "limits.memory: is not a field of limits; did you mean"),
        ("limits", json!({"cpus": 0}), "limits.cpus: is 0"),
        ("network", json!("bridge"), "network: \"bridge\" is not allowed"),
        ("timeout_seconds", json!(0), "timeout_seconds: is 0"),
        ("timeout_seconds", json!(9999), "timeout_seconds: is 9999, more than"),
        ("timeout_seconds", json!(-1), "timeout_seconds: is -1, less than the 1 required"),
        ("env", json!({"A B": "x"}), "env.A B: is not the name"),
        ("env", json!({"CONFIG": "x"}), "env.CONFIG: is set by Longshore"),
        ("code_sha256", json!("AB"), "code_sha256: is not 64"),
        ("max_attempts", json!(0), "max_attempts: is 0"),
        ("restart", json!({"when": "always"}), "restart: is for long-running jobs only"),
        ("typo", json!(1), "typo: is not a field of a start message, which has "),
    ];
    for (field, value, expected) in cases {
        let said = problem_with(field, value);
        assert!(said.starts_with(expected), "{field}: {said}");
    }
}

#[test]
fn no_mistake_quotes_a_value_that_may_be_a_secret() {
    let cases = [
        ("env", json!({"API_KEY": 1_234_567_890}), "env.API_KEY: must be a string, not a number"),
        ("env", json!({"API_KEY": ["hush"]}), "env.API_KEY: must be a string, not an array"),
        ("env", json!("hush, expected x"), "env: must be an object, not a string"),
        ("config", json!("hush"), "config: must be an object, not a string"),
        ("id", json!({"hush": "hush"}), "id: must be a string, not an object"),
        (
            "timeout_seconds",
            json!("hush \" `x`"),
            "timeout_seconds: must be a whole number, not a string",
        ),
        ("env", json!({"API_KEY": "hush\u{0}"}), "env.API_KEY: has a NUL"),
        ("secrets", json!(["hush"]), "secrets[0]: is no variable in env"),
    ];
    for (field, value, expected) in cases {
        let said = problem_with(field, value);
        assert!(said.starts_with(expected), "{field}: {said}");
        assert!(!said.contains("hush") && !said.contains("1234567890"), "{field}: {said}");
    }
}

#[test]
fn a_health_check_more_often_than_the_worker_allows_is_refused_with_the_setting() {
    let with_interval = |seconds: u64| {
        let mut bot = message();
        bot["is_long_running"] = json!(true);
        bot["health_check"] = json!({"command": ["true"], "interval_seconds": seconds});
        validate(&bot)
    };
    let said = with_interval(4).unwrap_err().to_string();
    let expected = "health_check.interval_seconds: is 4, less than the 5 that this worker allows \
                    (HEALTH_CHECK_MIN_INTERVAL_SECONDS)";
    assert_eq!(said, expected);
    assert_eq!(with_interval(5).unwrap().health_check.unwrap().interval_seconds, 5);
}

#[test]
fn variables_are_bounded_in_number_and_in_size() {
    let env = |count: usize, bytes: usize| {
        let one = |number| (format!("V{number}"), json!("x".repeat(bytes)));
        Value::Object((0..count).map(one).collect())
    };
    let with = |env: Value| {
        let mut message = message();
        message["env"] = env;
        validate(&message).map(|job| job.env.len()).map_err(|error| error.to_string())
    };
    assert_eq!(with(env(MAX_VARIABLES, 100)), Ok(MAX_VARIABLES));
    let said = with(env(60_000, 0)).unwrap_err();
    assert_eq!(
        said,
        "env: has 60000 variables, more than the 1000 allowed: put the rest into config"
    );
    let said = with(env(18, 110_000)).unwrap_err();
    assert!(said.starts_with("env: takes 1980"), "{said}");
    assert!(said.contains("more than the 524288 allowed"), "{said}");
}

#[test]
fn a_health_checks_command_is_bounded() {
    let with = |command: Vec<String>| {
        let mut bot = message();
        bot["is_long_running"] = json!(true);
        bot["health_check"] = json!({"command": command});
        validate(&bot).map(drop).map_err(|error| error.to_string())
    };
    assert_eq!(with(vec!["true".to_owned(); MAX_COMMAND_PARTS]), Ok(()));
    for command in [vec![String::new(); 257], vec!["x".repeat(MAX_COMMAND_BYTES + 1)]] {
        let said = with(command).unwrap_err();
        assert!(said.starts_with("health_check.command: has more than 256 parts"), "{said}");
    }
}

#[test]
fn all_mistakes_of_meaning_are_reported_at_once() {
    let mut bad = message();
    bad["timeout_seconds"] = json!(0);
    bad["file_path"] = json!("");
    assert_eq!(validate(&bad).unwrap_err().violations.len(), 2);
}

#[test]
fn a_broken_message_still_says_whose_it_is() {
    let mut bad = message();
    bad["runtime"] = json!("ruby3");
    let error = validate(&bad).unwrap_err();
    assert_eq!(error.id.unwrap().as_str(), "job-1");
    assert_eq!(error.entrypoint, Some(Entrypoint::Backtest));
}

#[test]
fn text_that_is_not_json_is_reported_as_such() {
    for body in [&b""[..], b"{", b"\xff\xfe", b"{} {}", b"[]"] {
        let error = parse_executable(body).unwrap_err().to_string();
        assert!(error.starts_with("$: "), "{error}");
    }
}

#[test]
fn every_hostile_message_is_refused_for_its_reason_in_few_words() {
    let cases = messages::all("t");
    assert!(cases.len() >= 60);
    let mut wrong = Vec::new();
    for messages::Message { name, body, reason, has_id } in cases {
        let read = decoded(&body, None, 2 << 20).and_then(|text| parse_executable(&text));
        let judged = read.and_then(|executable| Job::validate(executable, &bounds(), Some("m")));
        let error = judged.expect_err(name);
        let said = error.to_string();
        let is_plain = said.len() < 8000 && !said.contains(char::is_control);
        if !said.contains(reason) || !is_plain || error.id.is_some() != has_id {
            wrong.push(format!("{name}, id {:?}: {said}", error.id));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    let good = messages::good("t").to_string();
    Job::validate(parse_executable(good.as_bytes()).unwrap(), &bounds(), Some("m")).unwrap();
}

#[test]
fn a_stop_has_its_defaults_and_bounds() {
    let stop = parse_stop(br#"{"id": "a"}"#).unwrap();
    assert_eq!((stop.timeout_seconds, stop.run_id), (30, None));
    let error = parse_stop(br#"{"id": "a", "timeout_seconds": 601}"#).unwrap_err();
    assert_eq!(error.to_string(), "timeout_seconds: is 601, more than the 600 allowed");
    let stop = |length| json!({"id": "a", "reason": "é".repeat(length)}).to_string();
    assert!(parse_stop(stop(1024).as_bytes()).is_ok());
    let error = parse_stop(stop(1025).as_bytes()).unwrap_err();
    let said = "reason: has 1025 characters, more than the 1024 allowed: shorten it";
    assert_eq!(error.to_string(), said);
    assert!(parse_stop(br#"{"id": "a", "x": 1}"#).is_err());
}

proptest! {
    #[test]
    fn no_bytes_make_the_parser_panic(body in proptest::collection::vec(any::<u8>(), 0..256)) {
        let error = parse_executable(&body).unwrap_err();
        prop_assert!(!error.violations.is_empty());
        prop_assert!(parse_stop(&body).is_err());
    }

    #[test]
    fn an_accepted_script_stays_inside_the_archive(file in "[./a-z\\\\]{0,12}") {
        let mut candidate = message();
        candidate["entrypoint_files"] = json!({"backtest": file});
        if let Ok(job) = validate(&candidate) {
            let inside = |c: Component<'_>| matches!(c, Component::Normal(_));
            prop_assert!(!job.script.is_empty());
            prop_assert!(Path::new(&job.script).components().all(inside));
        }
    }
}

#[test]
fn a_job_has_the_runtime_of_its_name_and_an_unknown_one_is_told_with_all_there_are() {
    let mut own = message();
    assert_eq!(validate(&own).unwrap().runtime.image, "python:3.11-slim");
    own["runtime"] = json!("ruby3");
    let said = validate(&own).unwrap_err().to_string();
    assert!(said.starts_with("runtime: must be \"python3.11\", \"nodejs20\", "), "{said}");
    assert!(said.contains(" or \"binary\", not \"ruby3\""), "{said}");
    let mut bounds = bounds();
    bounds.runtimes.set(Runtime::new("ruby3".parse().unwrap(), "ruby:3.3", Launcher::Exec));
    let executable = parse_executable(own.to_string().as_bytes()).unwrap();
    let job = Job::validate(executable.clone(), &bounds, None).unwrap();
    assert_eq!((job.runtime.image.as_str(), job.runtime.launcher), ("ruby:3.3", Launcher::Exec));
    // A job that a worker with this runtime took goes on; no container is started for it here.
    let admitting = super::tests::bounds().admitting(&executable);
    assert_eq!(Job::validate(executable, &admitting, None).unwrap().runtime.image, "");
}

#[test]
fn artifacts_may_be_asked_for_within_the_bounds() {
    let asked = |artifacts: Value| {
        let mut message = message();
        message["artifacts"] = artifacts;
        let found = validate(&message).map(|job| job.artifacts.unwrap());
        found.map(|found| (found.max_mb, found.max_files)).map_err(|error| error.to_string())
    };
    assert_eq!(asked(json!({})), Ok((32, 200)));
    for (max_mb, max_files) in [(1, 1), (32, 200)] {
        let exactly = json!({"max_mb": max_mb, "max_files": max_files});
        assert_eq!(asked(exactly), Ok((max_mb, max_files)));
    }
    for max_mb in [0, 33] {
        let said = asked(json!({ "max_mb": max_mb })).unwrap_err();
        let expected = format!(
            "artifacts.max_mb: is {max_mb}, not between 1 and 32 (the least of ARTIFACTS_MAX_MB, \
             BOT_TMP_MB and BOT_FILE_SIZE_LIMIT_MB - 1)"
        );
        assert!(said.starts_with(&expected), "{said}");
    }
    for max_files in [0, 201] {
        let said = asked(json!({ "max_files": max_files })).unwrap_err();
        let expected = format!(
            "artifacts.max_files: is {max_files}, not between 1 and 200 (ARTIFACTS_MAX_FILES)"
        );
        assert!(said.starts_with(&expected), "{said}");
    }
}

#[test]
fn a_program_of_its_own_has_no_launcher_that_could_do_more() {
    for runtime in ["shell", "binary"] {
        for (field, value) in [("artifacts", json!({})), ("sweep", json!({"configs": [{"a": 1}]}))]
        {
            let mut own = message();
            own["runtime"] = json!(runtime);
            own[field] = value;
            let said = validate(&own).unwrap_err().to_string();
            assert!(said.contains(&format!("{field}: is ")), "{said}");
        }
        let mut bot = message();
        bot["runtime"] = json!(runtime);
        bot["is_long_running"] = json!(true);
        bot["state"] = json!({});
        let said = validate(&bot).unwrap_err().to_string();
        assert!(said.contains("state: is not for the runtime"), "{said}");
    }
}
