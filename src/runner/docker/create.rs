//! From a specification to a running container.

use std::collections::HashMap;
use std::time::Duration;

use bollard::errors::Error;
use bollard::models::{
    ContainerCreateBody, HealthConfig, HostConfig, HostConfigLogConfig, Mount, MountType,
    ResourcesUlimits,
};
use bollard::query_parameters::{CreateContainerOptionsBuilder, StartContainerOptions};

use super::engine::{Engine, said};
use super::lifecycle;
use crate::job::{HealthCheck, Limits};
use crate::runner::container::ContainerSpec;
use crate::runner::labels;
use crate::runner::orchestrator::EngineError;
use crate::settings::{EngineLog, Profile};

/// The engine's log driver. `local` keeps bytes unchanged. `json-file` replaces bytes that are not
/// UTF-8, also those of a character that its own cut at 16 KiB has split.
const LOG_DRIVER: &str = "local";

const BYTES_PER_MIB: u64 = 1024 * 1024;

const NANOS_PER_CPU: f64 = 1e9;

/// Makes a container and starts it. Returns its id.
pub(super) async fn create_and_start(
    engine: &Engine,
    spec: &ContainerSpec,
    log: EngineLog,
) -> Result<String, EngineError> {
    let options = CreateContainerOptionsBuilder::default().name(&spec.name).build();
    let created = engine.docker.create_container(Some(options), body(spec, log)).await;
    let id = created.map_err(|error| refused(engine, spec, error))?.id;
    let started = async {
        if spec.is_only_users {
            // Only when ours exists: a worker that checks after us sees it.
            has_user_alone(engine, &id, spec.user.uid).await?;
        }
        let started = engine.docker.start_container(&id, None::<StartContainerOptions>).await;
        started.map_err(engine.failed("starting", &spec.name))
    };
    let Err(error) = started.await else {
        return Ok(id);
    };
    if let Err(left) = lifecycle::remove(engine, &id).await {
        tracing::warn!(
            container.id = id,
            container.name = spec.name,
            error = %left,
            "could not remove a container that did not start"
        );
    }
    Err(error)
}

/// Makes sure that no other container runs as the user of this one.
async fn has_user_alone(engine: &Engine, id: &str, user: u32) -> Result<(), EngineError> {
    let with_it = lifecycle::list(engine, &labels::run_as(user)).await?;
    if with_it.iter().any(|other| other.id != id) {
        return Err(EngineError::UserTaken { user });
    }
    Ok(())
}

fn refused(engine: &Engine, spec: &ContainerSpec, error: Error) -> EngineError {
    match &error {
        Error::DockerResponseServerError { status_code: 409, .. } => {
            EngineError::NameTaken { name: spec.name.clone() }
        }
        // The image was here a moment ago. Pulling it again may help.
        Error::DockerResponseServerError { status_code: 404, .. } => {
            EngineError::Pull { image: spec.image.clone(), reason: said(&error) }
        }
        _ => engine.failed("creating", &spec.name)(error),
    }
}

fn body(spec: &ContainerSpec, log: EngineLog) -> ContainerCreateBody {
    let (first, others) = match spec.command.split_first() {
        Some((first, others)) if spec.replaces_entrypoint => {
            (Some(vec![first.clone()]), others.to_vec())
        }
        _ => (None, spec.command.clone()),
    };
    ContainerCreateBody {
        image: Some(spec.image.clone()),
        entrypoint: first,
        cmd: Some(others),
        env: Some(spec.env.iter().map(|(name, value)| format!("{name}={value}")).collect()),
        labels: Some(spec.labels.clone().into_iter().collect()),
        working_dir: Some(spec.working_dir.clone()),
        user: Some(spec.user.to_string()),
        stop_signal: Some("SIGTERM".to_owned()),
        stop_timeout: Some(signed(spec.stop_timeout.as_secs())),
        healthcheck: spec.health_check.as_ref().map(health),
        host_config: Some(host(spec, log)),
        ..Default::default()
    }
}

