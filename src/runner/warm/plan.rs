//! Which runs may take a container that was started before. Pure.

use crate::job::{Job, Runtime};
use crate::settings::RunnerSettings;

/// Variables, by the beginning of their names, that an interpreter, its shell or its libraries read when
/// they start: they would come too late.
const READ_AT_START: [&str; 18] = [
    "PYTHON", "NODE_", "UV_", "V8_", "MALLOC_", "OMP_", "TZ", "LC_", "LANG", "PATH", "HOME",
    "SSL_", "PWD", "OLDPWD", "SHLVL", "POSIXLY_", "ICU_", "_",
];

/// Whether containers can be started for jobs of the future, with these settings.
pub(super) fn is_possible(settings: &RunnerSettings) -> bool {
    // What a program can replace in its directory would be read by way of the engine, which knows the
    // directory by its first name; and another kernel passes no pipes on.
    let profile = &settings.profile;
    let are_wanted = settings.runtimes.iter().any(|runtime| wanted(runtime, settings) > 0);
    are_wanted && profile.read_only_code && profile.oci_runtime.is_none()
}

/// How many containers wait for the jobs of a runtime. A program of its own has no launcher that could wait.
pub(super) fn wanted(runtime: &Runtime, settings: &RunnerSettings) -> usize {
    if runtime.launcher.calls_main() { runtime.warm.unwrap_or(settings.warm.containers) } else { 0 }
}

/// Whether a job may take a container that was started with the settings' limits and network.
pub(super) fn may_take(job: &Job, settings: &RunnerSettings) -> bool {
    let comes_too_late = |name: &str| READ_AT_START.iter().any(|begin| name.starts_with(begin));
    // Another file to write would have to be mounted.
    !job.is_long_running
        && job.runtime.launcher.calls_main()
        && job.sweep.is_none()
        && job.artifacts.is_none()
        && job.limits == settings.limits
        && job.network == settings.network
        && !job.env.iter().any(|(name, value)| comes_too_late(name) || value.contains('\0'))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::job::{Bounds, parse_executable};
    use crate::settings::{Loader, Reader, Sources};

    fn settings(pairs: &[(&str, &str)]) -> RunnerSettings {
        Loader::new(Sources::of(pairs)).read(Reader::runner).unwrap()
    }

    fn may(changes: &Value) -> bool {
        let mut message = json!({
            "id": "job", "run_id": "r1", "runtime": "python3.11", "entrypoint": "backtest",
            "entrypoint_files": {"backtest": "main.py"}, "file_path": "code.zip", "config": {},
            "is_long_running": false, "persist_results": true,
        });
        for (field, value) in changes.as_object().unwrap() {
            message[field] = value.clone();
        }
        let executable = parse_executable(message.to_string().as_bytes()).unwrap();
        let job = Job::validate(executable, &Bounds::default(), None).unwrap();
        may_take(&job, &settings(&[]))
    }

    #[test]
    fn a_run_that_asks_for_nothing_special_may_take_one() {
        assert!(may(&json!({})));
        assert!(may(&json!({"env": {"API_KEY": "x", "MY_TZ": "UTC"}, "timeout_seconds": 5})));
        assert!(may(&json!({"limits": {"memory_mb": 512}, "network": "host"})));
    }

    #[test]
    fn a_run_that_asks_for_something_else_runs_cold() {
        for changes in [
            json!({"is_long_running": true, "persist_results": false}),
            json!({"limits": {"memory_mb": 256}}),
            json!({"limits": {"pids": 10}}),
            json!({"network": "none"}),
            json!({"artifacts": {}}),
            json!({"runtime": "shell"}),
        ] {
            assert!(!may(&changes), "{changes}");
        }
        for name in [
            "PYTHONHASHSEED",
            "NODE_ENV",
            "MALLOC_ARENA_MAX",
            "OMP_NUM_THREADS",
            "TZ",
            "LC_ALL",
            "PATH",
        ] {
            assert!(!may(&json!({"env": {name: "1"}})), "{name}");
        }
    }

    #[test]
    fn none_are_started_where_they_could_not_be_used() {
        let possible = |pairs: &[_]| is_possible(&settings(pairs));
        assert!(possible(&[("WARM_CONTAINERS", "2")]));
        assert!(!possible(&[("WARM_CONTAINERS", "0")]));
        let own = ("BOT_RUNTIMES", r#"{"nodejs22": {"warm": 1}}"#);
        assert!(possible(&[("WARM_CONTAINERS", "0"), own]));
        assert!(!possible(&[("WARM_CONTAINERS", "2"), ("BOT_READ_ONLY_CODE", "false")]));
        assert!(!possible(&[("WARM_CONTAINERS", "2"), ("BOT_OCI_RUNTIME", "runsc")]));
    }

    #[test]
    fn a_runtime_has_its_own_number_or_that_of_all_and_a_program_of_its_own_none() {
        let own = ("BOT_RUNTIMES", r#"{"nodejs22": {"warm": 1}, "python3.11": {"warm": 0}}"#);
        let settings = settings(&[("WARM_CONTAINERS", "3"), own]);
        let wanted = |name| wanted(settings.runtimes.get(name).unwrap(), &settings);
        assert_eq!(["python3.11", "nodejs20", "nodejs22"].map(wanted), [0, 3, 1]);
        assert_eq!(["shell", "binary"].map(wanted), [0, 0]);
    }
}
