//! Whatever the bytes are, a start message is refused with its faults named, or becomes a job
//! within all bounds.

use std::path::{Component, Path};
use std::time::Duration;

use longshore_job::{
    Bounds, Job, MIN_SECRET_BYTES, MessageError, decoded, parse_executable, parse_stop,
};

pub fn check(bytes: &[u8]) {
    let (bounds, max_bytes) = (&Bounds::default(), Bounds::DEFAULT_MESSAGE_BYTES);
    let text = match decoded(bytes, None, max_bytes) {
        Ok(text) => text,
        Err(error) => return assert_told(&error),
    };
    assert!(text.len() <= max_bytes);
    let read = parse_executable(&text);
    let judged = read.and_then(|executable| {
        let wire = serde_json::to_vec(&executable).unwrap();
        assert_eq!(parse_executable(&wire).unwrap(), executable, "it does not survive the wire");
        Job::validate(executable, bounds, Some("m"))
    });
    match judged {
        Ok(job) => assert_sound(&job, bounds),
        Err(error) => assert_told(&error),
    }
    match parse_stop(&text) {
        Ok(stop) => assert!(stop.timeout_seconds <= 600 && is_id(stop.id.as_str())),
        Err(error) => assert_told(&error),
    }
}

fn assert_told(error: &MessageError) {
    assert!(!error.violations.is_empty());
    assert!(error.violations.len() < 100);
    for violation in &error.violations {
        assert!(!violation.path.is_empty() && !violation.problem.is_empty(), "{violation}");
        assert!(violation.path.chars().count() <= 1300, "{violation}");
    }
    let said = error.to_string();
    assert!(!said.contains(char::is_control), "{said:?}");
    assert!(said.len() < 100_000, "{} bytes are said", said.len());
    assert!(error.id.as_ref().is_none_or(|id| is_id(id.as_str())));
}

fn is_id(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
    (1..=128).contains(&text.len())
        && text.bytes().all(plain)
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
}

fn assert_sound(job: &Job, bounds: &Bounds) {
    assert!(is_id(job.id.as_str()) && is_id(job.run_id.as_str()));
    let script = Path::new(&job.script);
    let shown = &job.script;
    assert!(script.components().all(|part| matches!(part, Component::Normal(_))), "{shown:?}");
    assert!(!job.script.is_empty() && job.script.len() <= 1024);
    assert!(!job.script.contains(char::is_control));
    let key = &job.code_key;
    assert!((1..=1024).contains(&key.len()) && !key.contains(char::is_control));
    assert!(key.split('/').all(|part| part != ".." && part != "."));
    assert!(!key.ends_with('/') && !key.contains('\\'));
    assert!(!job.script.contains('\\'));
    if let Some(hash) = &job.code_sha256 {
        assert!(hash.len() == 64 && hash.bytes().all(|b| b.is_ascii_hexdigit()));
    }
    let (limits, most) = (job.limits, bounds.limits);
    assert!((6..=most.memory_mb).contains(&limits.memory_mb));
    assert!((2..=most.cpu_shares).contains(&limits.cpu_shares));
    assert!((1..=most.pids).contains(&limits.pids));
    assert!(limits.cpus.is_none_or(|cpus| (0.01..=4096.0).contains(&cpus)));
    assert!(bounds.allowed_networks.contains(&job.network));
    assert!(job.timeout != Some(Duration::ZERO));
    if !job.is_long_running {
        assert!(job.timeout.is_some_and(|timeout| timeout <= bounds.max_timeout));
        assert!(job.restart.is_none() && job.health_check.is_none());
    }
    for (name, value) in &job.env {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
        assert!((1..=255).contains(&name.len()) && name.bytes().all(plain), "{name:?}");
        assert!(!name.starts_with(|c: char| c.is_ascii_digit()), "{name:?}");
        assert!(value.len() <= 120 * 1024 && !value.contains('\0'), "{name:?}");
    }
    assert!(job.env.len() <= 1000);
    assert!(job.secrets.len() <= 100);
    assert!(job.secrets.iter().all(|secret| secret.len() >= MIN_SECRET_BYTES));
    assert!((1..=3600).contains(&job.log_interval.as_secs()));
    assert!((1..=100).contains(&job.max_attempts));
}
