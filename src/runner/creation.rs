//! From a specification to a container that runs as its own user.

use std::collections::BTreeSet;
use std::time::Duration;

use super::container::ContainerSpec;
use super::directory::JobDirectory;
use super::failure::RunFailure;
use super::ground::Ground;
use super::labels;
use super::names;
use super::orchestrator::EngineError;
use super::site::Site;

/// Pause between two attempts to remove what an engine that went away may have started.
const ENGINE_RETRY: Duration = Duration::from_secs(1);

/// How many users are tried for one container. Each user that another container has taken costs one
/// try.
const MAX_USER_TRIES: u32 = 16;

/// A container that is ready to be made, except for its user.
pub(super) struct Prepared {
    pub(super) spec: ContainerSpec,
    /// The files of the job's directory that it writes.
    pub(super) writes: Vec<&'static str>,
}

/// Creates and starts the container, as a user that no other container of this engine has, whoever
/// made it. If two workers pick the same user at once, at least one of them sees the other's
/// container, because each makes its own before it checks.
pub(super) async fn create(
    site: &Site,
    ground: Ground,
    job: &str,
    directory: &JobDirectory,
    prepared: Prepared,
) -> Result<String, RunFailure> {
    let Prepared { mut spec, writes } = prepared;
    let users = ground.users(site.settings.profile.users);
    let mut taken = BTreeSet::new();
    for _ in 0..MAX_USER_TRIES {
        let Some(user) = users.pick(chance(), &taken) else {
            break;
        };
        spec.run_as(user, users.are_several());
        let named = names::write(directory.root(), user);
        named.map_err(|error| {
            RunFailure::Unavailable(format!("writing the names of users: {error}"))
        })?;
        if ground.users_are_the_hosts {
            let profile = &site.settings.profile;
            directory.give_to(user, writes.clone(), !profile.read_only_code).await?;
        }
        match create_as(site, job, &spec).await {
            Err(EngineError::UserTaken { .. }) => taken = users_in_use(site).await?,
            created => return Ok(created?),
        }
    }
    let reason = format!(
        "every user of the range {users} (BOT_USER) that was tried has a container on this engine already"
    );
    Err(RunFailure::Unavailable(reason))
}

/// The users of all containers of Longshore on this engine, of every namespace.
async fn users_in_use(site: &Site) -> Result<BTreeSet<u32>, EngineError> {
    let found = site.engine.list_containers(&labels::managed_by_anybody()).await?;
    Ok(found.iter().filter_map(|info| labels::user(&info.labels)).collect())
}

/// Creates and starts the container. A container of the same name is left over from an earlier run
/// of this job. Nobody needs it, because the job is ours, so it is replaced.
async fn create_as(site: &Site, job: &str, spec: &ContainerSpec) -> Result<String, EngineError> {
    match site.engine.create_and_start(spec).await {
        Err(EngineError::NameTaken { name }) => {
            tracing::warn!(container.name = %name, job.id = job, "removing a container that an earlier attempt left");
            site.engine.remove(&name).await?;
            site.engine.create_and_start(spec).await
        }
        Err(error @ EngineError::Unreachable { .. }) => {
            make_sure_of_none(site, &spec.name).await;
            Err(error)
        }
        created => created,
    }
}

/// An engine that went away may have started the container anyway. The next attempt of the job must
/// not meet it, so it is removed as soon as the engine is back, or until its lease has run out.
pub(super) async fn make_sure_of_none(site: &Site, name: &str) {
    let removed = async {
        while let Err(error) = site.engine.remove(name).await {
            tracing::warn!(container.name = name, %error, "could not remove a container that may have started; trying again");
            tokio::time::sleep(ENGINE_RETRY).await;
        }
    };
    if tokio::time::timeout(site.lease * 2, removed).await.is_err() {
        tracing::error!(
            container.name = name,
            "gave up removing a container that may have started; a later sweep removes it"
        );
    }
}

/// A number that differs each time.
fn chance() -> u32 {
    let (high, _) = uuid::Uuid::new_v4().as_u64_pair();
    u32::try_from(high >> 32).unwrap_or_default()
}
