mod defaults;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use super::*;
use crate::job::{Bounds, Limits, Network, Runtimes, SweepBounds};
use crate::tls::TlsFiles;

const REQUIRED: [(&str, &str); 4] = [
    ("AMQP_URL", "amqp://me:hush-amqp@rabbit:5672/%2f"),
    ("MINIO_ENDPOINT", "s3:9000"),
    ("MINIO_ACCESS_KEY", "hush-access"),
    ("MINIO_SECRET_KEY", "hush-secret"),
];

/// The required variables and these.
fn sources(more: &[(&str, &str)]) -> Sources {
    let pairs: Vec<_> = REQUIRED.iter().chain(more).copied().collect();
    Sources { host_name: "host-1".to_owned(), ..Sources::of(&pairs) }
}

/// The required variables and a file with this text; the directory must be kept.
fn with_file(text: &str, more: &[(&str, &str)]) -> (tempfile::TempDir, Sources) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("longshore.toml");
    std::fs::write(&path, text).unwrap();
    (directory, Sources { file: Some(path), ..sources(more) })
}

fn mistakes(sources: Sources) -> Vec<String> {
    let errors = Settings::load(sources).expect_err("there should be a mistake");
    errors.mistakes.iter().map(ToString::to_string).collect()
}

#[test]
fn every_setting_is_read_and_checked() {
    for setting in table::ALL {
        // No kind allows it: a control character in a number, a name, a path, a secret.
        let found = match Settings::load(sources(&[(setting.variable, "\u{1}")])) {
            Ok(_) => panic!("no section reads {}", setting.variable),
            Err(errors) => errors.to_string(),
        };
        assert!(found.contains(setting.variable), "{found} does not name {}", setting.variable);
    }
}

#[test]
fn every_default_is_allowed_and_every_name_is_used_once() {
    let mut names = BTreeSet::new();
    for setting in table::ALL {
        if let table::Fallback::Value(text) = setting.fallback {
            assert!(setting.kind.allows(text), "{}: {text}", setting.variable);
        }
        assert!(names.insert(setting.variable) && names.insert(setting.key), "{}", setting.key);
        assert!(!setting.doc().is_empty());
        let parts = if setting.key == "runtimes" { 1 } else { 2 };
        assert_eq!(setting.key.split('.').count(), parts, "{}", setting.key);
    }
}

#[test]
fn the_environment_wins_over_the_file_and_the_file_over_the_default() {
    let text = "[runner]\ncpu_shares = 256\nmemory_limit_mb = 128\n";
    let (_kept, sources) = with_file(text, &[("BOT_CPU_SHARES", "128")]);
    let path = sources.file.clone().unwrap();
    let loader = Loader::new(sources);
    let limits = loader.read(Reader::runner).unwrap().limits;
    assert_eq!((limits.cpu_shares, limits.memory_mb, limits.pids), (128, 128, 256));
    let origins: BTreeMap<_, _> =
        loader.effective().map(|one| (one.setting.variable, one.origin)).collect();
    assert_eq!(origins["BOT_CPU_SHARES"], Origin::Environment);
    assert_eq!(origins["BOT_MEMORY_LIMIT_MB"], Origin::File(path));
    assert_eq!(origins["BOT_PIDS_LIMIT"], Origin::Default);
}

#[test]
fn the_file_may_write_numbers_flags_and_lists_in_toml() {
    let text = "
        [broker]
        retry_delays_seconds = [1, 2]
        [store]
        ssl = true
        access_key = \"0123\"
        [runner]
        cpus = 0.5
        memory_limit_mb = \"64\"
        allowed_networks = [\"none\"]
    ";
    let (_kept, mut sources) = with_file(text, &[]);
    sources.variables.remove("MINIO_ACCESS_KEY");
    let settings = Settings::load(sources).unwrap();
    assert_eq!(settings.broker.retry_delays, [1, 2].map(Duration::from_secs));
    assert!(settings.store.ssl);
    assert_eq!(settings.store.access_key, "0123");
    assert_eq!(settings.runner.limits.cpus, Some(0.5));
    assert_eq!(settings.runner.limits.memory_mb, 64);
    assert_eq!(settings.runner.allowed_networks, [Network::None]);
}

#[test]
fn a_variable_is_taken_as_it_is_written() {
    let settings = Settings::load(sources(&[("MINIO_SECRET_KEY", "00123"), ("MINIO_SSL", "1")]));
    let store = settings.unwrap().store;
    assert_eq!((store.secret_key.as_str(), store.ssl), ("00123", true));
}

#[test]
fn an_empty_variable_counts_as_not_set() {
    let found = mistakes(sources(&[("AMQP_URL", ""), ("BOT_CPUS", ""), ("MINIO_REGION", "")]));
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].starts_with("AMQP_URL is not set"), "{found:?}");
}