fn host(spec: &ContainerSpec, log: EngineLog) -> HostConfig {
    let Limits { memory_mb, cpu_shares, cpus, pids } = spec.limits;
    let profile = &spec.profile;
    let memory = signed(memory_mb.saturating_mul(BYTES_PER_MIB));
    // Mounts instead of `host:container` texts: those cannot name a directory with a colon, and
    // create a missing one instead of failing.
    let mounts = spec.binds.iter().map(|bind| Mount {
        typ: Some(MountType::BIND),
        source: Some(bind.host.to_string_lossy().into_owned()),
        target: Some(bind.container.clone()),
        read_only: Some(bind.read_only),
        ..Default::default()
    });
    HostConfig {
        memory: Some(memory),
        // The same value: no swap in addition to the memory.
        memory_swap: Some(memory),
        cpu_shares: Some(signed(cpu_shares)),
        nano_cpus: cpus.map(nano_cpus),
        pids_limit: Some(signed(pids)),
        network_mode: Some(spec.network.as_str().to_owned()),
        mounts: Some(mounts.collect()),
        readonly_rootfs: Some(profile.read_only_root),
        tmpfs: profile.read_only_root.then(|| tmpfs(profile)),
        ulimits: Some(ulimits(profile)),
        init: Some(profile.init),
        runtime: profile.oci_runtime.clone(),
        cap_drop: Some(vec!["ALL".to_owned()]),
        cap_add: Some(spec.capabilities.iter().map(|&name| name.to_owned()).collect()),
        security_opt: Some(security(profile)),
        log_config: Some(HostConfigLogConfig {
            typ: Some(LOG_DRIVER.to_owned()),
            config: Some(HashMap::from([
                ("max-size".to_owned(), format!("{}m", log.file_mb)),
                // Below 2 a rotation drops everything.
                ("max-file".to_owned(), log.files.max(2).to_string()),
            ])),
        }),
        ..Default::default()
    }
}

fn security(profile: &Profile) -> Vec<String> {
    let seccomp = profile.seccomp.as_ref().map(|own| format!("seccomp={}", own.as_json()));
    std::iter::once("no-new-privileges".to_owned()).chain(seccomp).collect()
}

/// `/tmp` in memory. Programs may be started from it, because packages unpack native parts there.
fn tmpfs(profile: &Profile) -> HashMap<String, String> {
    let mb = profile.tmp_mb;
    // An inode takes memory that the size does not count, so there is a number of inodes for each
    // page of 4 KiB.
    let inodes = mb.saturating_mul(256).max(1024);
    let options = format!("rw,nosuid,nodev,exec,mode=1777,size={mb}m,nr_inodes={inodes}");
    HashMap::from([("/tmp".to_owned(), options)])
}

fn ulimits(profile: &Profile) -> Vec<ResourcesUlimits> {
    let limit = |name: &str, most| {
        let most = Some(signed(most));
        ResourcesUlimits { name: Some(name.to_owned()), soft: most, hard: most }
    };
    vec![
        limit("core", 0),
        limit("fsize", profile.max_file_bytes),
        limit("nofile", profile.open_files),
    ]
}

