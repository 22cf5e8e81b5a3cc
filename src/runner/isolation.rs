//! How well an engine keeps containers from its host, as far as the engine says.

/// What an engine says about how it keeps containers apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Isolation {
    /// The version of Docker, major and minor; `None` for another engine.
    pub docker: Option<(u32, u32)>,
    /// Whether control groups are of version 2.
    pub has_cgroup_v2: bool,
    /// Which system calls it filters.
    pub seccomp: Seccomp,
    /// Whether root of a container is another user on the host.
    pub has_user_namespace: bool,
}

/// Which system calls of a container an engine filters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seccomp {
    /// None.
    Off,
    /// Those of its own profile.
    Default,
    /// Those of a profile of the operator's.
    Custom(String),
}
