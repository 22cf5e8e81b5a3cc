//! How far a worker trusts itself to run jobs, after it has failed at one.

use std::time::Duration;

/// Pause before the first job that is tried when nothing explains why the last one failed.
const FIRST_PAUSE: Duration = Duration::from_secs(2);

/// How many times as long the next pause is.
const FACTOR: u32 = 8;

/// The longest of these pauses.
const MAX_PAUSE: Duration = Duration::from_mins(5);

/// What a worker may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::worker) enum Level {
    /// Nothing, until a rehearsal goes well.
    Nothing,
    /// One job of a kind at a time.
    Trial,
    /// As many jobs as it has slots.
    Everything,
}

/// How far a worker trusts itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::worker) struct Trust {
    level: Level,
    failed_trials: u32,
    /// Whether a rehearsal has shown what was wrong, or nothing was.
    is_explained: bool,
}

impl Trust {
    /// That of a worker that has tried nothing yet.
    pub(in crate::worker) fn new() -> Self {
        Self { level: Level::Nothing, failed_trials: 0, is_explained: true }
    }

    /// What it may take.
    pub(in crate::worker) fn level(self) -> Level {
        self.level
    }

    /// How long it waits before a trial.
    pub(in crate::worker) fn pause(self) -> Duration {
        FIRST_PAUSE.saturating_mul(FACTOR.saturating_pow(self.failed_trials)).min(MAX_PAUSE)
    }

    /// After the infrastructure failed a job. Those that were in hand at the same time count once.
    pub(in crate::worker) fn after_failure(self) -> Self {
        match self.level {
            Level::Nothing => self,
            Level::Trial => Self {
                level: Level::Nothing,
                failed_trials: self.failed_trials.saturating_add(1),
                is_explained: false,
            },
            Level::Everything => {
                Self { level: Level::Nothing, failed_trials: 0, is_explained: false }
            }
        }
    }

    /// After a rehearsal. One that goes well at once after a failure has not seen what was wrong.
    pub(in crate::worker) fn after_rehearsal(self, went_well: bool) -> Self {
        match self.level {
            Level::Nothing if !went_well => Self { is_explained: true, ..self },
            Level::Nothing if self.is_explained => Self { level: Level::Everything, ..self },
            Level::Nothing => Self { level: Level::Trial, ..self },
            Level::Trial | Level::Everything => self,
        }
    }

    /// After a job that was a trial has run.
    pub(in crate::worker) fn after_trial(self) -> Self {
        match self.level {
            Level::Trial => Self { level: Level::Everything, failed_trials: 0, ..self },
            Level::Nothing | Level::Everything => self,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open() -> Trust {
        Trust::new().after_rehearsal(true)
    }

    #[test]
    fn a_worker_takes_nothing_before_its_first_rehearsal_and_everything_after() {
        assert_eq!(Trust::new().level(), Level::Nothing);
        assert_eq!(open().level(), Level::Everything);
    }

    #[test]
    fn a_fault_that_a_rehearsal_has_seen_go_leaves_no_doubt() {
        let trust = open().after_failure().after_failure();
        assert_eq!(trust.level(), Level::Nothing);
        let seen = trust.after_rehearsal(false);
        assert_eq!(seen.level(), Level::Nothing);
        assert_eq!(seen.after_rehearsal(true).level(), Level::Everything);
    }

    #[test]
    fn a_fault_that_no_rehearsal_sees_lets_one_job_through_after_growing_pauses() {
        let mut trust = open();
        let mut pauses = Vec::new();
        for _ in 0..5 {
            trust = trust.after_failure().after_rehearsal(true);
            assert_eq!(trust.level(), Level::Trial);
            pauses.push(trust.pause().as_secs());
        }
        assert_eq!(pauses, [2, 16, 128, 300, 300]);
        let trust = trust.after_trial();
        assert_eq!(trust.level(), Level::Everything);
        assert_eq!(trust.after_failure().after_rehearsal(true).pause(), FIRST_PAUSE);
    }
}
