//! What the worker knows of a bot's lease: whether it may have run out, whatever the bot says.
//!
//! A bot whose lease ran out is started again without limit, for that is nobody's fault. A program that only
//! says so has ended by itself, and is treated like any other that did.

use std::path::Path;
use std::time::Duration;

use super::{Grant, Uptime, left_at};

/// By how much the entry script ends a bot before the end of its lease.
const ENDS_EARLY: Duration = Duration::from_secs(3);

/// A bot's lease, as the worker granted it.
#[derive(Debug, Default)]
pub(in crate::runner) struct LeaseWatch {
    /// The first moment at which the entry script may have ended the bot; `None` where that is not known.
    may_end: Option<Uptime>,
    /// Whether that moment came at least once before a lease was renewed.
    has_lapsed: bool,
}

impl LeaseWatch {
    /// A bot that is about to start, with its first lease written at `now`.
    pub(super) fn first(grant: Grant, now: Option<Uptime>) -> Self {
        Self { may_end: earliest_end(grant, now), has_lapsed: false }
    }

    /// A bot that another worker started: what its lease, in the job's directory, says.
    pub(in crate::runner) fn taken_over(root: &Path) -> Self {
        let until = left_at(root);
        let mut watch = Self { may_end: until.map(end_before), has_lapsed: false };
        watch.has_lapsed = watch.may_have_run_out(Uptime::now());
        watch
    }

    /// Notes that a lease was renewed, by a write that began at `before` and was over at `after`.
    pub(super) fn renewed(&mut self, grant: Grant, before: Option<Uptime>, after: Option<Uptime>) {
        self.has_lapsed = self.may_have_run_out(after);
        self.may_end = earliest_end(grant, before);
    }

    /// Whether the lease may have run out by `now`, at least for a moment. Where that cannot be told, it may.
    pub(in crate::runner) fn may_have_run_out(&self, now: Option<Uptime>) -> bool {
        let ends = self.may_end.zip(now);
        self.has_lapsed || ends.is_none_or(|(ends, now)| now.0.as_secs() >= ends.0.as_secs())
    }
}

/// The script counts in whole seconds: from the lease's end, where it shares our clock, and otherwise from
/// when it sees the lease, which is not before it was written.
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
    fn a_lease_may_have_run_out_from_when_the_script_may_have_seen_its_end() {
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