fn health(check: &HealthCheck) -> HealthConfig {
    let nanos = |seconds| {
        let nanos = Duration::from_secs(seconds).as_nanos();
        i64::try_from(nanos).unwrap_or(i64::MAX)
    };
    let program = std::iter::once("CMD".to_owned()).chain(check.command.iter().cloned());
    HealthConfig {
        test: Some(program.collect()),
        interval: Some(nanos(check.interval_seconds)),
        timeout: Some(nanos(check.timeout_seconds)),
        retries: Some(check.retries.into()),
        start_period: Some(nanos(check.start_period_seconds)),
        start_interval: None,
    }
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

#[allow(
    clippy::cast_possible_truncation,
    reason = "a float cast saturates, and nobody has so many"
)]
fn nano_cpus(cpus: f64) -> i64 {
    (cpus * NANOS_PER_CPU).round() as i64
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::runner::container::ContainerBuilder;
    use crate::runner::container::tests::job;
    use crate::runner::labels::Assignment;
    use crate::settings::{User, Users};

    const LOG: EngineLog = EngineLog { file_mb: 64, files: 2 };

    fn spec() -> ContainerSpec {
        let assignment = Assignment { namespace: "ns", segment: 1, attempt: 1, lock: None };
        ContainerBuilder::new("python:3.11-slim")
            .with_job(&job("main.py"), &assignment)
            .with_command(["/bin/sh", "/bot/entrypoint.sh"].map(str::to_owned).to_vec())
            .with_bind(Path::new("/tmp/a:b"), "/bot")
            .with_stop_timeout(Duration::from_secs(7))
            .build()
    }

    #[test]
    fn limits_are_in_the_engines_units_and_leave_no_swap() {
        let host = host(&spec(), LOG);
        assert_eq!(host.memory, Some(64 * 1024 * 1024));
        assert_eq!(host.memory_swap, host.memory);
        assert_eq!(host.cpu_shares, Some(128));
        assert_eq!(host.nano_cpus, Some(500_000_000));
        assert_eq!(host.network_mode.as_deref(), Some("bridge"));
    }

    #[test]
    fn compat_15_a_container_has_no_capabilities_and_a_limit_of_processes() {
        let host = host(&spec(), LOG);
        assert_eq!((host.cap_drop, host.cap_add), (Some(vec!["ALL".to_owned()]), Some(vec![])));
        assert_eq!(host.security_opt, Some(vec!["no-new-privileges".to_owned()]));
        assert_eq!(host.pids_limit, Some(32));
        let mut spec = spec();
        spec.user = User { uid: 1000, gid: 1001 };
        assert_eq!(body(&spec, LOG).user.as_deref(), Some("1000:1001"));
    }

    #[test]
    fn what_a_program_may_write_open_and_start_is_the_profiles() {
        let mut spec = spec();
        spec.profile = Profile {
            users: Users::One(User::ROOT),
            seccomp: None,
            read_only_root: true,
            read_only_code: true,
            tmp_mb: 2,
            open_files: 100,
            max_file_bytes: 5 << 20,
            init: true,
            oci_runtime: Some("runsc".to_owned()),
        };
        let safe = host(&spec, LOG);
        assert_eq!((safe.readonly_rootfs, safe.init), (Some(true), Some(true)));
        assert_eq!(safe.runtime.as_deref(), Some("runsc"));
        let tmp = &safe.tmpfs.unwrap()["/tmp"];
        assert!(tmp.contains("size=2m,nr_inodes=1024") && tmp.contains("nosuid"), "{tmp}");
        let limits = safe.ulimits.unwrap();
        let limits: Vec<_> =
            limits.iter().map(|limit| (limit.name.as_deref().unwrap(), limit.hard)).collect();
        let expected = [("core", Some(0)), ("fsize", Some(5 << 20)), ("nofile", Some(100))];
        assert_eq!(limits, expected);

        spec.profile.read_only_root = false;
        let open = host(&spec, LOG);
        assert_eq!((open.readonly_rootfs, open.tmpfs), (Some(false), None));
    }

    #[test]
    fn compat_6_the_engine_never_removes_a_container_by_itself() {
        assert_eq!(host(&spec(), LOG).auto_remove, None);
        assert_eq!(host(&spec(), LOG).restart_policy, None);
    }

    #[test]
    fn a_program_of_its_own_takes_the_place_of_the_images() {
        let body = body(&ContainerSpec { replaces_entrypoint: true, ..spec() }, LOG);
        assert_eq!(body.entrypoint.unwrap(), ["/bin/sh"]);
        assert_eq!(body.cmd.unwrap(), ["/bot/entrypoint.sh"]);
    }

    #[test]
    fn the_program_gets_its_directory_its_environment_and_its_time_to_end() {
        let body = body(&spec(), LOG);
        assert_eq!(body.cmd.unwrap(), ["/bin/sh", "/bot/entrypoint.sh"]);
        assert_eq!(body.entrypoint, None, "that of the image counts");
        assert_eq!(body.working_dir.as_deref(), Some("/tmp"));
        assert_eq!((body.stop_signal.as_deref(), body.stop_timeout), (Some("SIGTERM"), Some(7)));
        assert!(body.env.unwrap().contains(&"ID=my-job".to_owned()));
        assert_eq!(body.labels.unwrap()["runtime.namespace"], "ns");
        let mounts = body.host_config.unwrap().mounts.unwrap();
        assert_eq!(mounts[0].source.as_deref(), Some("/tmp/a:b"));
        assert_eq!(mounts[0].target.as_deref(), Some("/bot"));
    }

    #[test]
    fn the_engines_logs_are_bounded_and_rotation_keeps_what_was_there() {
        let config = |log| host(&spec(), log).log_config.unwrap().config.unwrap();
        assert_eq!((&*config(LOG)["max-size"], &*config(LOG)["max-file"]), ("64m", "2"));
        assert_eq!(config(EngineLog { file_mb: 1, files: 1 })["max-file"], "2");
    }

    #[test]
    fn a_health_check_is_a_command_without_a_shell_and_in_nanoseconds() {
        let mut spec = spec();
        assert_eq!(body(&spec, LOG).healthcheck, None);
        spec.health_check = Some(HealthCheck {
            command: vec!["test".to_owned(), "-e".to_owned(), "/tmp/a b".to_owned()],
            interval_seconds: 30,
            timeout_seconds: 1,
            retries: 3,
            start_period_seconds: 0,
        });
        let check = body(&spec, LOG).healthcheck.unwrap();
        assert_eq!(check.test.unwrap(), ["CMD", "test", "-e", "/tmp/a b"]);
        assert_eq!((check.interval, check.timeout), (Some(30_000_000_000), Some(1_000_000_000)));
    }

    #[test]
    fn a_limit_beyond_all_measure_does_not_wrap() {
        assert_eq!(signed(u64::MAX), i64::MAX);
        assert_eq!(nano_cpus(f64::MAX), i64::MAX);
    }
}
