//! What host and engine share: whose root the engine is, and what follows for users and files.

use nix::unistd::geteuid;

use super::orchestrator::EngineRoot;
use super::temp_dir::Passage;
use crate::settings::Users;

/// What follows from the kind of the engine's root. Pure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ground {
    /// Who may pass through the jobs' directories.
    pub passage: Passage,
    /// Whether users of containers have the same numbers on the host, so that files can be given to them.
    pub users_are_the_hosts: bool,
}

impl Ground {
    /// For an engine that is this root.
    #[must_use]
    pub fn of(root: EngineRoot) -> Self {
        Self::seen_by(root, geteuid().as_raw())
    }

    fn seen_by(root: EngineRoot, me: u32) -> Self {
        // Root passes everywhere. Another user passes if it is our user. The root of a user
        // namespace has no rights to the host's files.
        let passage = match root {
            EngineRoot::Host => Passage::Closed,
            EngineRoot::User(Some(user)) if user == me => Passage::Closed,
            EngineRoot::User(_) | EngineRoot::Mapped => Passage::Open,
        };
        Self { passage, users_are_the_hosts: root == EngineRoot::Host }
    }

    /// The users of containers, with these settings.
    #[must_use]
    pub fn users(self, settings: Users) -> Users {
        if self.users_are_the_hosts { settings } else { settings.for_mapping_engine() }
    }

    /// What an operator should know, if something is not as it should be.
    #[must_use]
    pub fn warning(self) -> Option<&'static str> {
        (self.passage == Passage::Open).then_some(
            "other users of this host may read the directories of running jobs if they know their paths, for \
             the engine maps users (userns-remap), or runs as another user, and could not pass through closed \
             ones: let nobody else log in here, or run a rootless engine as this worker's user",
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jobs_directories_are_closed_wherever_the_engine_passes_all_the_same() {
        for (root, passage) in [
            (EngineRoot::Host, Passage::Closed),
            (EngineRoot::User(Some(1000)), Passage::Closed),
            (EngineRoot::User(Some(1001)), Passage::Open),
            (EngineRoot::User(None), Passage::Open),
            (EngineRoot::Mapped, Passage::Open),
        ] {
            let ground = Ground::seen_by(root, 1000);
            assert_eq!(ground.passage, passage, "{root:?}");
            assert_eq!(ground.warning().is_some(), passage == Passage::Open, "{root:?}");
        }
    }

    #[test]
    fn only_where_numbers_mean_the_same_are_files_given_to_a_containers_user() {
        let range: Users = "65536-99999".parse().unwrap();
        let host = Ground::seen_by(EngineRoot::Host, 0);
        assert!(host.users_are_the_hosts);
        assert_eq!(host.users(range), range);
        let mapped = Ground::seen_by(EngineRoot::Mapped, 0);
        assert!(!mapped.users_are_the_hosts);
        assert_eq!(mapped.users(range), range.for_mapping_engine());
    }
}