#[test]
fn every_mistake_is_reported_at_once_with_what_is_allowed() {
    let text = "[runner]\ncpu_shares = 1\nmemory_mb = 5\n[stroe]\nssl = true\n[http]\nlisten = {}\n\
                [worker]\nname = [\"a\"]";
    let (_kept, sources) = with_file(text, &[("MAX_SEGMENTS", "many"), ("LOG_LEVEL", "verbose")]);
    let file = sources.file.clone().unwrap().display().to_string();
    let found = mistakes(sources);
    let expected = [
        format!(
            "runner.memory_mb in {file} is not a setting; did you mean runner.memory_limit_mb?"
        ),
        format!("stroe.ssl in {file} is not a setting; did you mean store.ssl?"),
        format!(
            "BOT_CPU_SHARES (runner.cpu_shares in {file}) is \"1\"; allowed: a whole number from 2 \
             to 262144"
        ),
        format!(
            "WORKER_NAME (worker.name in {file}) is \"a list\"; allowed: 1 to 255 characters, none \
             of them a control character"
        ),
        "MAX_SEGMENTS is \"many\"; allowed: a whole number from 1 to 10000".to_owned(),
        format!(
            "HTTP_LISTEN (http.listen in {file}) is \"a table\"; allowed: an IP address and a \
             port, such as 127.0.0.1:8080"
        ),
        "LOG_LEVEL is \"verbose\"; allowed: off, error, warn, info, debug or trace, or a filter \
         such as info,longshore=debug"
            .to_owned(),
    ];
    assert_eq!(found, expected);
}

#[test]
fn what_is_required_is_asked_for_with_the_nearest_variable_that_is_set() {
    let mut sources = sources(&[("MINIO_ENDPIONT", "s3:9000")]);
    sources.variables.retain(|name, _| name == "MINIO_ENDPIONT");
    let found = mistakes(sources);
    assert_eq!(found.len(), 4, "{found:?}");
    assert_eq!(
        found[1],
        "MINIO_ENDPOINT is not set, nor is store.endpoint in longshore.toml; needed: host:port, \
         or a URL such as https://host:port (MINIO_ENDPIONT is set; a misspelling?)"
    );
}

#[test]
fn settings_that_do_not_go_together_are_mistakes() {
    let found = mistakes(sources(&[
        ("JOB_TIMEOUT_SECONDS", "61"),
        ("JOB_MAX_TIMEOUT_SECONDS", "60"),
        ("LOG_CHUNK_MAX_KB", "2"),
        ("LOG_BUFFER_MAX_KB", "1"),
        ("MINIO_STATE_BUCKET", "custom-bots"),
        ("BOT_FILE_SIZE_LIMIT_MB", "64"),
    ]));
    assert_eq!(found.len(), 4, "{found:?}");
}

#[test]
fn files_for_tls_are_refused_where_there_is_no_tls_and_a_certificate_without_its_key() {
    let found = mistakes(sources(&[("AMQP_CA_FILE", "/ca.pem"), ("MINIO_CA_FILE", "/ca.pem")]));
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(
        found[0].starts_with("AMQP_CA_FILE is set, but AMQP_URL begins with amqp://"),
        "{found:?}"
    );
    assert!(found[1].starts_with("MINIO_CA_FILE is set, but the object store is"), "{found:?}");
    for (set, missing) in [
        ("AMQP_CLIENT_CERT_FILE", "AMQP_CLIENT_KEY_FILE"),
        ("AMQP_CLIENT_KEY_FILE", "AMQP_CLIENT_CERT_FILE"),
    ] {
        let found = mistakes(sources(&[("AMQP_URL", "amqps://h"), (set, "/client.pem")]));
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].starts_with(&format!("{set} is set without {missing}")), "{found:?}");
    }
}

