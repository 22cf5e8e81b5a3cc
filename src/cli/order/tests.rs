use super::*;
use crate::job::{Entrypoint, Network, Runtimes, schema};

fn flags() -> OrderArguments {
    let job = JobArguments {
        id: Some("a".to_owned()),
        files: vec!["src/run.py".to_owned()],
        ..JobArguments::default()
    };
    OrderArguments { job, code: Some("a.zip".to_owned()), ..OrderArguments::default() }
}

fn problem(flags: &OrderArguments) -> String {
    match flags.executable(None, &Runtimes::default()) {
        Err(Failure::Usage(problem)) => problem,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_few_flags_are_a_backtest() {
    let message = flags().executable(None, &Runtimes::default()).unwrap();
    assert_eq!(
        (message.runtime.as_str(), message.entrypoint),
        ("python3.11", Entrypoint::Backtest)
    );
    assert_eq!(message.entrypoint_files["backtest"], "src/run.py");
    assert!(message.persist_results && !message.is_long_running);
    assert_eq!((message.config.as_str(), message.limits), ("{}", None));
}

#[test]
fn long_running_is_a_bot() {
    let mut flags = flags();
    flags.job.long_running = true;
    flags.job.files = vec!["main.mjs".to_owned(), "backtest=b.mjs".to_owned()];
    let message = flags.executable(None, &Runtimes::default()).unwrap();
    assert_eq!((message.runtime.as_str(), message.entrypoint), ("nodejs20", Entrypoint::Bot));
    assert_eq!(message.entrypoint_files.len(), 2);
    assert!(!message.persist_results && message.is_long_running);
}

#[test]
fn flags_win_over_the_file_and_leave_the_rest_of_it() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas/examples");
    let job = JobArguments {
        id: Some("other".to_owned()),
        memory_mb: Some(64),
        network: Some("host".to_owned()),
        env: vec!["A=b=c".to_owned()],
        job_config: Some(r#"{"x": 1}"#.to_owned()),
        ..JobArguments::default()
    };
    let flags = OrderArguments { job, ..OrderArguments::default() };
    let message = flags
        .executable(Some(&examples.join("start.bot-all-fields.json")), &Runtimes::default())
        .unwrap();
    assert_eq!((message.id.as_str(), message.network), ("other", Some(Network::Host)));
    assert_eq!(message.limits.unwrap().memory_mb, Some(64));
    assert_eq!(
        (message.env["A"].as_str(), message.env["NODE_ENV"].as_str()),
        ("b=c", "production")
    );
    assert_eq!(message.config.as_str(), r#"{"x":1}"#);
    assert!(message.restart.is_some() && message.health_check.is_some());
}

#[test]
fn restarts_health_checks_and_secrets_are_flags_and_change_a_file() {
    let line = |extra: &[&str]| {
        let command = OrderArguments::augment_args(clap::Command::new("start"));
        let common = ["start", "--id", "a", "--code", "a.zip", "--file", "main.py"];
        let matches = command.try_get_matches_from([&common, extra].concat()).unwrap();
        let flags = <OrderArguments as clap::FromArgMatches>::from_arg_matches(&matches).unwrap();
        flags.executable(None, &Runtimes::default())
    };
    let message =
        line(&["--restart", "on-failure", "--max-restarts", "7", "--restart-backoff", "2"]);
    let message = message.unwrap();
    assert!(message.is_long_running && message.entrypoint == Entrypoint::Bot);
    let restart = message.restart.unwrap();
    assert_eq!((restart.max_restarts, restart.backoff_seconds), (7, 2));
    let message = line(&["--health-check", "test -e /tmp/ok", "--health-interval", "5"]).unwrap();
    let check = message.health_check.unwrap();
    assert_eq!(
        (check.command, check.interval_seconds),
        (vec!["test".into(), "-e".into(), "/tmp/ok".into()], 5)
    );
    let message = line(&["--health-check", r#"["sh", "-c", "a b"]"#]).unwrap();
    assert_eq!(message.health_check.unwrap().command[2], "a b");
    let message = line(&["--env", "KEY=hush", "--secret", "KEY", "--secret", "/a/b"]).unwrap();
    assert_eq!(message.secrets, ["KEY", "/a/b"]);
    let refused = |extra: &[&str]| format!("{:?}", line(extra).unwrap_err());
    assert!(refused(&["--health-check", "[1"]).contains("--health-check is not a JSON array"));
    assert!(refused(&["--max-restarts", "2"]).contains("restart.when"));
}

#[test]
fn every_digit_and_the_order_of_the_config_stay_whether_it_is_in_the_file_or_a_flag() {
    let config = r#"{"zeta":1,"wei":123456789012345678901,"small":1e-400,"alpha":0.10}"#;
    let mut with_flag = flags();
    with_flag.job.job_config = Some(config.to_owned());
    assert_eq!(with_flag.executable(None, &Runtimes::default()).unwrap().config.as_str(), config);

    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), format!(r#"{{"config": {config}, "id": "a"}}"#)).unwrap();
    let message = flags().executable(Some(file.path()), &Runtimes::default()).unwrap();
    assert_eq!(message.config.as_str(), config);
    let wire = serde_json::to_string(&message).unwrap();
    assert!(wire.contains(config), "{wire}");
    std::fs::write(file.path(), r#"{"config": null, "id": "a"}"#).unwrap();
    assert!(flags().executable(Some(file.path()), &Runtimes::default()).is_err());
}

#[test]
fn the_keys_of_a_grid_stay_in_their_order() {
    let grid = r#"{"grid":{"slow":[20,50],"fast":[5]}}"#;
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), format!(r#"{{"id": "a", "sweep": {grid}}}"#)).unwrap();
    let message = flags().executable(Some(file.path()), &Runtimes::default()).unwrap();
    let wire = serde_json::to_string(&message).unwrap();
    assert!(wire.contains(grid), "{wire}");
}

#[test]
fn inputs_are_added_to_those_of_a_file_and_take_the_place_of_one() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let inputs =
        r#"[{"key": "a.csv", "path": "data/a.csv"}, {"key": "b.csv", "path": "data/b.csv"}]"#;
    std::fs::write(file.path(), format!(r#"{{"id": "a", "inputs": {inputs}}}"#)).unwrap();
    let mut flags = flags();
    flags.job.inputs = ["x=y/c.csv=data/b.csv", "d.tar.zst=more/"].map(str::to_owned).into();
    let message = flags.executable(Some(file.path()), &Runtimes::default()).unwrap();
    let found = message.inputs.iter().map(|one| (&*one.key, &*one.path, one.unpack));
    assert_eq!(
        found.collect::<Vec<_>>(),
        [
            ("a.csv", "data/a.csv", false),
            ("x=y/c.csv", "data/b.csv", false),
            ("d.tar.zst", "more", true)
        ]
    );
    for bad in ["a", "a=", "=b", ""] {
        flags.job.inputs = vec![bad.to_owned()];
        assert!(problem(&flags).contains("is not of the form KEY=PATH"), "{bad}");
    }
}

#[test]
fn mistakes_name_the_flag_or_the_field() {
    let with = |change: fn(&mut OrderArguments)| {
        let mut flags = flags();
        change(&mut flags);
        problem(&flags)
    };
    assert!(with(|f| f.job.id = None).contains("id: is missing, and must be a string"));
    assert!(with(|f| f.job.id = Some("../x".into())).contains("id: \"../x\" is not an id"));
    assert!(with(|f| f.job.files.clear()).contains("runtime: is missing"));
    assert!(with(|f| f.job.env = vec!["A".into()]).contains("--env \"A\" is not"));
    assert!(with(|f| f.job.job_config = Some("[1]".into())).contains("--job-config is not a JSON"));
    let gone = with(|f| f.job.job_config = Some("@/nowhere".into()));
    assert!(gone.starts_with("/nowhere cannot be read: No such file"), "{gone}");
}

/// Fields whose flag has a shorter name.
const OTHER_NAMES: [(&str, &str); 9] = [
    ("config", "job-config"),
    ("entrypoint_files", "file"),
    ("file_path", "code"),
    ("inputs", "input"),
    ("is_long_running", "long-running"),
    ("limits", "memory-mb"),
    ("log_interval_seconds", "log-interval"),
    ("secrets", "secret"),
    ("timeout_seconds", "timeout"),
];

/// Fields that a command of their own or a file sets.
const WITHOUT_A_FLAG: [&str; 1] = ["sweep"];

#[test]
fn every_field_of_a_start_message_has_a_flag() {
    let command = OrderArguments::augment_args(clap::Command::new("start"));
    let flags: Vec<_> = command.get_arguments().filter_map(clap::Arg::get_long).collect();
    let start = schema::all().into_iter().find(|one| one.name == "start").unwrap();
    let fields = start.schema.as_value()["properties"].as_object().unwrap().keys();
    for field in fields.filter(|field| !WITHOUT_A_FLAG.contains(&field.as_str())) {
        let other = OTHER_NAMES.iter().find(|(name, _)| name == field);
        let flag = other.map_or_else(|| field.replace('_', "-"), |(_, flag)| (*flag).to_owned());
        assert!(flags.contains(&flag.as_str()), "{field} has no flag --{flag} in {flags:?}");
    }
}
