//! `RunObserver`: hears about a run, and answers its questions.

use super::lease::Uptime;
use crate::job::{Job, RunProgress, State};
use crate::logs::{LiveTap, Mask};

/// Hears how far a run is. Must not block.
pub trait RunObserver: Send + Sync {
    /// The run is in `state`; `container` is the engine's id, once there is one.
    fn state(&self, state: State, container: Option<&str>);

    /// Something that the publisher of a run in `state` should know, as a sentence.
    fn note(&self, _: State, _: Option<&str>, _: String) {}

    /// The epoch under which the run's segment is ours.
    fn epoch(&self) -> u64 {
        0
    }

    /// How far the run is.
    fn progress(&self, _: RunProgress) {}

    /// Whether the container may still start. The run asks at the last moment before the start, and
    /// again when the container runs. A sweep asks before it stores its tables, and a bot's state is
    /// made ours only then.
    fn may_start(&self) -> bool {
        true
    }

    /// When it was last proved that the run is ours. Its first lease counts from there.
    fn proven_at(&self) -> Option<Uptime> {
        None
    }

    /// The secrets to mask in the run's output and result.
    fn mask(&self, job: &Job) -> Mask {
        Mask::new(job.secrets.iter().map(String::as_str))
    }

    /// Where the run's output should also go live, in addition to the store.
    fn live_tap(&self) -> Option<LiveTap> {
        None
    }
}

/// An observer that ignores everything.
impl RunObserver for () {
    fn state(&self, _: State, _: Option<&str>) {}
}