#[test]
fn a_file_for_tls_that_cannot_be_used_is_a_mistake_with_its_setting_and_path() {
    let found = mistakes(sources(&[
        ("AMQP_URL", "amqps://h"),
        ("AMQP_CA_FILE", "/nowhere/mq.pem"),
        ("MINIO_SSL", "true"),
        ("MINIO_CA_FILE", "/nowhere/s3.pem"),
    ]));
    let expected = ["AMQP_CA_FILE is \"/nowhere/mq.pem\"", "MINIO_CA_FILE is \"/nowhere/s3.pem\""];
    assert_eq!(found.len(), 2, "{found:?}");
    for (said, expected) in found.iter().zip(expected) {
        assert!(said.starts_with(expected) && said.contains("cannot be read: No such"), "{said}");
    }
}

#[test]
fn beyond_the_loopback_health_wants_a_token_of_some_length() {
    let listen =
        |address: &str, token: &str| sources(&[("HTTP_LISTEN", address), ("HTTP_TOKEN", token)]);
    for loopback in ["127.0.0.1:1", "127.8.8.8:1", "[::1]:1", "[::ffff:127.0.0.1]:1"] {
        assert_eq!(Settings::load(listen(loopback, "")).unwrap().http.token, None);
    }
    for open in ["0.0.0.0:1", "[::]:1", "10.0.0.1:1", "[::ffff:10.0.0.1]:1"] {
        let found = mistakes(listen(open, ""));
        assert!(found[0].contains("others can reach, and HTTP_TOKEN is not set"), "{found:?}");
        let http = Settings::load(listen(open, "0123456789abcdef")).unwrap().http;
        assert_eq!(http.token.as_deref(), Some("0123456789abcdef"));
        assert!(!format!("{http:?}").contains("0123456789"));
        let found = mistakes(listen(open, "hush-0123456789"));
        assert_eq!(found, ["HTTP_TOKEN is \"***\"; allowed: 16 to 1,024 visible ASCII characters"]);
    }
}

#[test]
fn a_command_is_not_stopped_by_a_section_that_it_does_not_read() {
    let only_broker = [("AMQP_URL", "amqp://h"), ("MAX_SEGMENTS", "many")];
    let variables = only_broker.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    let loader = Loader::new(Sources { variables, ..Sources::default() });
    assert_eq!(loader.read(Reader::broker).unwrap().url, "amqp://h");
    assert_eq!(loader.read(Reader::store).unwrap_err().mistakes.len(), 3);
    let twice = |reader: &Reader<'_>| (reader.store(), reader.store());
    assert_eq!(loader.read(twice).unwrap_err().mistakes.len(), 3, "each is told once");
}

#[test]
fn a_file_that_is_named_must_be_there_and_must_be_toml() {
    let gone = Sources { file: Some("/nowhere/longshore.toml".into()), ..sources(&[]) };
    assert!(mistakes(gone)[0].contains("/nowhere/longshore.toml cannot be read: No such file"));
    let (_kept, broken) = with_file("[store]\nsecret_key = \"hush-file\n", &[]);
    let found = mistakes(broken);
    assert!(found[0].contains("is not TOML: TOML parse error at line 2"), "{found:?}");
    assert!(!found[0].contains("hush-file"), "{found:?}");
}

/// compat.md 9: the logs bucket was read and never used, and TLS had two spellings.
#[test]
fn compat_9_the_logs_bucket_is_read_and_a_second_spelling_is_refused() {
    let settings = Settings::load(sources(&[("MINIO_LOGS_BUCKET", "my-logs")])).unwrap();
    assert_eq!(settings.store.logs_bucket, "my-logs");
    let found = mistakes(sources(&[("MINIO_USE_SSL", "true")]));
    assert_eq!(
        found,
        ["MINIO_USE_SSL is set, but the variable that Longshore reads is MINIO_SSL: rename it"]
    );
}

