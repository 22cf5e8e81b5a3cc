//! `RunObserver`: who is told of a run, and what a run asks of them.

use super::lease::Uptime;
use crate::job::{Job, State};
use crate::logs::{LiveTap, Mask};

/// Is told where a run is on its way. Must not block.
pub trait RunObserver: Send + Sync {
    /// The run is in `state`; `container` is the engine's id, once there is one.
    fn state(&self, state: State, container: Option<&str>);

    /// Whether the container may be started still: asked at the last moment before it is, and once
    /// more when it runs.
    fn may_start(&self) -> bool {
        true
    }

    /// When it was shown last that the run is ours: what its first lease counts from.
    fn proven_at(&self) -> Option<Uptime> {
        None
    }

    /// What must not be seen of the run, in its output or in its result.
    fn mask(&self, job: &Job) -> Mask {
        Mask::new(job.secrets.iter().map(String::as_str))
    }

    /// Where the run's output should also go as it comes, besides the store.
    fn live_tap(&self) -> Option<LiveTap> {
        None
    }
}

/// Whoever wants to hear nothing.
impl RunObserver for () {
    fn state(&self, _: State, _: Option<&str>) {}
}
