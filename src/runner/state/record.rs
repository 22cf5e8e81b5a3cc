//! What the record of a job's state becomes, and whose it is. Pure.

use jiff::Timestamp;

use crate::job::{JsonText, RunId};
use crate::storage::StateRecord;

/// A run, under one ownership of its segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Owner {
    pub(super) segment: u32,
    pub(super) epoch: u64,
    pub(super) run: RunId,
}

impl Owner {
    fn has_written(&self, record: &StateRecord) -> bool {
        (record.segment, record.epoch, &record.run) == (self.segment, self.epoch, &self.run)
    }

    /// Whether the record was written under a later ownership of our segment. Epochs of different segments
    /// cannot be compared.
    pub(super) fn is_outdated_by(&self, record: &StateRecord) -> bool {
        record.segment == self.segment && record.epoch > self.epoch
    }

    /// The record by which the state becomes ours. `reset`: what other runs kept is left out.
    pub(super) fn takes(
        &self,
        found: Option<&StateRecord>,
        reset: bool,
        now: Timestamp,
    ) -> StateRecord {
        let handed_on = found.filter(|found| !reset || found.run == self.run);
        let value = handed_on.and_then(|found| found.value.clone());
        self.writes(found.map_or(0, |found| found.seq), value, now)
    }

    /// The record after the one with the number `seq`.
    pub(super) fn writes(&self, seq: u64, value: Option<JsonText>, now: Timestamp) -> StateRecord {
        let Self { segment, epoch, run } = self.clone();
        StateRecord { segment, epoch, seq: seq.saturating_add(1), run, written_at: now, value }
    }
}

/// What a write was about whose condition did not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    /// It is there: an earlier try of it got no answer.
    Done,
    /// Another one of ours is there, whose answer nobody heard: it is to be replaced.
    Again,
    /// The state belongs to another run or worker now, or somebody removed it.
    Superseded,
}

impl Refused {
    /// `found`: what is there instead of `ours`.
    pub(super) fn judge(found: Option<&StateRecord>, ours: &StateRecord, owner: &Owner) -> Self {
        match found {
            Some(found) if found == ours => Self::Done,
            Some(found) if owner.has_written(found) => Self::Again,
            Some(_) | None => Self::Superseded,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    fn owner(segment: u32, epoch: u64, run: &str) -> Owner {
        Owner { segment, epoch, run: run.parse().unwrap() }
    }

    fn value(text: &str) -> JsonText {
        text.parse().unwrap()
    }

    #[test]
    fn a_new_owner_takes_the_state_as_it_is() {
        let (old, new) = (owner(1, 7, "r1"), owner(1, 8, "r1"));
        let found = old.writes(5, Some(value("5")), NOW);
        let taken = new.takes(Some(&found), false, NOW);
        assert_eq!((taken.epoch, taken.seq, taken.value), (8, 7, Some(value("5"))));
        let first = new.takes(None, false, NOW);
        assert_eq!((first.seq, first.value), (1, None));
    }

    #[test]
    fn a_reset_drops_what_other_runs_kept_but_not_what_its_own_attempts_did() {
        let found = owner(1, 7, "r1").writes(5, Some(value("5")), NOW);
        for (run, reset, kept) in
            [("r2", true, None), ("r2", false, Some(value("5"))), ("r1", true, Some(value("5")))]
        {
            let taken = owner(2, 1, run).takes(Some(&found), reset, NOW);
            assert_eq!((taken.seq, taken.value), (7, kept), "{run} {reset}");
        }
    }

    #[test]
    fn only_a_later_ownership_of_the_same_segment_outdates_ours() {
        let us = owner(1, 7, "r1");
        for (segment, epoch, run, expected) in
            [(1, 8, "r1", true), (1, 8, "r2", true), (1, 7, "r2", false), (2, 8, "r1", false)]
        {
            let record = owner(segment, epoch, run).writes(1, None, NOW);
            assert_eq!(us.is_outdated_by(&record), expected, "{segment} {epoch} {run}");
        }
    }

    #[test]
    fn a_refused_write_is_done_or_tried_again_or_superseded() {
        let us = owner(1, 7, "r1");
        let ours = us.writes(5, Some(value("5")), NOW);
        let judge = |found: Option<&StateRecord>| Refused::judge(found, &ours, &us);
        assert_eq!(judge(Some(&ours)), Refused::Done);
        assert_eq!(judge(Some(&us.writes(4, Some(value("4")), NOW))), Refused::Again);
        for other in [owner(1, 8, "r1"), owner(2, 7, "r1"), owner(1, 7, "r2"), owner(1, 6, "r1")] {
            let found = other.writes(5, Some(value("5")), NOW);
            assert_eq!(judge(Some(&found)), Refused::Superseded, "{other:?}");
        }
        assert_eq!(judge(None), Refused::Superseded);
    }
}
