//! Whether jobs are separated from the host and its servers. Pure. Nothing here stops a worker, so
//! the worst grade is a warning.

use super::finding::Finding;
use crate::runner::{Isolation, Seccomp};
use crate::settings::{Exposure, NO_HOST_NETWORK, RunnerSettings, allows_host_network};

/// Since this version, the engine's own profile does not allow `io_uring`; since 23.0 it does not
/// allow `AF_VSOCK`.
const STRICT_PROFILE_SINCE: (u32, u32) = (25, 0);

/// What the engine's own settings mean for jobs.
pub(super) fn engine(isolation: &Isolation, settings: &RunnerSettings) -> Vec<Finding> {
    // A runtime such as gVisor's puts its own kernel between a job and the host's.
    let runtime = settings.profile.oci_runtime.as_deref();
    let own_profile = settings.profile.seccomp.is_some();
    vec![cgroups(isolation), system_calls(isolation, own_profile), users(isolation, runtime)]
}

fn cgroups(isolation: &Isolation) -> Finding {
    if isolation.has_cgroup_v2 {
        return Finding::ok("cgroups", "version 2: a job's memory in sockets counts as its own");
    }
    Finding::warn(
        "cgroups",
        "version 1: memory that a job holds in sockets is outside of its limit, and takes from all",
        "boot the engine's host with control groups of version 2 \
         (systemd.unified_cgroup_hierarchy=1)",
    )
}

fn system_calls(isolation: &Isolation, own_profile: bool) -> Finding {
    if own_profile && isolation.seccomp != Seccomp::Off {
        return Finding::ok("seccomp", "the profile of BOT_SECCOMP_PROFILE");
    }
    match (&isolation.seccomp, isolation.docker) {
        (Seccomp::Off, _) => Finding::warn(
            "seccomp",
            "the engine filters no system calls of containers",
            "use an engine and a kernel with seccomp, and do not set seccomp-profile to unconfined",
        ),
        (Seccomp::Custom(path), _) => Finding::ok("seccomp", format!("profile {path}")),
        (Seccomp::Default, Some((major, minor))) if (major, minor) < STRICT_PROFILE_SINCE => {
            Finding::warn(
                "seccomp",
                format!("the profile of engine {major}.{minor} is old: it allows io_uring"),
                "use Docker 25.0 or later, or name a stricter profile (BOT_SECCOMP_PROFILE)",
            )
        }
        (Seccomp::Default, _) => Finding::ok("seccomp", "the engine's own profile"),
    }
}

fn users(isolation: &Isolation, runtime: Option<&str>) -> Finding {
    if isolation.has_user_namespace {
        return Finding::ok("userns", "root of a container is not root of the host");
    }
    if let Some(runtime) = runtime {
        return Finding::ok("userns", format!("none, but jobs run under {runtime}"));
    }
    Finding::warn(
        "userns",
        "jobs have no user namespace: who breaks out as root of a container is root of the host",
        "run the engine with userns-remap or rootless, or jobs under another runtime \
         (BOT_OCI_RUNTIME=runsc)",
    )
}

/// Whether jobs may have the host's network.
pub(super) fn network(settings: &RunnerSettings) -> Finding {
    if !allows_host_network(settings) {
        return Finding::ok("network", "no job may use this host's network");
    }
    Finding::warn(
        "network",
        "jobs may use this host's network, and reach whatever it reaches, the loopback included",
        NO_HOST_NETWORK,
    )
}

/// What the settings of broker and store leave open.
pub(super) fn servers(exposures: Vec<Exposure>) -> Vec<Finding> {
    let finding = |Exposure { said, remedy }| Finding::warn("exposure", said, remedy);
    exposures.into_iter().map(finding).collect()
}

#[cfg(test)]
mod tests {
    use super::super::finding::Grade;
    use super::*;
    use crate::settings::{Loader, Reader, Sources};

    fn runner(pairs: &[(&str, &str)]) -> RunnerSettings {
        let owned = |&(name, value): &(&str, &str)| (name.to_owned(), value.to_owned());
        let variables = pairs.iter().map(owned).collect();
        Loader::new(Sources { variables, ..Sources::default() }).read(Reader::runner).unwrap()
    }

    fn isolation() -> Isolation {
        Isolation {
            docker: Some((28, 2)),
            has_cgroup_v2: true,
            seccomp: Seccomp::Default,
            has_user_namespace: true,
        }
    }

    fn grades(isolation: &Isolation, pairs: &[(&str, &str)]) -> Vec<Grade> {
        engine(isolation, &runner(pairs)).into_iter().map(|finding| finding.grade).collect()
    }

    #[test]
    fn an_engine_that_keeps_jobs_apart_is_well() {
        assert_eq!(grades(&isolation(), &[]), [Grade::Ok; 3]);
        let other = Isolation { docker: None, ..isolation() };
        assert_eq!(grades(&other, &[]), [Grade::Ok; 3]);
    }

    #[test]
    fn what_an_engine_lacks_is_a_warning_that_says_what_to_do() {
        let lacking = Isolation {
            docker: Some((20, 10)),
            has_cgroup_v2: false,
            seccomp: Seccomp::Default,
            has_user_namespace: false,
        };
        let found = engine(&lacking, &runner(&[]));
        for (finding, remedy) in found.iter().zip([
            "unified_cgroup_hierarchy",
            "25.0 or later",
            "userns-remap or rootless",
        ]) {
            assert_eq!(finding.grade, Grade::Warn, "{finding:?}");
            assert!(finding.remedy.as_ref().unwrap().contains(remedy), "{finding:?}");
        }
        let unfiltered = Isolation { seccomp: Seccomp::Off, ..isolation() };
        assert_eq!(grades(&unfiltered, &[]), [Grade::Ok, Grade::Warn, Grade::Ok]);
        let own = Isolation { seccomp: Seccomp::Custom("/p.json".to_owned()), ..lacking };
        let with_runtime = [("BOT_OCI_RUNTIME", "runsc")];
        assert_eq!(grades(&own, &with_runtime), [Grade::Warn, Grade::Ok, Grade::Ok]);
    }

    #[test]
    fn the_hosts_network_is_a_warning_wherever_a_job_may_have_it() {
        for pairs in [
            &[][..],
            &[("BOT_NETWORK", "bridge")],
            &[("BOT_NETWORK", "host"), ("BOT_ALLOWED_NETWORKS", "bridge")],
        ] {
            assert_eq!(network(&runner(pairs)).grade, Grade::Warn, "{pairs:?}");
        }
        let apart = [("BOT_NETWORK", "bridge"), ("BOT_ALLOWED_NETWORKS", "bridge,none")];
        assert_eq!(network(&runner(&apart)).grade, Grade::Ok);
    }
}
