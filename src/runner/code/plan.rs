//! Where prepared code is kept, and how jobs get it. Pure.

use std::path::PathBuf;

use crate::runner::cache::How;
use crate::runner::ground::Ground;
use crate::runner::temp_dir::Passage;
use crate::settings::RunnerSettings;

/// Where prepared code is kept, and how jobs get it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::runner) struct CachePlan {
    /// The directory.
    pub(in crate::runner) directory: PathBuf,
    /// How much may be in it, in bytes.
    pub(in crate::runner) max_bytes: u64,
    /// Who may pass through it.
    pub(in crate::runner) passage: Passage,
    /// How its files come into the jobs' directories.
    pub(in crate::runner) how: How,
}

impl CachePlan {
    /// The plan for an engine on this ground, and a worker that is the user `me`; `None` where the
    /// cache is switched off.
    pub(in crate::runner) fn of(
        settings: &RunnerSettings,
        ground: Ground,
        me: u32,
    ) -> Option<Self> {
        let max_bytes = settings.code_cache.max_bytes;
        if max_bytes == 0 {
            return None;
        }
        let users = ground.users(settings.profile.users);
        // Root of an engine that is not the host's may be anybody on the host.
        let may_own = users.may_be(me) || (!ground.users_are_the_hosts && users.may_be(0));
        // A shared file is never where a job may write to it, nor that of a user who could make it
        // writable: two reasons, so that one alone is no danger.
        let how = if settings.profile.read_only_code && !may_own { How::Link } else { How::Copy };
        let directory = settings.code_cache_dir();
        Some(Self { directory, max_bytes, passage: ground.passage, how })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runner::orchestrator::EngineRoot;
    use crate::settings::{Loader, Reader, Sources};

    fn plan(settings: &[(&str, &str)], root: EngineRoot, me: u32) -> Option<CachePlan> {
        let runner = Loader::new(Sources::of(settings)).read(Reader::runner).unwrap();
        CachePlan::of(&runner, Ground::of(root), me)
    }

    #[test]
    fn files_are_shared_only_where_no_job_can_write_to_them_or_own_them() {
        use EngineRoot::{Host, Mapped};
        for (settings, root, me, how) in [
            (&[][..], Host, 0, How::Link),
            (&[], Mapped, 1000, How::Link),
            (&[("BOT_READ_ONLY_CODE", "false")], Host, 0, How::Copy),
            (&[("BOT_USER", "0:0")], Host, 0, How::Copy),
            (&[("BOT_USER", "0:0")], Host, 1000, How::Link),
            (&[("BOT_USER", "0:0")], Mapped, 1000, How::Copy),
            (&[("BOT_USER", "65532:65532")], Host, 65_532, How::Copy),
            (&[], Host, 70_000, How::Copy),
        ] {
            assert_eq!(plan(settings, root, me).unwrap().how, how, "{settings:?} {root:?} {me}");
        }
    }

    #[test]
    fn the_cache_lies_beside_the_jobs_directories_or_where_the_setting_says_or_nowhere() {
        let directory = |settings: &[_]| plan(settings, EngineRoot::Host, 0).unwrap().directory;
        assert_eq!(directory(&[("TEMP_DIR", "/jobs")]), PathBuf::from("/jobs/.cache"));
        assert_eq!(directory(&[("CODE_CACHE_DIR", "/cache")]), PathBuf::from("/cache"));
        assert_eq!(plan(&[("CODE_CACHE_MAX_MB", "0")], EngineRoot::Host, 0), None);
    }
}
