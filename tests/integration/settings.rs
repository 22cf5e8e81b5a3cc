//! Settings as the program reads them: from its environment, a file, the command line.

use std::process::Command;

use longshore::settings::{Loader, Reader, Settings, Sources, doc, table};
use serde_json::Value;

use crate::cli::{longshore, text};

const REQUIRED: [(&str, &str); 4] = [
    ("AMQP_URL", "amqp://me:hush-amqp@rabbit:5672/%2f"),
    ("MINIO_ENDPOINT", "s3:9000"),
    ("MINIO_ACCESS_KEY", "hush-access"),
    ("MINIO_SECRET_KEY", "hush-secret"),
];

/// The value and the origin of a variable, as `--print-settings --output json` shows them.
fn shown(command: &mut Command, variable: &str) -> (Value, String) {
    let output = command.args(["worker", "--print-settings", "--output", "json"]).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let all: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    let one = all.iter().find(|one| one["variable"] == variable).unwrap();
    (one["value"].clone(), one["from"].as_str().unwrap().to_owned())
}

#[test]
fn the_documentation_is_what_the_table_says() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/settings.md");
    let page = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        page == doc::page(),
        "docs/settings.md is not what src/settings/table.rs says; fix it with: \
         cargo run -- schema --settings-doc > docs/settings.md"
    );
    for setting in table::ALL {
        assert!(page.contains(&format!("| `{}` |", setting.variable)), "{}", setting.variable);
    }
}

#[test]
fn print_settings_masks_secrets_and_says_where_each_value_comes_from() {
    let mut command = longshore();
    let output = command
        .envs(REQUIRED)
        .env("MAX_SEGMENTS", "7")
        .args(["worker", "--print-settings"])
        .output()
        .unwrap();
    let table = text(&output.stdout);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(!table.contains("hush"), "{table}");
    assert!(table.contains("amqp://me:***@rabbit:5672/%2f"), "{table}");
    let row = |variable: &str| -> Vec<String> {
        let line = table.lines().find(|line| line.starts_with(variable)).unwrap();
        line.split_whitespace().map(str::to_owned).collect()
    };
    assert_eq!(row("MAX_SEGMENTS "), ["MAX_SEGMENTS", "worker.max_segments", "7", "env"]);
    assert_eq!(row("LOG_LEVEL "), ["LOG_LEVEL", "telemetry.level", "info", "default"]);
    assert_eq!(table.lines().count(), table::ALL.len() + 1);
}

#[test]
fn the_file_is_found_by_flag_by_variable_and_in_the_directory() {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, segments: u32| {
        let path = directory.path().join(name);
        std::fs::write(&path, format!("[worker]\nmax_segments = {segments}\n")).unwrap();
        path
    };
    let (here, named, flagged) =
        (write("longshore.toml", 1), write("named.toml", 2), write("flagged.toml", 3));
    let command = || {
        let mut command = longshore();
        command.envs(REQUIRED).current_dir(directory.path());
        command
    };
    let (value, from) = shown(&mut command(), "MAX_SEGMENTS");
    assert_eq!((value, from.as_str()), ("1".into(), "file:longshore.toml"), "{here:?}");
    let (value, _) = shown(command().env("LONGSHORE_CONFIG", &named), "MAX_SEGMENTS");
    assert_eq!(value, "2");
    let by_flag = |command: &mut Command| {
        command.env("LONGSHORE_CONFIG", &named).arg("--config").arg(&flagged);
    };
    let mut command = command();
    by_flag(&mut command);
    assert_eq!(shown(&mut command, "MAX_SEGMENTS").0, "3");
}

#[test]
fn a_worker_with_wrong_settings_ends_with_2_and_tells_all_of_them() {
    let output = longshore().env("MAX_SEGMENTS", "many").args(["worker"]).output().unwrap();
    let told = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{told}");
    assert!(told.starts_with("longshore: 5 settings are wrong\n"), "{told}");
    for variable in ["AMQP_URL", "MINIO_ENDPOINT", "MINIO_SECRET_KEY", "MAX_SEGMENTS is \"many\""] {
        assert!(told.contains(variable), "{told}");
    }
}

#[test]
fn wrong_settings_are_printed_and_still_end_with_2() {
    let output = longshore()
        .env("MAX_SEGMENTS", "many")
        .args(["worker", "--print-settings"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stdout).contains("many"));
    assert!(text(&output.stderr).contains("MAX_SEGMENTS"));
}

/// Settings that are neither UTF-8 nor known do not stop the program.
#[cfg(unix)]
#[test]
fn a_variable_of_any_bytes_is_survived() {
    use std::os::unix::ffi::OsStrExt as _;
    let bytes = std::ffi::OsStr::from_bytes(b"\xff\xfe");
    let (value, _) = shown(longshore().envs(REQUIRED).env("SOMEBODYS", bytes), "MAX_SEGMENTS");
    assert_eq!(value, "1000");
}

/// compat.md 9: the logs bucket was read and never used.
#[test]
fn compat_9_the_logs_bucket_reaches_the_store_settings() {
    let mut sources = Sources::default();
    let pairs = REQUIRED.iter().chain(&[("MINIO_LOGS_BUCKET", "elsewhere")]);
    sources.variables = pairs.map(|(name, value)| ((*name).into(), (*value).into())).collect();
    let store = Loader::new(sources.clone()).read(Reader::store).unwrap();
    assert_eq!(store.logs_bucket, "elsewhere");
    sources.host_name = "h".to_owned();
    assert_eq!(Settings::load(sources).unwrap().store.logs_bucket, "elsewhere");
}