#[test]
fn no_secret_is_shown_anywhere() {
    let settings = Settings::load(sources(&[])).unwrap();
    let mut told = format!("{settings:?}");
    for one in Loader::new(sources(&[])).effective() {
        told.push_str(&one.value.unwrap_or_default());
    }
    let bad = [
        ("AMQP_URL", "http://me:hush-amqp@rabbit"),
        ("MINIO_ACCESS_KEY", "hush-access\n"),
        ("MINIO_SECRET_KEY", "hush-secret\n"),
        ("MINIO_ENDPOINT", "http://me:hush-endpoint@s3:9000"),
        ("DOCKER_HOST", "tcp://me:hush-engine@h:2375"),
    ];
    let found = mistakes(sources(&bad));
    assert_eq!(found.len(), 5, "{found:?}");
    told.push_str(&found.concat());
    assert!(!told.contains("hush"), "{told}");
    assert!(told.contains("http://me:***@rabbit"), "{told}");
}

#[test]
fn the_bounds_of_messages_are_the_settings() {
    let settings = Settings::load(sources(&[("BOT_MEMORY_LIMIT_MB", "100")])).unwrap();
    let bounds = settings.bounds();
    assert_eq!(bounds.limits.memory_mb, 100);
    assert_eq!((bounds.timeout.as_secs(), bounds.max_timeout.as_secs()), (3600, 86_400));
    assert_eq!((bounds.log_interval.as_secs(), bounds.max_attempts), (30, 3));
}

#[test]
fn a_message_may_ask_for_no_more_than_the_files_of_a_container_may_hold() {
    let bounds = |more: &[(&str, &str)]| Settings::load(sources(more)).unwrap().bounds();
    let file = |megabytes| ("BOT_FILE_SIZE_LIMIT_MB", megabytes);
    let asks = [
        ("STATE_MAX_KB", "4096"),
        ("ARTIFACTS_MAX_MB", "64"),
        ("BOT_TMP_MB", "64"),
        ("RESULT_MAX_MB", "1"),
    ];
    for (megabytes, state_max_kb, artifacts_mb) in [("2", 1023, 1), ("8", 4095, 7)] {
        let found = bounds(&[&asks[..], &[file(megabytes)]].concat());
        assert_eq!((found.state_max_kb, found.artifacts.max_mb), (state_max_kb, artifacts_mb));
    }
    let found = bounds(&[&asks[..], &[file("65")]].concat());
    assert_eq!((found.state_max_kb, found.artifacts.max_mb), (4096, 64));
    let found = bounds(&[("ARTIFACTS_MAX_MB", "64"), ("BOT_TMP_MB", "63")]);
    assert_eq!(found.artifacts.max_mb, 63);
}

/// What the crate of jobs says of them, without settings.
#[test]
fn the_default_bounds_are_those_of_the_default_settings() {
    let settings = Settings::load(sources(&[])).unwrap();
    assert_eq!(settings.bounds(), Bounds::default());
    assert_eq!(settings.worker.max_message_bytes, Bounds::DEFAULT_MESSAGE_BYTES);
}

/// vectorbt with all that it needs, as pip installs it: 30,211 entries and 275 MB.
#[test]
fn the_numeric_stack_fits_the_default_bounds_of_an_archive() {
    let runner = Settings::load(sources(&[])).unwrap().runner;
    assert!(runner.max_entries >= 30_211 && runner.max_extracted_bytes >= 275 << 20);
    assert!(runner.max_archive_bytes >= 128 << 20);
}

#[test]
fn of_several_urls_the_wrong_one_is_named_and_no_password_is_shown() {
    let found = mistakes(sources(&[(
        "AMQP_URL",
        "amqp://me:hush-amqp@rabbit/jobs, amqp://me:hush-amqp@other/%2f",
    )]));
    assert_eq!(
        found,
        [
            "AMQP_URL: number 2 of its 2 URLs, \"amqp://me:***@other/%2f\", names another virtual host \
          than the first one: all must name the same; allowed: amqp://user:password@host:port/vhost, \
          or amqps:// for TLS; one for each host of a cluster, comma-separated"
        ]
    );
    let list = "[broker]\nurl = [\"amqp://me:a@x/v\", \"amqp://me:b@y/v\"]\n";
    let (_kept, file) = with_file(list, &[]);
    let only_file = Sources { variables: BTreeMap::new(), ..file };
    let broker = Loader::new(only_file).read(Reader::broker).unwrap();
    assert_eq!(broker.url, "amqp://me:a@x/v,amqp://me:b@y/v");
    assert!(
        format!("{broker:?}").contains("\"amqp://me:***@x/v,amqp://me:***@y/v\""),
        "{broker:?}"
    );
}
