//! What the worker knows about a bot's lease: whether it may have run out, whatever the bot says.
//!
//! A bot whose lease ran out is started again without limit, because that is not its fault. A
//! program that only claims it has ended by itself, and is treated like that.

use std::path::Path;
use std::time::Duration;

use super::{Grant, Uptime, left_at};

/// By how much the helper ends a bot before the end of its lease.
const ENDS_EARLY: Duration = Duration::from_secs(3);

/// A bot's lease, as the worker granted it.
#[derive(Debug, Default)]
pub(in crate::runner) struct LeaseWatch {
    /// The first moment at which the helper may have ended the bot; `None` if that is not
    /// known.
    may_end: Option<Uptime>,
    /// Whether that moment came at least once before a lease was renewed.
    has_lapsed: bool,
    /// Whether there is a lease in the job's directory.
    is_written: bool,
}

impl LeaseWatch {
    /// A bot that is about to start, with its first lease written at `now`.
    pub(super) fn first(grant: Grant, now: Option<Uptime>) -> Self {
        Self { may_end: earliest_end(grant, now), has_lapsed: false, is_written: true }
    }

    /// A bot that another worker started: what its lease, in the job's directory, says.
    pub(in crate::runner) fn taken_over(root: &Path) -> Self {
        let until = left_at(root);
        let may_end = until.map(end_before);
        let mut watch = Self { may_end, has_lapsed: false, is_written: true };
        watch.has_lapsed = watch.may_have_run_out(Uptime::now());
        watch
    }

    /// Whether there is a lease to renew.
    pub(super) fn is_written(&self) -> bool {
        self.is_written
    }

    /// Notes that a lease was renewed, by a write that began at `before` and ended at `after`.
    pub(super) fn renewed(&mut self, grant: Grant, before: Option<Uptime>, after: Option<Uptime>) {
        self.has_lapsed = self.may_have_run_out(after);
        self.may_end = earliest_end(grant, before);
    }

    /// Whether the lease may have run out by `now`, at least for a moment. If that is unknown, it
    /// may have.
    pub(in crate::runner) fn may_have_run_out(&self, now: Option<Uptime>) -> bool {
        let ends = self.may_end.zip(now);
        self.has_lapsed || ends.is_none_or(|(ends, now)| now.0.as_secs() >= ends.0.as_secs())
    }
}

/// The helper counts in whole seconds: from the lease's end, if it shares our clock, and otherwise
/// from when it sees the lease, which is after the write.
fn earliest_end(grant: Grant, written_at: Option<Uptime>) -> Option<Uptime> {
    let from_writing = Uptime(written_at?.0 + grant.lifetime);
    Some(end_before(grant.until.map_or(from_writing, |until| until.min(from_writing))))
}

fn end_before(lease_ends: Uptime) -> Uptime {
    Uptime(lease_ends.0.saturating_sub(ENDS_EARLY))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runner::lease::write;

    fn at(seconds: u64) -> Uptime {
        Uptime(Duration::from_secs(seconds))
    }

    fn grant(proven_at: u64) -> Grant {
        Grant::from(Some(at(proven_at)), Duration::from_secs(15))
    }

    #[test]
    fn a_lease_that_is_renewed_in_time_has_not_run_out_whatever_the_bot_says() {
        let mut watch = LeaseWatch::first(grant(100), Some(at(100)));
        for beat in (102..200).step_by(2) {
            assert!(!watch.may_have_run_out(Some(at(beat))));
            watch.renewed(grant(beat), Some(at(beat)), Some(at(beat)));
        }
        assert!(!watch.may_have_run_out(Some(at(209))));
    }

    #[test]
    fn a_lease_may_have_run_out_from_when_the_helper_may_have_seen_its_end() {
        let early = Duration::from_secs(longshore_init::lease::ENDS_EARLY_SECONDS);
        assert_eq!(ENDS_EARLY, early);
        let watch = LeaseWatch::first(grant(100), Some(at(101)));
        assert!(!watch.may_have_run_out(Some(at(111))));
        assert!(watch.may_have_run_out(Some(at(112))));
        // A container with another clock counts from when it sees the lease.
        let unproven = LeaseWatch::first(Grant::from(None, Duration::from_secs(12)), Some(at(101)));
        assert!(!unproven.may_have_run_out(Some(at(109))));
        assert!(unproven.may_have_run_out(Some(at(110))));
    }

    #[test]
    fn a_lease_that_was_renewed_too_late_stays_one_that_may_have_run_out() {
        let mut watch = LeaseWatch::first(grant(100), Some(at(100)));
        watch.renewed(grant(112), Some(at(111)), Some(at(112)));
        assert!(watch.may_have_run_out(Some(at(112))));
    }

    #[test]
    fn without_a_clock_the_bot_is_believed() {
        let watch = LeaseWatch::first(Grant::from(None, Duration::from_secs(15)), None);
        assert!(watch.may_have_run_out(None));
    }

    #[test]
    fn what_the_last_worker_granted_is_read_from_the_lease() {
        let root = tempfile::tempdir().unwrap();
        assert!(LeaseWatch::taken_over(root.path()).has_lapsed, "there is none");
        std::fs::create_dir(root.path().join(".longshore")).unwrap();
        let lease = |seconds| {
            write(root.path(), "1.1", Grant::from(Uptime::now(), Duration::from_secs(seconds)))
                .unwrap();
            LeaseWatch::taken_over(root.path()).may_have_run_out(Uptime::now())
        };
        assert!(!lease(3600));
        assert!(lease(2));
    }
}
