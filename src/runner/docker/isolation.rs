//! Reads how well the engine keeps containers from its host.

use bollard::models::{SystemInfo, SystemInfoCgroupVersionEnum, SystemVersion};

use super::engine::Engine;
use crate::runner::isolation::{Isolation, Seccomp};
use crate::runner::orchestrator::EngineError;

/// How well the engine keeps containers from its host.
pub(super) async fn ask(engine: &Engine) -> Result<Isolation, EngineError> {
    let failed = || engine.failed("asking the security options of", "the engine");
    let version = engine.docker.version().await.map_err(failed())?;
    let info = engine.docker.info().await.map_err(failed())?;
    Ok(Isolation::of(&version, &info))
}

impl Isolation {
    fn of(version: &SystemVersion, info: &SystemInfo) -> Self {
        let options = info.security_options.as_deref().unwrap_or_default();
        let has = |name: &str| options.iter().any(|option| field(option, "name") == Some(name));
        Self {
            docker: docker_version(version),
            has_cgroup_v2: info.cgroup_version == Some(SystemInfoCgroupVersionEnum::_2),
            seccomp: seccomp(options),
            has_user_namespace: has("userns") || has("rootless"),
        }
    }
}

fn seccomp(options: &[String]) -> Seccomp {
    let option = options.iter().find(|option| field(option, "name") == Some("seccomp"));
    match option.map(|option| field(option, "profile")) {
        None | Some(Some("unconfined")) => Seccomp::Off,
        // `builtin` since Docker 23.
        Some(None | Some("default" | "builtin")) => Seccomp::Default,
        Some(Some(path)) => Seccomp::Custom(path.to_owned()),
    }
}

/// A field of a security option such as `name=seccomp,profile=default`.
fn field<'o>(option: &'o str, name: &str) -> Option<&'o str> {
    option
        .split(',')
        .find_map(|field| field.split_once('=').filter(|(key, _)| *key == name))
        .map(|(_, value)| value)
}

/// Other engines count their versions in their own way.
fn docker_version(version: &SystemVersion) -> Option<(u32, u32)> {
    let mut components = version.components.iter().flatten();
    if !components.any(|component| component.name == "Engine") {
        return None;
    }
    let mut numbers = version.version.as_deref()?.split('.');
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use bollard::models::SystemVersionComponents;

    use super::*;

    fn of(engine: &str, version: &str, options: &[&str]) -> Isolation {
        let component = SystemVersionComponents {
            name: engine.to_owned(),
            ..SystemVersionComponents::default()
        };
        let version = SystemVersion {
            version: Some(version.to_owned()),
            components: Some(vec![component]),
            ..SystemVersion::default()
        };
        let options = options.iter().map(|option| (*option).to_owned()).collect();
        let info = SystemInfo { security_options: Some(options), ..SystemInfo::default() };
        Isolation::of(&version, &info)
    }

    #[test]
    fn what_an_engine_says_is_read() {
        let old = of("Engine", "20.10.24+dfsg1", &["name=seccomp,profile=default"]);
        let expected = Isolation {
            docker: Some((20, 10)),
            has_cgroup_v2: false,
            seccomp: Seccomp::Default,
            has_user_namespace: false,
        };
        assert_eq!(old, expected);
        let new = of(
            "Engine",
            "28.2.2",
            &["name=apparmor", "name=seccomp,profile=builtin", "name=userns"],
        );
        assert_eq!((new.docker, &new.seccomp), (Some((28, 2)), &Seccomp::Default));
        assert!(new.has_user_namespace);
        assert!(of("Engine", "28.0.0", &["name=rootless"]).has_user_namespace);
    }

    #[test]
    fn a_profile_may_be_missing_off_or_an_operators_own() {
        assert_eq!(of("Engine", "28.0.0", &["name=apparmor"]).seccomp, Seccomp::Off);
        let off = of("Engine", "28.0.0", &["name=seccomp,profile=unconfined"]);
        assert_eq!(off.seccomp, Seccomp::Off);
        let own = of("Engine", "28.0.0", &["name=seccomp,profile=/etc/p.json"]);
        assert_eq!(own.seccomp, Seccomp::Custom("/etc/p.json".to_owned()));
    }

    #[test]
    fn the_version_of_another_engine_says_nothing_about_docker() {
        assert_eq!(of("Podman Engine", "5.4.0", &["name=seccomp,profile=default"]).docker, None);
    }
}
